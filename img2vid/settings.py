"""Every control of a run, once: its default, range, unit and help text.

The page, the command line, the store and the file's metadata all use these names. Defaults that belong to a model
version (size, frames, steps, guidance, decode_t) come from configs/versions.yaml; see `img2vid.versions`.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails

from img2vid.errors import BadInput

Sampler = Literal[
    "EulerEDMSampler",
    "HeunEDMSampler",
    "EulerAncestralSampler",
    "DPMPP2SAncestralSampler",
    "DPMPP2MSampler",
    "LinearMultistepSampler",
]
Discretization = Literal["LegacyDDPMDiscretization", "EDMDiscretization"]
Guider = Literal["VanillaCFG", "IdentityGuider", "LinearPredictionGuider", "TrianglePredictionGuider"]
Fitting = Literal["crop", "fit"]

CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise")
PARAMS: dict[str, tuple[str, ...]] = {
    "EulerEDMSampler": CHURN,
    "HeunEDMSampler": CHURN,
    "EulerAncestralSampler": ("eta", "s_noise"),
    "DPMPP2SAncestralSampler": ("eta", "s_noise"),
    "DPMPP2MSampler": (),
    "LinearMultistepSampler": ("order",),
    "LegacyDDPMDiscretization": (),
    "EDMDiscretization": ("sigma_min", "sigma_max", "rho"),
    "VanillaCFG": ("scale",),
    "IdentityGuider": (),
    "LinearPredictionGuider": ("max_scale", "min_scale"),
    "TrianglePredictionGuider": ("max_scale", "min_scale", "period", "period_fusing"),
}
"""Which settings each choice of sampler, discretization and guider uses; the others rest."""

APPROXIMATIONS = ("guidance_sigma_min", "guidance_sigma_max", "block_cache")
"""Settings that trade nearness to the exact result for speed; at their defaults nothing is traded."""

MAX_SEED = 2**32 - 1
MAX_SIGMA = 1e6


def control(
    default: Any,
    label: str,
    help_text: str,
    *,
    unit: str = "",
    trained: tuple[float, float] | None = None,
    **limits: Any,
) -> Any:
    """A field with what a page needs to draw it: the reference demo's label, a help text, a unit, a range.

    `trained` is the range that Stable Video Diffusion was trained on, where there is one for all versions.
    """
    extra: dict[str, Any] = {"unit": unit, "trained": None if trained is None else list(trained)}
    return Field(default, title=label, description=help_text, json_schema_extra=extra, **limits)


class SampleSettings(BaseModel):
    """One run's settings, validated. Values are refused, never silently changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    version: str = control(
        "svd_tiny", "Model Version", "Which model makes the video; `img2vid models list` lists them."
    )
    height: int = control(96, "H", "Height of the video.", unit="pixels", ge=64, le=2048)
    width: int = control(160, "W", "Width of the video.", unit="pixels", ge=64, le=2048)
    num_frames: int = control(
        14,
        "T",
        "Length of the video; models are best at the length they were trained for.",
        unit="frames",
        ge=1,
        le=128,
    )
    fitting: Fitting = control(
        "crop", "Fitting", "crop fills the frame and cuts what stands out; fit shows the whole picture with borders."
    )
    crop_offset: float = control(
        0.5, "Crop offset", "Which part a crop keeps: 0 is the left or top, 1 the right or bottom.", ge=0, le=1
    )
    fps: int = control(
        6,
        "fps",
        "Frame rate that the model is told; 5 to 30 was trained.",
        unit="frames per second",
        trained=(5, 30),
        ge=1,
        le=1000,
    )
    motion_bucket_id: int = control(
        127,
        "motion bucket id",
        "How much moves: higher is more. Up to 255 was trained.",
        trained=(0, 255),
        ge=0,
        le=511,
    )
    cond_aug: float = control(
        0.02,
        "Conditioning augmentation",
        "Noise added to the input picture; more lets the video depart further from it. Up to 0.14 was trained.",
        trained=(0, 0.14),
        ge=0,
        le=10,
        allow_inf_nan=False,
    )
    seed: int = control(23, "seed", "The same seed and settings give the same video again.", ge=0, le=MAX_SEED)
    num_samples: int = control(
        1, "num cols", "How many videos to make of each picture; each next one uses the next seed.", ge=1, le=10
    )
    num_steps: int = control(25, "steps", "Steps from noise to video; more is slower and finer.", ge=1, le=1000)

    sampler: Sampler = control("EulerEDMSampler", "Sampler", "The method that walks from noise to video.")
    s_churn: float = control(0.0, "s_churn", "Noise added and removed again during sampling; 0 is none.", ge=0, le=1000)
    s_tmin: float = control(0.0, "s_tmin", "Lowest noise level at which s_churn acts.", ge=0, le=MAX_SIGMA)
    s_tmax: float = control(999.0, "s_tmax", "Highest noise level at which s_churn acts.", ge=0, le=MAX_SIGMA)
    s_noise: float = control(1.0, "s_noise", "Strength of the noise that a sampler adds.", ge=0, le=10)
    eta: float = control(1.0, "eta", "How much fresh noise the ancestral samplers add at each step.", ge=0, le=10)
    order: int = control(4, "order", "How many past steps LinearMultistepSampler uses.", ge=1, le=10)

    discretization: Discretization = control(
        "EDMDiscretization", "Discretization", "How the noise levels are spread over the steps."
    )
    sigma_min: float = control(0.002, "sigma_min", "Lowest noise level above zero.", ge=1e-4, le=MAX_SIGMA)
    sigma_max: float = control(
        700.0,
        "sigma_max",
        "Noise level at the start; the models were trained to begin with hardly anything but noise.",
        trained=(80, 1000),
        ge=1e-4,
        le=MAX_SIGMA,
    )
    rho: float = control(7.0, "rho", "How strongly steps crowd at low noise levels.", ge=0.5, le=100)

    guider: Guider = control(
        "LinearPredictionGuider", "Guider", "How strongly each frame is held to the input picture, frame by frame."
    )
    max_scale: float = control(2.5, "max-cfg-scale", "Guidance at its strongest frame.", ge=0, le=100)
    min_scale: float = control(1.0, "min guidance scale", "Guidance at the first frame.", ge=0, le=100)
    scale: float = control(2.5, "cfg-scale", "Guidance of all frames with VanillaCFG.", ge=0, le=100)
    period: float = control(
        1.0, "period", "Length of TrianglePredictionGuider's wave; 1 is the whole video.", unit="videos", ge=0.01, le=10
    )
    period_fusing: Literal["mean", "multiply", "max"] = control(
        "max", "period fusing", "How several waves of TrianglePredictionGuider are joined."
    )

    guidance_sigma_min: float = control(
        0.0,
        "guidance from sigma",
        "Lowest noise level at which guidance acts; below, the network runs once a step instead of twice.",
        ge=0,
        le=MAX_SIGMA,
    )
    guidance_sigma_max: float = control(
        MAX_SIGMA,
        "guidance up to sigma",
        "Highest noise level at which guidance acts; at its highest value there is no limit.",
        ge=0,
        le=MAX_SIGMA,
    )
    block_cache: int = control(
        1,
        "block cache",
        "The inner blocks of the network are computed at every n-th step and kept in between; 1 keeps nothing.",
        unit="steps",
        ge=1,
        le=100,
    )

    decode_t: int = control(
        14,
        "Decode t frames at a time",
        "Set it small if memory is short; frames decoded together flicker less.",
        unit="frames",
        ge=1,
        le=1000,
    )
    saving_fps: Annotated[float, Field(ge=1, le=1000)] | None = control(
        None, "saving video at fps", "Frame rate of the file; left out, it is fps.", unit="frames per second"
    )
    watermark: bool = control(True, "Watermark", "Mark every frame invisibly as made by a model.")

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        # Python and pydantic count true as 1; in a file of settings it is a mistake.
        if isinstance(value, bool) and info.field_name != "watermark":
            raise ValueError("true and false are no numbers")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "SampleSettings":
        if self.sigma_min > self.sigma_max:
            raise ValueError(f"sigma_min must not be above sigma_max, got {self.sigma_min} and {self.sigma_max}")
        if self.guidance_sigma_min > self.guidance_sigma_max:
            raise ValueError(
                "guidance_sigma_min must not be above guidance_sigma_max, "
                f"got {self.guidance_sigma_min} and {self.guidance_sigma_max}"
            )
        highest = MAX_SEED - (self.num_samples - 1)
        if self.seed > highest:
            raise ValueError(f"seed must be at most {highest} for {self.num_samples} samples, got {self.seed}")
        return self

    def params_of(self, choice: str) -> dict[str, Any]:
        """The parameters of a sampler, discretization or guider, as the engine takes them."""
        return {name: getattr(self, name) for name in PARAMS[choice]}

    def approximations(self) -> dict[str, Any]:
        """The approximations, as the engine takes them: where guidance has no upper limit, that is infinity."""
        values = {name: getattr(self, name) for name in APPROXIMATIONS}
        # Churn raises noise levels above the highest that can be asked for.
        return values | ({"guidance_sigma_max": math.inf} if self.guidance_sigma_max == MAX_SIGMA else {})

    @property
    def file_fps(self) -> float:
        """Frame rate of the written video."""
        return self.saving_fps if self.saving_fps is not None else float(self.fps)


