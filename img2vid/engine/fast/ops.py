"""Matrix products, convolutions and attention, fused with the operations after them if this machine supports it.

On a CPU, oneDNN fuses a product with a bias, GELU, multiplication or addition. PyTorch exposes this through private
operators of its compiler, which fail for number formats that the processor has no instructions for. They are used if
they pass a trial, else the operations run separately. docs/performance.md lists the gains.
"""

from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.nn import functional as F

from img2vid.engine.fast import trials

ONEDNN = "oneDNN products"
NO_INSTRUCTIONS = ("could not create a primitive", "needs the cpu support")
"""Parts of the messages of oneDNN's errors on a processor without the instructions."""
_onednn: Any = torch.ops.mkldnn  # torch declares no types for operators


def by_onednn(x: Tensor) -> bool:
    """Return whether a product with x can be fused with GELU, a factor or a summand."""
    return x.device.type == "cpu" and trials.usable(ONEDNN, try_onednn, x.device, x.dtype)


def try_onednn(device: torch.device, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Run each private operator on a small input and return pairs of its result and the plain result."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(rows, 32, generator=generator).to(dtype) for rows in (8, 48))
    bias, other = (torch.randn(*shape, generator=generator).to(dtype) for shape in ((48,), (8, 48)))
    product = F.linear(x, weight, bias)
    try:
        return [
            (_onednn._linear_pointwise(x, weight, bias, "none", [], ""), product),
            (_onednn._linear_pointwise(x, weight, bias, "gelu", [], "none"), F.gelu(product)),
            (_onednn._linear_pointwise.binary(x, other, weight, bias, "mul"), product * other),
            (_onednn._linear_pointwise.binary(x, other.clone(), weight, bias, "add"), product + other),
        ]
    except AttributeError as error:
        raise trials.Unsupported("this PyTorch version lacks the operators") from error
    except RuntimeError as error:
        if any(text in str(error) for text in NO_INSTRUCTIONS):
            raise trials.Unsupported("this processor lacks instructions for this number format") from error
        raise


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b: (..., k) -> (..., m) with a weight (m, k)."""
    if by_onednn(x):
        return _onednn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return GELU(x W^T + b); requires `by_onednn`."""
    return _onednn._linear_pointwise(x, weight, bias, "gelu", [], "none")


def linear_times(x: Tensor, weight: Tensor, bias: Tensor, factor: Tensor) -> Tensor:
    """Return (x W^T + b) * factor, with factor (..., m); requires `by_onednn`."""
    return _onednn._linear_pointwise.binary(x, factor, weight, bias, "mul")


def linear_plus(x: Tensor, weight: Tensor, bias: Tensor, summand: Tensor) -> Tensor:
    """Return x W^T + b + summand; `summand` (..., m) may be overwritten."""
    if by_onednn(x):
        return _onednn._linear_pointwise.binary(x, summand, weight, bias, "add")
    return summand.add_(F.linear(x, weight, bias))


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int], stride: int = 1) -> Tensor:
    """Convolve maps (n, h, w, c) with a weight (m, c, a, b) to (n, h', w', m). bias: (m,), or (n, m) for each map."""
    y = F.conv2d(x.permute(0, 3, 1, 2), weight, None if is_per_frame(bias) else bias, stride, padding)
    y = y.permute(0, 2, 3, 1).contiguous()
    return y.add_(bias[:, None, None]) if is_per_frame(bias) else y


def is_per_frame(bias: Tensor | None) -> TypeGuard[Tensor]:
    """Return True if a bias is (n, m), one for each frame, instead of (m,) for all."""
    return bias is not None and bias.ndim == 2


def attention(qkv: Tensor, heads: int) -> Tensor:
    """Return multi-head attention (n, s, c) over s tokens; qkv: (n, s, 3 c), queries, keys and values side by side."""
    n, tokens, width = qkv.shape
    query, key, value = qkv.view(n, tokens, 3, heads, width // (3 * heads)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def channels_last(weight: Tensor) -> Tensor:
    """Return the weight (m, c, a, b) of a convolution in channels-last memory format."""
    return weight.contiguous(memory_format=torch.channels_last)
