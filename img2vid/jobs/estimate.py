"""Estimates of the time of a video from earlier videos. It scales with the amount of work."""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from statistics import median

from img2vid.settings import SampleSettings

OUTER_SHARE = 0.1
"""Share of the outermost blocks in the time of a full model's network. They always run, also with the block cache."""
TWICE_A_STEP = frozenset({"HeunEDMSampler", "DPMPP2SAncestralSampler"})
"""Samplers that run the network a second time in each step."""


@dataclass(frozen=True)
class Timing:
    """Cost of a video per unit of work: per pixel and network run for sampling, else per pixel of all frames.

    All are in seconds.
    """

    sampling: float
    decoding: float
    rest: float

    @classmethod
    def of(cls, settings: SampleSettings, sampling: float, decoding: float, whole: float) -> "Timing":
        """Return the timing of one video from its seconds by stage and in total."""
        pixels = pixels_of(settings)
        rest = max(whole - sampling - decoding, 0.0)
        seconds = (sampling / (pixels * network_runs(settings)), decoding / pixels, rest / pixels)
        return cls(*seconds)

    @classmethod
    def from_text(cls, text: str) -> "Timing":
        """Return the timing from JSON, without fields that earlier versions stored."""
        values = json.loads(text)
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    @classmethod
    def usual(cls, timings: Sequence["Timing"]) -> "Timing | None":
        """Return the median, which ignores outliers such as a video made while a game was running. None if empty."""
        if not timings:
            return None
        return cls(*(median(values) for values in zip(*[astuple(timing) for timing in timings], strict=True)))


@dataclass(frozen=True)
class Expected:
    """Expected seconds per stage of one video."""

    sampling: float
    decoding: float
    rest: float

    @property
    def whole(self) -> float:
        """Total seconds."""
        return self.sampling + self.decoding + self.rest


def expected(timing: Timing, settings: SampleSettings) -> Expected:
    """Return the expected cost of one video with these settings."""
    pixels = pixels_of(settings)
    seconds = (timing.sampling * pixels * network_runs(settings), timing.decoding * pixels, timing.rest * pixels)
    return Expected(*seconds)


def pixels_of(settings: SampleSettings) -> int:
    """Return the number of pixels in all frames of a video."""
    return settings.num_frames * settings.height * settings.width


def network_runs(settings: SampleSettings) -> float:
    """Return the number of full network runs per frame. A guided step needs a second, unconditional run.

    The approximations make steps cheaper. If noise levels are not EDM's, guidance is assumed to act at every step.
    """
    per_step = 2 if settings.sampler in TWICE_A_STEP else 1
    low, high = settings.guidance_sigma_min, settings.guidance_sigma_max
    runs = 0.0
    for step, sigma in enumerate(_sigmas(settings)):
        guided = settings.is_guided and (sigma is None or low <= sigma <= high)
        runs += (2 if guided else 1) * (OUTER_SHARE if step % settings.block_cache else 1)
    return runs * per_step


def _sigmas(settings: SampleSettings) -> list[float | None]:
    """Return the EDM noise level of every step (Karras et al. 2022, equation 5), or None for each if not EDM."""
    if settings.discretization != "EDMDiscretization":
        return [None] * settings.num_steps
    last = max(settings.num_steps - 1, 1)
    start, end = settings.sigma_max ** (1 / settings.rho), settings.sigma_min ** (1 / settings.rho)
    return [(start + step / last * (end - start)) ** settings.rho for step in range(settings.num_steps)]


def seconds_left(stage: str, of_stage: float | None, one: Expected | None, videos_after: int) -> float | None:
    """Return the seconds left of a job, from the seconds left of the current stage and the usual times.

    Without earlier videos, return the seconds left of the stage.
    """
    if one is None:
        return of_stage
    ahead = {"load": one.whole, "condition": one.whole, "sample": one.sampling + one.decoding, "decode": one.decoding}
    usual = ahead.get(stage, 0.0)
    if of_stage is not None:
        usual = {"load": of_stage + one.whole, "sample": of_stage + one.decoding, "decode": of_stage}.get(stage, usual)
    return usual + videos_after * one.whole
