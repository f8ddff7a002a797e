"""Weights of one byte per value: float8, and int8 with a scale.

A checkpoint stores them beside a scale, if any; the weight is their product. Until it is used, a packed tensor keeps
its format, and its scale as an attribute.
"""

import torch
from torch import Tensor

PACKED = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I8": torch.int8}
"""Number formats by their names in `.safetensors` files."""
SCALES = ("scale_weight", "weight_scale")
"""Names of a weight's scale in place of `weight`: ComfyUI's, and that of other tools."""
MARKER = "scaled_fp8"
"""Name of a tensor without meaning in ComfyUI's files with scales."""


def is_packed(tensor: Tensor) -> bool:
    """Return True for a tensor of one byte per value."""
    return tensor.dtype in PACKED.values()


def with_scale(tensor: Tensor, scale: Tensor) -> Tensor:
    """Attach the scale, () or (m, 1, ...) in float32, and return the tensor (m, ...)."""
    tensor.packed_scale = scale  # type: ignore[attr-defined]
    return tensor


def scale_of(tensor: Tensor) -> Tensor:
    """Return the scale of a packed tensor."""
    return tensor.packed_scale  # type: ignore[attr-defined]


def shaped(scale: Tensor, ndim: int) -> Tensor:
    """Return a scale of one value as (), of m values as (m, 1, ...) with `ndim` axes; in float32."""
    flat = scale.float().flatten()
    return flat.reshape(()) if len(flat) == 1 else flat.view(-1, *(1,) * (ndim - 1))


def unpack(values: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weight that packed values and their scale stand for."""
    return values.to(torch.float32).mul_(scale).to(dtype)
