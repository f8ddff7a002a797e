"""All settings of a run with their defaults, ranges, units and help texts.

The page, the command line, the store and the file metadata use these names. Defaults that depend on the model version
(size, frames, steps, guidance, decode_t) come from configs/versions.yaml; see `img2vid.versions`.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from pydantic import ValidationInfo, field_validator, model_validator

from img2vid.control import SettingsModel, about_of, check_falling, control, numbers_as_text
from img2vid.orbit import Orbit, dynamic, level

Sampler = Literal[
    "EulerEDMSampler",
    "HeunEDMSampler",
    "EulerAncestralSampler",
    "DPMPP2SAncestralSampler",
    "DPMPP2MSampler",
    "LinearMultistepSampler",
    "DPMPP2MSDESampler",
    "UniPCSampler",
    "ConsistencySampler",
]
Discretization = Literal[
    "LegacyDDPMDiscretization",
    "EDMDiscretization",
    "AYSDiscretization",
    "ConsistencyDiscretization",
    "ListDiscretization",
]
Guider = Literal["VanillaCFG", "IdentityGuider", "LinearPredictionGuider", "TrianglePredictionGuider"]
Fitting = Literal["crop", "fit", "object"]
Trajectory = Literal["same elevation", "dynamic"]

CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise")
PARAMS: dict[str, tuple[str, ...]] = {
    "EulerEDMSampler": CHURN,
    "HeunEDMSampler": CHURN,
    "EulerAncestralSampler": ("eta", "s_noise"),
    "DPMPP2SAncestralSampler": ("eta", "s_noise"),
    "DPMPP2MSampler": (),
    "LinearMultistepSampler": ("order",),
    "DPMPP2MSDESampler": ("eta", "s_noise"),
    "UniPCSampler": (),
    "ConsistencySampler": (),
    "LegacyDDPMDiscretization": (),
    "EDMDiscretization": ("sigma_min", "sigma_max", "rho"),
    "AYSDiscretization": (),
    "ConsistencyDiscretization": ("sigma_min", "sigma_max", "rho"),
    "ListDiscretization": ("sigmas",),
    "VanillaCFG": ("scale",),
    "IdentityGuider": (),
    "LinearPredictionGuider": ("max_scale", "min_scale"),
    "TrianglePredictionGuider": ("max_scale", "min_scale", "period", "period_fusing"),
}
"""Settings used by each sampler, discretization and guider; the others are unused."""

SCALES = ("scale", "max_scale", "min_scale")
"""Guidance scales; 1 is no guidance."""

CONSISTENCY_LEVELS = 40
"""Noise levels that AnimateLCM was distilled at."""

METHODS = ("sampler", "discretization", "guider")
"""Settings that have parameters of their own."""
MAX_SEED = 2**32 - 1
MAX_SIGMA = 1e6

_video = partial(control, "video")
_conditioning = partial(control, "conditioning")
_orbit = partial(control, "orbit", added_later=True)
_sampling = partial(control, "sampling")
_noise_levels = partial(control, "noise levels")
_guidance = partial(control, "guidance")
_approximation = partial(control, "approximations")
_memory = partial(control, "memory")


class SampleSettings(SettingsModel):
    """Validated settings of one run. Invalid values raise an error and are never silently changed."""

    version: str = _video("svd_tiny", "Model Version", "Model that makes the video; `img2vid models list` lists them.")
    height: int = _video(96, "H", "Height of the video.", unit="pixels", lowest=64, highest=2048, by_version=True)
    width: int = _video(160, "W", "Width of the video.", unit="pixels", lowest=64, highest=2048, by_version=True)
    num_frames: int = _video(
        14,
        "T",
        "Length of the video; models are best at the length they were trained for.",
        unit="frames",
        lowest=1,
        highest=128,
        by_version=True,
    )
    fitting: Fitting = _video(
        "crop",
        "Fitting",
        "crop fills the frame and trims the excess; fit shows the whole picture with borders; object centers the "
        "picture's object on white.",
        by_version=True,
    )
    crop_offset: float = _video(
        0.5, "Crop offset", "Part that a crop keeps: 0 is the left or top, 1 the right or bottom.", lowest=0, highest=1
    )
    object_share: float = _video(
        0.9,
        "object share",
        "Part of the frame's shorter side that the object takes, if fitting is object.",
        lowest=0.1,
        highest=1,
        step=0.05,
        added_later=True,
    )
    fps: int = _conditioning(
        6,
        "fps",
        "Frame rate the model is conditioned on. Trained at 5 to 30.",
        unit="frames per second",
        trained=(5, 30),
        outside="may look unnatural",
        input_key="fps_id",
        lowest=1,
        highest=1000,
    )
    motion_bucket_id: int = _conditioning(
        127,
        "motion bucket id",
        "Amount of motion; higher is more. Trained up to 255.",
        trained=(0, 255),
        outside="may distort the picture",
        input_key="motion_bucket_id",
        lowest=0,
        highest=511,
    )
    cond_aug: float = _conditioning(
        0.02,
        "Conditioning augmentation",
        "Noise added to the input picture; more lets the video depart further from it. Trained up to 0.14.",
        trained=(0, 0.14),
        outside="may lose the picture",
        input_key="cond_aug",
        by_version=True,
        lowest=0,
        highest=10,
        step=0.01,
    )
    seed: int = _conditioning(
        23, "seed", "The same seed and settings reproduce the same video.", lowest=0, highest=MAX_SEED
    )
    num_samples: int = _conditioning(
        1, "num cols", "Number of videos per picture; each one uses the next seed.", lowest=1, highest=10
    )
    elevation: float = _orbit(
        5.0, "elev_deg", "Elevation of the camera; negative is from below.", unit="degrees", lowest=-90, highest=90
    )
    trajectory: Trajectory = _orbit(
        "same elevation",
        "Trajectory",
        "same elevation goes around the object evenly; dynamic also moves up and down, on a path drawn from the seed.",
    )
    elevations: str = _orbit(
        "", "elevations", "Elevation of each view in degrees; replaces elev_deg and Trajectory.", numbers=(-90, 90)
    )
    azimuths: str = _orbit(
        "",
        "azimuths",
        "Angle of each view around the object in degrees, relative to the last one, the input's.",
        numbers=(-360, 360),
    )
    num_steps: int = _sampling(
        25, "steps", "Number of sampling steps; more is slower and finer.", lowest=1, highest=1000, by_version=True
    )

    sampler: Sampler = _sampling("EulerEDMSampler", "Sampler", "Method that turns noise into video.")
    s_churn: float = _sampling(
        0.0, "s_churn", "Noise added and removed again during sampling; 0 is off.", lowest=0, highest=1000, step=0.1
    )
    s_tmin: float = _sampling(
        0.0, "s_tmin", "Lowest noise level at which s_churn acts.", lowest=0, highest=MAX_SIGMA, step=0.1
    )
    s_tmax: float = _sampling(
        999.0, "s_tmax", "Highest noise level at which s_churn acts.", lowest=0, highest=MAX_SIGMA
    )
    s_noise: float = _sampling(
        1.0, "s_noise", "Strength of the noise that a sampler adds.", lowest=0, highest=10, step=0.01
    )
    eta: float = _sampling(
        1.0, "eta", "Amount of fresh noise that ancestral samplers add at each step.", lowest=0, highest=10, step=0.1
    )
    order: int = _sampling(4, "order", "Number of past steps that LinearMultistepSampler uses.", lowest=1, highest=10)

    discretization: Discretization = _noise_levels(
        "EDMDiscretization", "Discretization", "Distribution of the noise levels over the steps."
    )
    sigma_min: float = _noise_levels(
        0.002, "sigma_min", "Lowest noise level above zero.", lowest=1e-4, highest=MAX_SIGMA, step=0.001
    )
    sigma_max: float = _noise_levels(
        700.0,
        "sigma_max",
        "Noise level at the start; the models were trained to start from almost pure noise.",
        trained=(80, 1000),
        outside="may leave traces of noise",
        lowest=1e-4,
        highest=MAX_SIGMA,
        step=10,
    )
    rho: float = _noise_levels(
        7.0, "rho", "Concentration of the steps at low noise levels.", lowest=0.5, highest=100, step=0.5
    )
    sigmas: str = _noise_levels(
        "700 54.5 15.886 7.977 4.248 1.789 0.981 0.403 0.173 0.034",
        "sigmas",
        "Falling noise levels; if there are more or fewer steps, their logarithms are interpolated.",
        numbers=(1e-4, MAX_SIGMA),
        added_later=True,
    )

    guider: Guider = _guidance(
        "LinearPredictionGuider",
        "Guider",
        "Guidance schedule: how closely each frame follows the input picture.",
        by_version=True,
    )
    max_scale: float = _guidance(
        2.5, "max-cfg-scale", "Guidance at the strongest frame.", lowest=0, highest=100, step=0.1, by_version=True
    )
    min_scale: float = _guidance(
        1.0, "min guidance scale", "Guidance at the first frame.", lowest=0, highest=100, step=0.1, by_version=True
    )
    scale: float = _guidance(
        2.5, "cfg-scale", "Guidance of all frames with VanillaCFG.", lowest=0, highest=100, step=0.1
    )
    period: float = _guidance(
        1.0,
        "period",
        "Length of TrianglePredictionGuider's wave; 1 is the whole video.",
        unit="videos",
        lowest=0.01,
        highest=10,
        step=0.1,
    )
    period_fusing: Literal["mean", "multiply", "max"] = _guidance(
        "max", "period fusing", "How multiple waves of TrianglePredictionGuider are combined."
    )

    guidance_sigma_min: float = _approximation(
        0.0,
        "guidance from sigma",
        "Lowest noise level at which guidance acts; below it, the network runs once per step instead of twice.",
        lowest=0,
        highest=MAX_SIGMA,
        step=0.1,
    )
    guidance_sigma_max: float = _approximation(
        MAX_SIGMA,
        "guidance up to sigma",
        "Highest noise level at which guidance acts; the maximum means no limit.",
        lowest=0,
        highest=MAX_SIGMA,
        step=10,
    )
    block_cache: int = _approximation(
        1,
        "block cache",
        "Compute the inner blocks of the network only at every n-th step and reuse them in between; 1 is off.",
        unit="steps",
        lowest=1,
        highest=100,
    )

    decode_t: int = _memory(
        14,
        "Decode t frames at a time",
        "Lower it if memory is short; frames decoded together flicker less.",
        unit="frames",
        lowest=1,
        highest=1000,
        by_version=True,
    )
    saving_fps: float | None = _video(
        None,
        "saving video at fps",
        "Frame rate of the file; defaults to fps.",
        unit="frames per second",
        lowest=1,
        highest=1000,
    )
    watermark: bool = _video(True, "Watermark", "Mark every frame invisibly as AI-generated.")

    @field_validator("elevations", "azimuths", "sigmas", mode="before")
    @classmethod
    def _as_text(cls, value: object, info: ValidationInfo) -> str:
        return numbers_as_text(value, about_of(cls.model_fields[info.field_name or ""]).numbers)

    @model_validator(mode="after")
    def _check_combinations(self) -> "SampleSettings":
        if self.sigma_min > self.sigma_max:
            raise ValueError(f"sigma_min must not be above sigma_max, got {self.sigma_min} and {self.sigma_max}")
        if self.guidance_sigma_min > self.guidance_sigma_max:
            raise ValueError(
                "guidance_sigma_min must not be above guidance_sigma_max, "
                f"got {self.guidance_sigma_min} and {self.guidance_sigma_max}"
            )
        if self.discretization == "ConsistencyDiscretization" and self.num_steps > CONSISTENCY_LEVELS:
            raise ValueError(
                f"num_steps must be at most {CONSISTENCY_LEVELS} for ConsistencyDiscretization, got {self.num_steps}"
            )
        if self.discretization == "ListDiscretization":
            check_falling("sigmas", self.sigmas)
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
    def is_guided(self) -> bool:
        """False if guidance changes nothing, so that the network runs once per step instead of twice."""
        return any(getattr(self, name) != 1 for name in SCALES if name in PARAMS[self.guider])

    @property
    def orbit(self) -> Orbit:
        """Camera path around an object, which ends at the input's view."""
        if self.trajectory == "dynamic" and not self.elevations and not self.azimuths:
            return dynamic(self.num_frames, self.elevation, self.seed)
        even = level(self.num_frames, self.elevation)
        elevations, azimuths = (tuple(map(float, text.split())) for text in (self.elevations, self.azimuths))
        return Orbit(elevations or even.elevations, tuple((a - azimuths[-1]) % 360 for a in azimuths) or even.azimuths)

    @property
    def file_fps(self) -> float:
        """Frame rate of the written video."""
        return self.saving_fps if self.saving_fps is not None else float(self.fps)


