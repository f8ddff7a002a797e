"""GPU memory that a model needs, by memory plan and stage, in GB, computed without a GPU.

Each stage includes workspace, and `card` the context of the driver. Below the table: weights and activations.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.results import Row
from img2vid.engine.backends.native import needs_of
from img2vid.engine.config import load_config
from img2vid.engine.interface import DTYPES, MEMORY_PLANS, LoadOptions
from img2vid.engine.memory.accounting import ClipSize, Needs
from img2vid.engine.memory.plans import CONTEXT, GB, Plan, bytes_of
from img2vid.versions import load_versions

COLUMNS = {"model": "", "memory": "", "decoding": "", **dict.fromkeys(("condition", "sample", "decode", "card"), ".1f")}
SIZES = ("width", "height", "num_frames", "decode_t")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--versions", nargs="+", default=["svd", "svd_xt"])
    parser.add_argument("--precision", choices=tuple(DTYPES), default="fp16")
    parser.add_argument("--decoder-precision", choices=tuple(DTYPES), default="fp32")
    for name in SIZES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="default: the version's")


def measure(given: argparse.Namespace) -> Iterator[Row]:
    parts: list[str] = []
    for name in given.versions:
        version = load_versions()[name]
        settings = version.settings({})
        width, height, num_frames, decode_t = (getattr(given, key) or getattr(settings, key) for key in SIZES)
        size = ClipSize(num_frames, height, width, decode_t)
        config, precisions = version.config_path, (given.precision, given.decoder_precision)
        device = torch.device("cpu")
        needs = needs_of(
            LoadOptions(config, load_config(config), Path(), device, precisions[0], decoder_precision=precisions[1])
        )
        yield from rows(name, needs, size)
        activations = {
            "encoder": needs.encode(size),
            "step in turn": needs.sample(size, together=False),
            "step together": needs.sample(size, together=True),
            "decode plain": needs.decode(size, lean=False),
            "decode lean": needs.decode(size, lean=True),
        }
        weights = {**needs.weights, "network streamed": needs.streamed}
        parts.append(f"{name}: weights {gigabytes(weights)}; activations {gigabytes(activations)}")
    print("", *parts, sep="\n")


def rows(name: str, needs: Needs, size: ClipSize) -> Iterator[Row]:
    """Yield a row per plan: GB of each stage, and the required GPU memory."""
    for memory in MEMORY_PLANS:
        for lean in (False, True):
            needed = bytes_of(needs, size, Plan(memory, together=memory == "blocks", lean=lean))
            stages = {stage: value / GB for stage, value in needed.items()}
            card = max(stages.values()) + CONTEXT / GB
            yield {"model": name, "memory": memory, "decoding": "lean" if lean else "plain", **stages, "card": card}


def gigabytes(values: dict[str, int]) -> str:
    return ", ".join(f"{part} {value / GB:.2f}" for part, value in values.items())
