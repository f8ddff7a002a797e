"""Benchmark requests, validated before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from img2vid.errors import BadInput
from img2vid.options import CHOICES, NATIVE_ONLY, LoadOptions
from img2vid.settings import SampleSettings
from img2vid.versions import ModelVersion, find_version

COMFYUI = "comfyui"
ENGINES = (*CHOICES["provider"][1:], "diffusers", COMFYUI)
PLAIN = LoadOptions(**NATIVE_ONLY)
STAGES = ("condition", "step", "decode")
AXES = ("frames", "area", "steps", "jobs")
SIZES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "tiny": ("svd_tiny", {}),
    "middle": ("svd", {"width": 512, "height": 256}),
    "full": ("svd", {}),
}
"""For each size: the version that provides configuration and defaults, and the settings that override them."""


@dataclass(frozen=True)
class Request:
    """Validated benchmark request.

    settings: only width, height, num_frames and decode_t are used. peaks: number of processes that measure the memory
    of each engine in each stage. options: engine options; provider is not used. keep: folder to keep random checkpoints
    in. comfyui: folder of ComfyUI.
    """

    size: str
    version: ModelVersion
    settings: SampleSettings
    engines: tuple[str, ...]
    stages: tuple[str, ...]
    repetitions: int = 5
    warm_up: int = 1
    steps: int = 1
    peaks: int = 1
    keep: Path | None = None
    options: LoadOptions = PLAIN
    comfyui: Path | None = None


def choose_size(size: str, version: str | None, overrides: Mapping[str, Any]) -> tuple[ModelVersion, SampleSettings]:
    """Return the version and settings of a size; raise BadInput for invalid values."""
    if version is not None and size != "full":
        raise BadInput(f"--version requires --size full, got --size {size}; add --size full or omit --version")
    name, own = SIZES[size]
    found = find_version(version or name)
    return found, found.settings({**own, **overrides})


def split_list(option: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Parse comma-separated names, keeping their order; raise BadInput for unknown or repeated names."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in known:
            raise BadInput(f"{option} must be a comma-separated list of {', '.join(known)}; got {name!r}")
    if len(set(names)) < len(names):
        raise BadInput(f"{option} contains a name twice: {text}; list each name once")
    return names


def choose_engines(text: str | None, comfyui: Path | None) -> tuple[str, ...]:
    """Return the engines to compare, by default all that are available.

    text: their names, separated by commas. comfyui: folder of ComfyUI. Raise BadInput for unknown names, and for a
    folder that is missing or another program's.
    """
    default = ",".join(name for name in ENGINES if name != COMFYUI or comfyui is not None)
    names = split_list("--engines", default if text is None else text, ENGINES)
    if COMFYUI in names and comfyui is None:
        raise BadInput("the engine comfyui needs ComfyUI's folder; add --comfyui FOLDER")
    if comfyui is not None and not (comfyui / "comfy" / "supported_models.py").is_file():
        raise BadInput(f"{comfyui} is not ComfyUI's folder, which has comfy/supported_models.py; check --comfyui")
    return names
