"""Checkpoints of random numbers for any configuration."""

import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from img2vid.engine.config import load_config
from img2vid.engine.model import build_meta


def write_random_checkpoint(config: Path, path: Path, seed: int) -> Path:
    """What sampling needs, in float32, scaled so that every layer keeps the size of what passes through it."""
    model = build_meta(load_config(config), config.parent)
    model.forget_unused()
    generator = torch.Generator().manual_seed(seed)

    def values(name: str, shape: torch.Size) -> Tensor:
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            return noise / math.sqrt(math.prod(shape[1:]))
        return 0.3 * noise + (1 if name.endswith("weight") else 0)

    save_file({name: values(name, tensor.shape) for name, tensor in model.weights().items()}, path)
    return path
