"""Matrix products, convolutions and attention with what follows them, by the fastest way that this machine has.

On a CPU oneDNN adds a bias, a GELU, a product or a sum while a result is still in the registers. torch reaches it
through operators of its compiler; where they are missing, the same is done in steps.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_onednn: Any = torch.ops.mkldnn  # torch declares no types for operators
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(_onednn, "_linear_pointwise")


def by_onednn(x: Tensor) -> bool:
    """Whether a product with x can bring a GELU, a factor or a summand along."""
    return _ONEDNN and x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b: (..., k) -> (..., m) with a weight (m, k)."""
    if by_onednn(x):
        return _onednn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU(x W^T + b), where `by_onednn` holds."""
    return _onednn._linear_pointwise(x, weight, bias, "gelu", [], "none")


def linear_times(x: Tensor, weight: Tensor, bias: Tensor, factor: Tensor) -> Tensor:
    """(x W^T + b) * factor, where `by_onednn` holds; factor: (..., m)."""
    return _onednn._linear_pointwise.binary(x, factor, weight, bias, "mul")


def linear_plus(x: Tensor, weight: Tensor, bias: Tensor, summand: Tensor) -> Tensor:
    """x W^T + b + summand; `summand` (..., m) may be overwritten."""
    if by_onednn(x):
        return _onednn._linear_pointwise.binary(x, summand, weight, bias, "add")
    return summand.add_(F.linear(x, weight, bias))


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int], stride: int = 1) -> Tensor:
    """A convolution of maps (n, h, w, c) with a weight (m, c, a, b); returns (n, h', w', m)."""
    y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, padding)
    return y.permute(0, 2, 3, 1).contiguous()


def attention(qkv: Tensor, heads: int) -> Tensor:
    """Multi-head attention among the s tokens: (n, s, 3 c), queries, keys, values side by side -> (n, s, c)."""
    n, tokens, width = qkv.shape
    query, key, value = qkv.view(n, tokens, 3, heads, width // (3 * heads)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def channels_last(weight: Tensor) -> Tensor:
    """The same weight of a convolution (m, c, a, b), stored as maps are."""
    return weight.contiguous(memory_format=torch.channels_last)
