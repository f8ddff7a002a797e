"""What a benchmark is asked for, checked before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from img2vid.errors import BadInput
from img2vid.settings import SampleSettings
from img2vid.versions import ModelVersion, find_version

ENGINES = ("native", "sgm", "diffusers")
STAGES = ("condition", "step", "decode")
AXES = ("frames", "area", "steps", "jobs")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
SIZES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "tiny": ("svd_tiny", {}),
    "middle": ("svd", {"width": 512, "height": 256}),
    "full": ("svd", {}),
}
"""The version whose configuration and defaults a size has, and what it sets otherwise."""


@dataclass(frozen=True)
class Request:
    """A benchmark, validated. settings hold width, height, num_frames and decode_t; the rest of them rests.
    peaks: how many processes measure the memory of each engine in each stage.

    options: further arguments of `load_engine` for the native engine. keep: where checkpoints of random numbers stay.
    """

    size: str
    version: ModelVersion
    settings: SampleSettings
    engines: tuple[str, ...]
    stages: tuple[str, ...]
    device: str = "auto"
    precision: str = "auto"
    repetitions: int = 5
    warm_up: int = 1
    steps: int = 1
    threads: int = 0
    peaks: int = 1
    keep: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


def choose_size(size: str, version: str | None, overrides: Mapping[str, Any]) -> tuple[ModelVersion, SampleSettings]:
    """The version and settings of a size; BadInput where a value will not do."""
    if version is not None and size != "full":
        raise BadInput(f"--version belongs to the size full, got the size {size}; add --size full or leave it out")
    name, own = SIZES[size]
    found = find_version(version or name)
    return found, found.settings({**own, **overrides})


def split_list(option: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Names separated by commas, in the order given; BadInput for one that is not known or comes twice."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in known:
            raise BadInput(f"{option} takes {', '.join(known)}, separated by commas; got {name!r}")
    if len(set(names)) < len(names):
        raise BadInput(f"{option} names something twice: {text}")
    return names


def whole_number(option: str, text: str, least: int, most: int) -> int:
    """A whole number in a range, or BadInput."""
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise BadInput(f"{option} must be a whole number from {least} to {most}, got {text!r}")
    return number
