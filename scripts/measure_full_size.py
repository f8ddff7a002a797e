"""Measures a full-size SVD with random weights: building, writing, inspecting, loading, one denoiser step.

python scripts/measure_full_size.py [--format fp16] [--keep FILE]

Each part runs in its own process and prints one JSON object: seconds, and its memory in GB, as peak (the system's
count, including pages of the mapped file) and as own (without file pages, at the end).
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from img2vid import paths

CONFIG = paths.CONFIGS / "svd.yaml"
FORMATS = ("fp32", "fp16", "bf16")


def make(file: Path, precision: str) -> dict[str, Any]:
    """Write a checkpoint of random numbers with the names and shapes of svd."""
    import torch
    from safetensors.torch import save_file

    from img2vid.engine.config import load_config
    from img2vid.engine.interface import DTYPES
    from img2vid.engine.model import build_meta

    started = time.monotonic()
    weights = build_meta(load_config(CONFIG), None).weights()
    built = time.monotonic() - started
    torch.manual_seed(0)
    dtype = DTYPES[precision]  # type: ignore[index]
    save_file({name: (torch.randn(t.shape) * 0.02).to(dtype) for name, t in weights.items()}, file)
    return {"tensors": len(weights), "values": sum(t.numel() for t in weights.values()), "build_seconds": built}


def inspect(file: Path, precision: str) -> dict[str, Any]:
    """Read the header and check it against the configuration."""
    from img2vid.checkpoints.header import read_header
    from img2vid.engine.config import load_config
    from img2vid.engine.model import build_meta
    from img2vid.engine.weights.checkpoint import check

    model = build_meta(load_config(CONFIG), None)
    model.drop_unused()
    started = time.monotonic()
    check(file, read_header(file), model.weights())
    return {"check_seconds": time.monotonic() - started, "file_gb": file.stat().st_size / 1e9}


def load_and_step(file: Path, precision: str) -> dict[str, Any]:
    """Load the checkpoint and run one guided denoiser step of 2 frames at 128 x 128."""
    import torch

    from img2vid.engine import ConditioningSettings, SamplerSettings, load_engine

    started = time.monotonic()
    engine = load_engine(CONFIG, file, precision=precision)
    loaded = time.monotonic() - started
    after_load = own_memory()
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 128, 128, generator=generator) * 2 - 1
    started = time.monotonic()
    cond, uncond = engine.condition(
        image, ConditioningSettings(6, 127, 0.0), cond_noise=torch.zeros_like(image), num_frames=2
    )
    conditioned = time.monotonic() - started
    noise = torch.randn(2, 4, 16, 16, generator=generator)
    started = time.monotonic()
    latents = engine.sample(noise, cond, uncond, SamplerSettings(num_steps=1))
    stepped = time.monotonic() - started
    return {
        "precision": precision,
        "load_seconds": loaded,
        "own_gb_after_load": after_load,
        "condition_seconds": conditioned,
        "step_seconds": stepped,
        "finite": bool(torch.isfinite(latents).all()),
    }


def own_memory() -> float:
    """Return the GB of this process that are not backed by a file (Linux)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("RssAnon")), float("nan"))


def measured(part: Callable[[Path, str], dict[str, Any]], file: Path, precision: str) -> None:
    """Run a part and print its result with time and memory."""
    started = time.monotonic()
    row = part(file, precision)
    row |= {"seconds": time.monotonic() - started, "own_gb": own_memory()}
    row["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}
    print(json.dumps({"part": part.__name__, **rounded}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, default="fp16", help="number format of the file")
    parser.add_argument("--precision", choices=FORMATS, default="fp16", help="number format of the loaded network")
    parser.add_argument("--keep", type=Path, help="keep the checkpoint in this file and reuse it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.keep or Path(folder) / "svd_random.safetensors"
        parts: list[tuple[Any, str]] = [(inspect, ""), (load_and_step, arguments.precision)]
        if not file.is_file():
            parts.insert(0, (make, arguments.format))
        for part, precision in parts:
            process = multiprocessing.get_context("spawn").Process(target=measured, args=(part, file, precision))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
