"""Rows of configs/operations.yaml: operations of a configuration's stages as polynomials of frames and latents.

Counted for small clips on the meta device. Those of one frame, or of one latent at some level, would need no attention.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.results import Row
from img2vid import paths
from img2vid.engine.bench.backends import Shape
from img2vid.engine.bench.operations import count_stages
from img2vid.engine.config import load_config
from img2vid.jobs.workload import TERMS

COLUMNS = {"config": "", "stage": "", "operations": ""}
SIDE = 64
CLIPS = ((2, 2, 2), (3, 2, 2), (4, 2, 2), (2, 2, 3), (3, 2, 3), (2, 2, 4))
"""Frames, height and width, the latter in units of SIDE."""
STAGES = {"condition": ("condition", 1), "network": ("step", 2), "decode": ("decode", 1)}
"""Stage that is counted, and the number of network runs or the like in it."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, nargs="+", default=[paths.CONFIGS / "svd.yaml"])


def measure(given: argparse.Namespace) -> Iterator[Row]:
    for config in given.config:
        for stage, coefficients in fit(config).items():
            yield {"config": config.name, "stage": stage, "operations": str(coefficients)}


def fit(config: Path) -> dict[str, list[float]]:
    """Return the coefficients of `TERMS` by stage."""
    f = load_config(config).first_stage.downsampling
    counted = [count_stages(config, Shape(SIDE * w, SIDE * h, frames, frames), "fp32") for frames, h, w in CLIPS]
    found: dict[str, list[float]] = {}
    for stage, terms in TERMS.items():
        name, runs = STAGES[stage]
        rows = np.array([terms(frames, h * w * SIDE**2 // f**2) for frames, h, w in CLIPS], dtype=float)
        counts = np.array([sum(part.operations for part in one[name]) / runs for one in counted])
        scale = rows.max(axis=0)
        solution = np.linalg.lstsq(rows / scale, counts, rcond=None)[0] / scale
        found[stage] = [round(value, 3) for value in solution.tolist()]
    return found
