"""Checkpoints of random numbers for any configuration, where speed and size are looked at and not the video."""

import math
from pathlib import Path

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType] - its path is half typed
from torch import Tensor

from img2vid.engine.config import load_config
from img2vid.engine.interface import DTYPES, Precision
from img2vid.engine.model import build_meta


def write_random_checkpoint(config: Path, path: Path, seed: int, precision: Precision = "fp32") -> Path:
    """What sampling needs, in the format `precision`, scaled so that every layer keeps the size of what passes it.

    Without that, activations grow from layer to layer until they are no numbers, or vanish, and neither costs the
    time that a trained model costs. The same seed gives the same numbers in every format, but for rounding.
    """
    model = build_meta(load_config(config), config.parent)
    model.drop_unused()
    generator = torch.Generator().manual_seed(seed)

    def values(name: str, shape: torch.Size) -> Tensor:
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            return noise / math.sqrt(math.prod(shape[1:]))
        return 0.3 * noise + (1 if name.endswith("weight") else 0)

    dtype = DTYPES[precision]
    save_file({name: values(name, tensor.shape).to(dtype) for name, tensor in model.weights().items()}, path)
    return path
