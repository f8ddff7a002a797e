"""Time and memory of a full-size model with random weights: building, checking, loading, a guided step, a frame.

The file is checked and loaded in processes of their own. Memory of the process in GB at the end of a row: own excludes
pages of the mapped file, peak includes them (the system's count).
"""

import argparse
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
import torch
from safetensors.torch import save_file

from benchmarks.results import Row, timed
from img2vid import paths
from img2vid.engine import SamplerSettings, load_engine
from img2vid.engine.bench.backends import conditioning_settings
from img2vid.engine.bench.memory_probe import make_meter
from img2vid.engine.config import load_config
from img2vid.engine.interface import DTYPES
from img2vid.engine.model import build_meta
from img2vid.engine.weights.stored import find_tensors
from img2vid.options import LoadOptions, Precision

COLUMNS = {"part": "", "seconds": ".3f", "own_gb": ".3f", "peak_gb": ".3f"}
CONFIG = paths.CONFIGS / "svd.yaml"
METER = make_meter("cpu")


def write_svd(path: Path, precision: str, seed: int, config: Path = CONFIG) -> None:
    """Write random weights with a model's names and shapes. Those of the conditioner are equal for every seed."""
    generator = torch.Generator()

    def values(name: str, shape: torch.Size) -> torch.Tensor:
        generator.manual_seed(0 if name.startswith("conditioner.") else seed)
        numbers = torch.empty(shape, dtype=DTYPES[precision])  # type: ignore[index]
        return numbers.random_(-100, 100, generator=generator).mul_(3e-4)

    weights = build_meta(load_config(config), None).weights()
    save_file({name: values(name, tensor.shape) for name, tensor in weights.items()}, path)


def check_header(file: Path, given: argparse.Namespace) -> list[Row]:
    """Build the model on the meta device, and check the header of the file against it."""
    METER.start()
    model, seconds = timed(lambda: build_meta(load_config(given.config), None))
    values = sum(tensor.numel() for tensor in model.weights().values())
    build = row(f"build {len(model.weights())} tensors, {values} values", seconds)
    model.drop_unused()
    _, seconds = timed(lambda: find_tensors(file, model.weights()))
    return [build, row(f"check {file.stat().st_size / 1e9:.2f} GB", seconds)]


def load_and_step(file: Path, given: argparse.Namespace) -> list[Row]:
    """Load the checkpoint, run one guided denoiser step, and decode one frame."""
    precision: Precision = given.precision
    config, frames, size = given.config, given.frames, given.size
    METER.start()
    engine, seconds = timed(lambda: load_engine(config, file, LoadOptions(device="cpu", precision=precision)))
    rows = [row(f"load in {precision}", seconds)]
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, size, size, generator=generator) * 2 - 1
    conditioning, zeros = conditioning_settings(load_config(config), frames), torch.zeros_like(image)
    (cond, uncond), seconds = timed(lambda: engine.condition(image, conditioning, cond_noise=zeros))
    rows.append(row("condition", seconds))
    noise = torch.randn(frames, 4, size // 8, size // 8, generator=generator)
    latents, seconds = timed(lambda: engine.sample(noise, cond, uncond, SamplerSettings(num_steps=1)))
    rows.append({**row("step", seconds), "finite": bool(torch.isfinite(latents).all())})
    frame, seconds = timed(lambda: engine.decode(latents[:1], 1))
    return [*rows, {**row("decode", seconds), "finite": bool(torch.isfinite(frame).all())}]


def row(part: str, seconds: float) -> Row:
    """Return a row with the memory of this process now and its peak since `METER` was started."""
    memory = psutil.Process().memory_info()
    own = (memory.rss - memory.shared) / 1e9
    return {"part": part, "seconds": seconds, "own_gb": own, "peak_gb": (METER.stop() or 0) / 1e9}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=CONFIG, help="configuration of the model (default: svd's)")
    parser.add_argument("--format", choices=tuple(DTYPES), default="fp16", help="number format of the file")
    parser.add_argument("--precision", choices=tuple(DTYPES), default="fp16", help="that of the loaded network")
    parser.add_argument("--frames", type=int, default=2, help="frames of the step (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="their width and height in pixels (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="keep the checkpoint in this file and reuse it")


def measure(given: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        file = given.keep or Path(folder) / "svd_random.safetensors"
        if not file.is_file():
            write_svd(file, given.format, seed=0, config=given.config)
        for part in (check_header, load_and_step):
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                yield from process.submit(part, file, given).result()
