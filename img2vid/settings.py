"""All settings of a run with their defaults, ranges, units and help texts.

The page, the command line, the store and the file metadata use these names. Defaults that depend on the model version
(size, frames, steps, guidance, decode_t) come from configs/versions.yaml; see `img2vid.versions`.
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
"""Settings used by each sampler, discretization and guider; the others are unused."""

APPROXIMATIONS = ("guidance_sigma_min", "guidance_sigma_max", "block_cache")
"""Settings that trade accuracy for speed; their defaults are exact."""

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
    """Return a field with the reference demo's label, a help text, a unit and a range.

    `trained` is the range that Stable Video Diffusion was trained on, if it is the same for all versions.
    """
    extra: dict[str, Any] = {"unit": unit, "trained": None if trained is None else list(trained)}
    return Field(default, title=label, description=help_text, json_schema_extra=extra, **limits)


class SampleSettings(BaseModel):
    """Validated settings of one run. Invalid values raise an error and are never silently changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    version: str = control("svd_tiny", "Model Version", "Model that makes the video; `img2vid models list` lists them.")
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
        "crop", "Fitting", "crop fills the frame and trims the excess; fit shows the whole picture with borders."
    )
    crop_offset: float = control(
        0.5, "Crop offset", "Part that a crop keeps: 0 is the left or top, 1 the right or bottom.", ge=0, le=1
    )
    fps: int = control(
        6,
        "fps",
        "Frame rate the model is conditioned on. Trained at 5 to 30.",
        unit="frames per second",
        trained=(5, 30),
        ge=1,
        le=1000,
    )
    motion_bucket_id: int = control(
        127,
        "motion bucket id",
        "Amount of motion; higher is more. Trained up to 255.",
        trained=(0, 255),
        ge=0,
        le=511,
    )
    cond_aug: float = control(
        0.02,
        "Conditioning augmentation",
        "Noise added to the input picture; more lets the video depart further from it. Trained up to 0.14.",
        trained=(0, 0.14),
        ge=0,
        le=10,
        allow_inf_nan=False,
    )
    seed: int = control(23, "seed", "The same seed and settings reproduce the same video.", ge=0, le=MAX_SEED)
    num_samples: int = control(1, "num cols", "Number of videos per picture; each one uses the next seed.", ge=1, le=10)
    num_steps: int = control(25, "steps", "Number of sampling steps; more is slower and finer.", ge=1, le=1000)

    sampler: Sampler = control("EulerEDMSampler", "Sampler", "Method that turns noise into video.")
    s_churn: float = control(0.0, "s_churn", "Noise added and removed again during sampling; 0 is off.", ge=0, le=1000)
    s_tmin: float = control(0.0, "s_tmin", "Lowest noise level at which s_churn acts.", ge=0, le=MAX_SIGMA)
    s_tmax: float = control(999.0, "s_tmax", "Highest noise level at which s_churn acts.", ge=0, le=MAX_SIGMA)
    s_noise: float = control(1.0, "s_noise", "Strength of the noise that a sampler adds.", ge=0, le=10)
    eta: float = control(1.0, "eta", "Amount of fresh noise that ancestral samplers add at each step.", ge=0, le=10)
    order: int = control(4, "order", "Number of past steps that LinearMultistepSampler uses.", ge=1, le=10)

    discretization: Discretization = control(
        "EDMDiscretization", "Discretization", "Distribution of the noise levels over the steps."
    )
    sigma_min: float = control(0.002, "sigma_min", "Lowest noise level above zero.", ge=1e-4, le=MAX_SIGMA)
    sigma_max: float = control(
        700.0,
        "sigma_max",
        "Noise level at the start; the models were trained to start from almost pure noise.",
        trained=(80, 1000),
        ge=1e-4,
        le=MAX_SIGMA,
    )
    rho: float = control(7.0, "rho", "Concentration of the steps at low noise levels.", ge=0.5, le=100)

    guider: Guider = control(
        "LinearPredictionGuider", "Guider", "Guidance schedule: how closely each frame follows the input picture."
    )
    max_scale: float = control(2.5, "max-cfg-scale", "Guidance at the strongest frame.", ge=0, le=100)
    min_scale: float = control(1.0, "min guidance scale", "Guidance at the first frame.", ge=0, le=100)
    scale: float = control(2.5, "cfg-scale", "Guidance of all frames with VanillaCFG.", ge=0, le=100)
    period: float = control(
        1.0, "period", "Length of TrianglePredictionGuider's wave; 1 is the whole video.", unit="videos", ge=0.01, le=10
    )
    period_fusing: Literal["mean", "multiply", "max"] = control(
        "max", "period fusing", "How multiple waves of TrianglePredictionGuider are combined."
    )

    guidance_sigma_min: float = control(
        0.0,
        "guidance from sigma",
        "Lowest noise level at which guidance acts; below it, the network runs once per step instead of twice.",
        ge=0,
        le=MAX_SIGMA,
    )
    guidance_sigma_max: float = control(
        MAX_SIGMA,
        "guidance up to sigma",
        "Highest noise level at which guidance acts; the maximum means no limit.",
        ge=0,
        le=MAX_SIGMA,
    )
    block_cache: int = control(
        1,
        "block cache",
        "Compute the inner blocks of the network only at every n-th step and reuse them in between; 1 is off.",
        unit="steps",
        ge=1,
        le=100,
    )

    decode_t: int = control(
        14,
        "Decode t frames at a time",
        "Lower it if memory is short; frames decoded together flicker less.",
        unit="frames",
        ge=1,
        le=1000,
    )
    saving_fps: Annotated[float, Field(ge=1, le=1000)] | None = control(
        None, "saving video at fps", "Frame rate of the file; defaults to fps.", unit="frames per second"
    )
    watermark: bool = control(True, "Watermark", "Mark every frame invisibly as AI-generated.")

    @field_validator("*", mode="before")
    @classmethod
    def _reject_bool_for_number(cls, value: object, info: ValidationInfo) -> object:
        # Python and pydantic accept true as 1, but in a settings file it is a mistake.
        if isinstance(value, bool) and info.field_name != "watermark":
            raise ValueError("true and false are not numbers")
        return value

    @model_validator(mode="after")
    def _check_combinations(self) -> "SampleSettings":
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
        """Return the engine parameters of a sampler, discretization or guider."""
        return {name: getattr(self, name) for name in PARAMS[choice]}

    def approximations(self) -> dict[str, Any]:
        """Return the engine's approximation parameters. No upper guidance limit becomes infinity."""
        values = {name: getattr(self, name) for name in APPROXIMATIONS}
        # Churn can raise noise levels above MAX_SIGMA.
        return values | ({"guidance_sigma_max": math.inf} if self.guidance_sigma_max == MAX_SIGMA else {})

    @property
    def file_fps(self) -> float:
        """Frame rate of the written video."""
        return self.saving_fps if self.saving_fps is not None else float(self.fps)


