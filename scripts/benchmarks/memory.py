"""GPU memory that a model needs, by memory plan and stage, in GB, computed without a GPU.

Each stage includes workspace, and `card` the context of the driver. Below the table: weights and activations.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.results import Row
from img2vid.engine.backends.native import needs_of, packable
from img2vid.engine.config import load_config
from img2vid.engine.interface import DTYPES, ModelSource
from img2vid.engine.memory.accounting import ClipSize, Needs
from img2vid.engine.memory.plans import CONTEXT, GB, Plan, bytes_of
from img2vid.engine.weights.checkpoint import build_model
from img2vid.options import MEMORY_PLANS, LoadOptions
from img2vid.versions import load_versions

COLUMNS = {"model": "", "memory": "", "decoding": "", **dict.fromkeys(("condition", "sample", "decode", "card"), ".1f")}
SIZES = ("width", "height", "num_frames", "decode_t")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--versions", nargs="+", default=["svd", "svd_xt"])
    parser.add_argument("--precision", choices=tuple(DTYPES), default="fp16")
    parser.add_argument("--packed", action="store_true", help="the network's weights are stored as float8")
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
        config = version.config_path
        options = LoadOptions(precision=given.precision, decoder_precision=given.decoder_precision)
        source = ModelSource(config, Path(), load_config(config), options)
        names = packable(build_model(source), source) if given.packed else ()
        needs = needs_of(source, dict.fromkeys(names, (torch.float8_e4m3fn, torch.Size())))
        yield from rows(name, needs, size)
        activations = {
            "encoder": needs.encode(size),
            "step in turn": needs.sample(size, together=False),
            "step together": needs.sample(size, together=True),
            "decode plain": needs.decode(size, low_memory=False),
            "decode low-memory": needs.decode(size, low_memory=True),
        }
        weights = {**needs.weights, "network streamed": needs.streamed}
        parts.append(f"{name}: weights {gigabytes(weights)}; activations {gigabytes(activations)}")
    print("", *parts, sep="\n")


def rows(name: str, needs: Needs, size: ClipSize) -> Iterator[Row]:
    """Yield a row per plan: GB of each stage, and the required GPU memory."""
    for memory in MEMORY_PLANS:
        for low_memory in (False, True):
            needed = bytes_of(needs, size, Plan(memory, together=memory == "blocks", low_memory=low_memory))
            stages = {stage: value / GB for stage, value in needed.items()}
            card = max(stages.values()) + CONTEXT / GB
            yield {
                "model": name,
                "memory": memory,
                "decoding": "low-memory" if low_memory else "plain",
                **stages,
                "card": card,
            }


def gigabytes(values: dict[str, int]) -> str:
    return ", ".join(f"{part} {value / GB:.2f}" for part, value in values.items())
