"""How long a video will take and how much memory, judged by those that were made before; both scale with the work."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from statistics import median

from img2vid.settings import SampleSettings

OUTER_SHARE = 0.1
"""What the outermost blocks take of a run of a full model's network; they are computed also where a cache is used."""
TWICE_A_STEP = frozenset({"HeunEDMSampler", "DPMPP2SAncestralSampler"})
"""Samplers that run the network a second time in each step."""


@dataclass(frozen=True)
class Timing:
    """What a video costs per unit of work: a network run on one pixel of one frame for sampling, else a pixel.

    sampling, decoding and rest are seconds. model: bytes of the model alone; memory: further bytes.
    """

    sampling: float
    decoding: float
    rest: float
    model: float = 0.0
    memory: float = 0.0

    @classmethod
    def of(
        cls,
        settings: SampleSettings,
        sampling: float,
        decoding: float,
        whole: float,
        model: float = 0.0,
        memory: float = 0.0,
    ) -> "Timing":
        """From the seconds that the stages of one video took, and all of them together; bytes at first and at most."""
        pixels = pixels_of(settings)
        rest = max(whole - sampling - decoding, 0.0)
        seconds = (sampling / (pixels * network_runs(settings)), decoding / pixels, rest / pixels)
        return cls(*seconds, model, max(memory - model, 0.0) / pixels)

    @classmethod
    def usual(cls, timings: Sequence["Timing"]) -> "Timing | None":
        """The middle of several, so that one video made beside a game does not count; None for none."""
        if not timings:
            return None
        return cls(*(median(values) for values in zip(*map(astuple, timings), strict=True)))


@dataclass(frozen=True)
class Expected:
    """Seconds that the stages of one video will take, and the most memory, in bytes."""

    sampling: float
    decoding: float
    rest: float
    memory: int = 0

    @property
    def whole(self) -> float:
        """Seconds of all stages."""
        return self.sampling + self.decoding + self.rest


def expected(timing: Timing, settings: SampleSettings) -> Expected:
    """What one video of these settings will take at that speed."""
    pixels = pixels_of(settings)
    seconds = (timing.sampling * pixels * network_runs(settings), timing.decoding * pixels, timing.rest * pixels)
    return Expected(*seconds, round(timing.model + timing.memory * pixels))


def pixels_of(settings: SampleSettings) -> int:
    """Pixels of all frames of a video."""
    return settings.num_frames * settings.height * settings.width


def network_runs(settings: SampleSettings) -> float:
    """How often the network runs on each frame, in whole runs; without guidance it is spared that without the picture.

    With the approximations a step costs less; where noise levels are not EDM's, guidance is taken to act at all.
    """
    a_step = 2 if settings.sampler in TWICE_A_STEP else 1
    low, high = settings.guidance_sigma_min, settings.guidance_sigma_max
    runs = 0.0
    for step, sigma in enumerate(_sigmas(settings)):
        guided = settings.guider != "IdentityGuider" and (sigma is None or low <= sigma <= high)
        runs += (2 if guided else 1) * (OUTER_SHARE if step % settings.block_cache else 1)
    return runs * a_step


def _sigmas(settings: SampleSettings) -> list[float | None]:
    """The noise level of every step where that is EDM's (Karras et al. 2022, equation 5), else None for each."""
    if settings.discretization != "EDMDiscretization":
        return [None] * settings.num_steps
    last = max(settings.num_steps - 1, 1)
    start, end = settings.sigma_max ** (1 / settings.rho), settings.sigma_min ** (1 / settings.rho)
    return [(start + step / last * (end - start)) ** settings.rho for step in range(settings.num_steps)]


def seconds_left(stage: str, of_stage: float | None, one: Expected | None, videos_after: int) -> float | None:
    """Until the end of a job, from what is left of the present stage and what a video usually takes.

    Without past videos it is what is left of the stage.
    """
    if one is None:
        return of_stage
    ahead = {"load": one.whole, "condition": one.whole, "sample": one.sampling + one.decoding, "decode": one.decoding}
    usual = ahead.get(stage, 0.0)
    if of_stage is not None:
        usual = {"load": of_stage + one.whole, "sample": of_stage + one.decoding, "decode": of_stage}.get(stage, usual)
    return usual + videos_after * one.whole
