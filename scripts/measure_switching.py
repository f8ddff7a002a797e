"""Measures loading a full-size model, switching to another one, and returning to the first.

python scripts/measure_switching.py [--precision bf16] [--folder DIR]

Writes two checkpoints of 4.8 GB each in float16 with equal CLIP and encoder weights and different other weights, unless
the folder already has them. A cold load first drops the file from the page cache. Prints one JSON object per load:
seconds, loaded bytes, reused parts, and the memory of the process before and after.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from img2vid import paths

CONFIG = paths.CONFIGS / "svd.yaml"
SHARED = ("conditioner.",)


def write(path: Path, seed: int) -> None:
    """Write a checkpoint with svd's names and shapes. Weights with a prefix in SHARED are equal for every seed."""
    import torch
    from safetensors.torch import save_file

    from img2vid.engine.config import load_config
    from img2vid.engine.model import build_meta

    model = build_meta(load_config(CONFIG), None)
    model.drop_unused()
    generator = torch.Generator()

    def values(name: str, shape: torch.Size) -> torch.Tensor:
        generator.manual_seed(0 if name.startswith(SHARED) else seed)
        return torch.empty(shape, dtype=torch.float16).random_(-100, 100, generator=generator).mul_(3e-4)

    save_file({name: values(name, tensor.shape) for name, tensor in model.weights().items()}, path)


def forget(path: Path) -> None:
    """Drop the file from the page cache, if the system supports it."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def load(name: str, path: Path, spare: Any, options: dict[str, Any]) -> Any:
    """Load a checkpoint and print the cost. Return only its parts, so that the network is freed."""
    from img2vid.engine import load_engine
    from img2vid.engine.memory.device import release

    process = psutil.Process()
    before = process.memory_info().rss
    progress = [(0, 0)]
    started = time.monotonic()
    engine = load_engine(CONFIG, path, spare=spare, on_bytes=lambda *now: progress.append(now), **options)
    seconds = time.monotonic() - started
    kept = [key for key, part in engine.parts.items() if spare and spare[key].module is part.module]
    row = {
        "load": name,
        "seconds": round(seconds, 2),
        "loaded_gb": round(progress[-1][0] / 1e9, 3),
        "kept": kept,
        "memory_before_gb": round(before / 1e9, 2),
        "memory_after_gb": round(process.memory_info().rss / 1e9, 2),
    }
    print(json.dumps(row), flush=True)
    parts = engine.parts
    del engine
    gc.collect()
    release()
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--precision", choices=("fp32", "fp16", "bf16"), default="bf16", help="number format of the network"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, help="keep the checkpoints here and reuse them")
    arguments = parser.parse_args()
    options = {"precision": arguments.precision, "device": arguments.device}
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        first, second = folder / "first.safetensors", folder / "second.safetensors"
        for seed, path in enumerate((first, second), start=1):
            if not path.is_file():
                write(path, seed)
            forget(path)
        parts = load("cold", first, None, options)
        parts = load("switch, the file not read before", second, parts, options)
        parts = load("return, the file in the system's cache", first, parts, options)
        load("switch again, both files in the cache", second, parts, options)
        load("without parts, the file in the cache", first, None, options)


if __name__ == "__main__":
    main()
