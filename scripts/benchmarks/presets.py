"""Operations of each preset, and seconds at a given speed: what the presets save, counted without running a model.

The default speed is that of plain PyTorch on an RTX 4080: 25 steps of svd_xt in 83 s (stable-fast's README).
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.results import Row
from img2vid.errors import BadInput
from img2vid.jobs.estimate import network_runs
from img2vid.jobs.workload import work_of
from img2vid.presets import load_presets
from img2vid.settings import SampleSettings
from img2vid.versions import find_version

COLUMNS = {
    "preset": "",
    "frames": "",
    "steps": "",
    "network_runs": "g",
    "tflop": ".0f",
    "share": ".2f",
    "seconds": ".0f",
}
FEW_STEPS = "svd_xt_animatelcm"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", default="svd_xt")
    parser.add_argument("--tflops", type=float, default=50.0, help="operations per second in units of 1e12")


def measure(given: argparse.Namespace) -> Iterator[Row]:
    presets = {name: preset.settings for name, preset in load_presets()[0].items() if not preset.own}
    rows = [row(name, given.version, changed, given.tflops) for name, changed in presets.items()]
    if given.version == "svd_xt":
        rows.append(row(FEW_STEPS, FEW_STEPS, {}, given.tflops))
    for one in rows:
        yield one | {"share": one["tflop"] / rows[0]["tflop"]}


def row(name: str, version: str, changed: Mapping[str, Any], tflops: float) -> dict[str, Any]:
    """Return the figures of one video; raise BadInput for a version without known operations."""
    settings: SampleSettings = find_version(version).settings(changed)
    work = work_of(settings)
    if work is None:
        raise BadInput(f"configs/operations.yaml has no row for {version}; choose another version")
    figures = {"tflop": work.whole / 1e12, "seconds": work.whole / 1e12 / tflops}
    runs = network_runs(settings)
    return {"preset": name, "frames": settings.num_frames, "steps": settings.num_steps, "network_runs": runs, **figures}
