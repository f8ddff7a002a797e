"""Checkpoints with random weights for any configuration, to measure speed and memory without a real model."""

import math
from pathlib import Path

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType] - partially typed
from torch import Tensor

from img2vid.engine.config import load_config
from img2vid.engine.interface import DTYPES
from img2vid.engine.model import build_meta
from img2vid.options import Precision


def write_random_checkpoint(config: Path, path: Path, seed: int, precision: Precision = "fp32") -> Path:
    """Write random weights for all modules that sampling uses, in the format `precision`, and return `path`.

    Weights are scaled to preserve the magnitude of activations. Otherwise these overflow or vanish, and the speed
    differs from that of a trained model. The same seed gives the same values in every format, except for rounding.
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