ABOUT = {name: about_of(field) for name, field in SampleSettings.model_fields.items()}
CONDITIONING = tuple(name for name, about in ABOUT.items() if about.input_key)
"""Settings that the network is conditioned on."""
GROUPS = {
    group: tuple(name for name, about in ABOUT.items() if about.group == group)
    for group in dict.fromkeys(about.group for about in ABOUT.values())
}
APPROXIMATIONS = GROUPS["approximations"]
"""Settings that trade accuracy for speed; their defaults are exact."""
_PARAMETERS = {name for names in PARAMS.values() for name in names}


def used_settings(values: Mapping[str, Any]) -> list[str]:
    """Return the settings that a run uses; each choice is followed by its parameters.

    values: settings or controls as plain values.
    """
    own = {name: PARAMS[values[name]] for name in METHODS}
    return [one for name in ABOUT if name not in _PARAMETERS for one in (name, *own.get(name, ()))]


def approximated(values: Mapping[str, Any]) -> list[str]:
    """Return the names of the active approximations in settings or controls given as plain values."""
    return [name for name in APPROXIMATIONS if values[name] != SampleSettings.model_fields[name].default]


def label_of(name: str) -> str:
    """Return the reference demo's label of a setting, as shown on the page."""
    return SampleSettings.model_fields[name].title or name


def value_text(value: object) -> str:
    """Return a value as text, such as "on" or "0.02"."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