def make_settings(values: Mapping[str, Any]) -> SampleSettings:
    """Validate plain values. Raise BadInput for the first invalid one."""
    try:
        return SampleSettings(**values)
    except ValidationError as error:
        raise BadInput(explain(error.errors()[0])) from error


def explain(problem: ErrorDetails) -> str:
    """Return a validation error as one sentence with the given and the valid values."""
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0])
    field = SampleSettings.model_fields.get(name)
    if field is None:
        return f"there is no setting {name!r}; the settings are {', '.join(SampleSettings.model_fields)}"
    return f"{name} must be {requirement(name)}, got {problem['input']!r}"


def approximated(values: Mapping[str, Any]) -> list[str]:
    """Return the names of the active approximations in settings or controls given as plain values."""
    return [name for name in APPROXIMATIONS if values[name] != SampleSettings.model_fields[name].default]


def check_provider(settings: SampleSettings, provider: str) -> None:
    """Raise BadInput if the settings need a feature that the engine lacks."""
    on = approximated(settings.model_dump()) if provider == "sgm" else []
    if on:
        given = ", ".join(f"{name} {getattr(settings, name)}" for name in on)
        raise BadInput(
            f"the sgm engine has no approximations, got {given}; "
            "leave them at their defaults or choose the native engine"
        )


def requirement(name: str) -> str:
    """Describe the valid values of a setting, such as "a whole number from 1 to 10" or "one of crop, fit"."""
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
    """Return the inclusive range of a number as `ge` and `le`; empty for other settings."""
    field = SampleSettings.model_fields[name]
    sources = [*field.metadata, *(m for part in get_args(field.annotation) for m in getattr(part, "__metadata__", ()))]
    nested = [m for source in sources for m in getattr(source, "metadata", [source])]
    return {key: float(getattr(m, key)) for m in nested for key in ("ge", "le") if hasattr(m, key)}


def unit_of(name: str) -> str:
    """Return the unit of a setting, or an empty string."""
    return str(_extra(name).get("unit", ""))


def trained_range(name: str) -> tuple[float, float] | None:
    """Return the inclusive range Stable Video Diffusion was trained on, or None if it does not apply."""
    low_high = _extra(name).get("trained")
    return None if low_high is None else (low_high[0], low_high[1])


def label_of(name: str) -> str:
    """Return the reference demo's label of a setting, as shown on the page."""
    return SampleSettings.model_fields[name].title or name


def _extra(name: str) -> dict[str, Any]:
    extra = SampleSettings.model_fields[name].json_schema_extra
    return cast(dict[str, Any], extra) if isinstance(extra, dict) else {}