def make_settings(values: Mapping[str, Any]) -> SampleSettings:
    """Validated settings from plain values; raises BadInput about the first value that will not do."""
    try:
        return SampleSettings(**values)
    except ValidationError as error:
        raise BadInput(explain(error.errors()[0])) from error


def explain(problem: ErrorDetails) -> str:
    """One sentence: what is wrong, what was given, what would do."""
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0])
    field = SampleSettings.model_fields.get(name)
    if field is None:
        return f"there is no setting {name!r}; the settings are {', '.join(SampleSettings.model_fields)}"
    return f"{name} must be {requirement(name)}, got {problem['input']!r}"


def approximated(values: Mapping[str, Any]) -> list[str]:
    """Names of the approximations that are switched on, of settings or controls as plain values."""
    return [name for name in APPROXIMATIONS if values[name] != SampleSettings.model_fields[name].default]


def check_provider(settings: SampleSettings, provider: str) -> None:
    """Raises BadInput where the settings ask for something that the engine does not do."""
    on = approximated(settings.model_dump()) if provider == "sgm" else []
    if on:
        given = ", ".join(f"{name} {getattr(settings, name)}" for name in on)
        raise BadInput(
            f"the sgm engine has no approximations, got {given}; "
            "leave them at their defaults or choose the native engine"
        )


