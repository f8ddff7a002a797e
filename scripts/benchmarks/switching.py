"""Time and memory of loading a full-size model, switching to another one, and returning to the first.

Writes two checkpoints of 4.8 GB each in float16 with equal CLIP and encoder weights and different other weights, unless
the folder already has them. A cold load first drops the file from the page cache. Memory is the process's, in GB.
"""

import argparse
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.full_size import CONFIG, write_svd
from benchmarks.results import Row, timed
from img2vid.engine import load_engine
from img2vid.engine.memory.device import release
from img2vid.options import LoadOptions

COLUMNS = {
    "load": "",
    "seconds": ".2f",
    "loaded_gb": ".3f",
    "kept": "",
    "memory_before_gb": ".2f",
    "memory_after_gb": ".2f",
}


def forget(path: Path) -> None:
    """Drop the file from the page cache, if the system supports it."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def load(name: str, path: Path, spare: Any, options: LoadOptions) -> tuple[Row, Any]:
    """Load a checkpoint and return the cost and only its parts, so that the network is freed."""
    process = psutil.Process()
    before = process.memory_info().rss
    progress = [(0, 0)]
    engine, seconds = timed(
        lambda: load_engine(CONFIG, path, options, spare=spare, on_bytes=lambda *now: progress.append(now))
    )
    kept = [key for key, part in engine.parts.items() if spare and spare[key].module is part.module]
    row = {
        "load": name,
        "seconds": seconds,
        "loaded_gb": progress[-1][0] / 1e9,
        "kept": ", ".join(kept),
        "memory_before_gb": before / 1e9,
        "memory_after_gb": process.memory_info().rss / 1e9,
    }
    parts = engine.parts
    del engine
    gc.collect()
    release()
    return row, parts


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="bf16", help="of the network")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, help="keep the checkpoints here and reuse them")


def measure(given: argparse.Namespace) -> Iterator[Row]:
    options = LoadOptions(device=given.device, precision=given.precision)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        first, second = folder / "first.safetensors", folder / "second.safetensors"
        for seed, path in enumerate((first, second), start=1):
            if not path.is_file():
                write_svd(path, "fp16", seed)
            forget(path)
        parts = None
        for name, path in (
            ("cold", first),
            ("first switch, file not cached", second),
            ("return, file cached", first),
            ("another switch, files cached", second),
        ):
            row, parts = load(name, path, parts, options)
            yield row
        del parts
        yield load("no reuse, file cached", first, None, options)[0]
