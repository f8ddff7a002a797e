"""Operations of a video by stage, and its expected time on a machine of known speed, before any video was made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from operator import mul
from typing import Any

from pydantic import TypeAdapter, ValidationError

from img2vid import paths
from img2vid.documents import read_yaml
from img2vid.errors import BadInput, ConfigError
from img2vid.jobs.estimate import Expected, network_runs
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings
from img2vid.versions import find_version

EFFICIENCY = {"cpu": 0.7, "cuda": 0.5}
"""Share of a large product's speed that the stages reach.

On a CPU, measured: 0.69 in svd_tiny's network, 0.87 in the middle model's. On a card, derived from published times of
plain PyTorch: svd_xt with 25 steps in 83 s on an RTX 4080, 50 of its 97 TFLOP/s (stable-fast's README).
"""
TERMS: Mapping[str, Callable[[int, int], tuple[int, ...]]] = {
    "condition": lambda frames, latents: (1, latents, latents**2),
    "network": lambda frames, latents: (1, frames, frames * latents, frames**2 * latents, frames * latents**2),
    "decode": lambda frames, latents: (frames * latents, frames * latents**2),
}
"""Terms of the stages' polynomials, from the number of frames and the latents (height x width) of a frame."""
Speed = Mapping[str, float]
"""Operations per second of a large matrix product by number format."""
SPEEDS = "speeds"
"""Name of the note with the speeds of the workers' devices."""
_SPEEDS = TypeAdapter(dict[str, dict[str, float]])


@dataclass(frozen=True)
class Work:
    """Operations of one video: conditioning, one network run, all network runs, and decoding."""

    condition: float
    run: float
    sample: float
    decode: float

    @property
    def whole(self) -> float:
        """Operations of all stages."""
        return self.condition + self.sample + self.decode


def work_of(settings: SampleSettings) -> Work | None:
    """Return the operations of one video, or None for a configuration that is not in configs/operations.yaml."""
    try:
        version = find_version(settings.version)
    except (BadInput, ConfigError):
        return None
    known = _operations().get(version.config)
    if known is None:
        return None
    frames, latents = settings.num_frames, settings.height * settings.width // version.downsampling**2
    found = {stage: sum(map(mul, coefficients, TERMS[stage](frames, latents))) for stage, coefficients in known.items()}
    return Work(found["condition"], found["network"], found["network"] * network_runs(settings), found["decode"])


def expected_from(settings: SampleSettings, options: LoadOptions, speeds: Mapping[str, Speed]) -> Expected | None:
    """Return the expected seconds of one video, or None if the work or the speed is unknown.

    speeds: those measured, by device type. Device auto is a card if one was measured.
    """
    device = options.device.split(":")[0]
    if device == "auto":
        device = next((kind for kind in ("cuda", "cpu") if kind in speeds), "")
    work, speed = work_of(settings), speeds.get(device)
    if work is None or speed is None or device not in EFFICIENCY:
        return None
    usual = {"precision": "fp32" if device == "cpu" else "fp16", "decoder_precision": "fp32"}
    formats = {name: usual[name] if (given := getattr(options, name)) == "auto" else given for name in usual}
    if not all(speed.get(one, 0) > 0 for one in formats.values()):
        return None
    network, decoder = (speed[one] * EFFICIENCY[device] for one in formats.values())
    return Expected(work.sample / network, work.decode / decoder, work.condition / decoder)


def speeds_from(note: object) -> dict[str, dict[str, float]]:
    """Return the recorded speeds by device type, none if they cannot be read."""
    try:
        return _SPEEDS.validate_python(note or {})
    except ValidationError:  # a damaged row, which the next measurement replaces
        return {}


def fastest(known: Mapping[str, Speed], speeds: Mapping[str, Speed]) -> dict[str, Speed]:
    """Return the higher speeds; other programs can only slow a measurement down."""
    best = {
        device: {name: max(rate, known.get(device, {}).get(name, 0)) for name, rate in speed.items()}
        for device, speed in speeds.items()
    }
    return {**known, **best}


@cache
def _operations() -> Mapping[str, Mapping[str, Any]]:
    return read_yaml(paths.CONFIGS / "operations.yaml", error=ConfigError)