def requirement(name: str) -> str:
    """What a setting takes, in words: "a whole number from 1 to 10", "one of crop, fit"."""
    field = SampleSettings.model_fields[name]
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return f"one of {', '.join(choices)}"
    kinds: dict[Any, str] = {int: "a whole number", bool: "true or false", str: "a name"}
    kind = kinds.get(field.annotation, "a number")
    limits = limits_of(name)
    unit = unit_of(name)
    words = [kind]
    if limits:
        words.append(f"from {_plain(limits['ge'])} to {_plain(limits['le'])}")
    if unit:
        words.append(f"({unit})")
    return " ".join(words)


def _plain(number: float) -> str:
    return str(int(number)) if number.is_integer() else str(number)


def limits_of(name: str) -> dict[str, float]:
    """The range of a number, both ends included: `ge` below, `le` above; empty for what is no number."""
    field = SampleSettings.model_fields[name]
    sources = [*field.metadata, *(m for part in get_args(field.annotation) for m in getattr(part, "__metadata__", ()))]
    nested = [m for source in sources for m in getattr(source, "metadata", [source])]
    return {key: float(getattr(m, key)) for m in nested for key in ("ge", "le") if hasattr(m, key)}


def unit_of(name: str) -> str:
    """The unit of a setting, or nothing."""
    return str(_extra(name).get("unit", ""))


def trained_range(name: str) -> tuple[float, float] | None:
    """What Stable Video Diffusion was trained on, both ends included; None where training says nothing about it."""
    low_high = _extra(name).get("trained")
    return None if low_high is None else (low_high[0], low_high[1])


def label_of(name: str) -> str:
    """What the page calls a setting: the reference demo's words."""
    return SampleSettings.model_fields[name].title or name


def _extra(name: str) -> dict[str, Any]:
    extra = SampleSettings.model_fields[name].json_schema_extra
    return cast(dict[str, Any], extra) if isinstance(extra, dict) else {}
