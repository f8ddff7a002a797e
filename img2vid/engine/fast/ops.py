"""Matrix products, convolutions and attention with what follows them, by the fastest way that this machine has.

On a CPU oneDNN adds a bias, a GELU, a product or a sum while a result is still in the registers. PyTorch reaches it
through private operators of its compiler, which fail for number formats that the processor has no instructions for. So
they are used where they pass a trial; elsewhere the same is done in steps. docs/performance.md has what they bring.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from img2vid.engine.fast import trials

ONEDNN = "oneDNN products"
NO_INSTRUCTIONS = ("could not create a primitive", "needs the cpu support")
"""Words of the errors that oneDNN's operators raise on such a processor."""
_onednn: Any = torch.ops.mkldnn  # torch declares no types for operators


def by_onednn(x: Tensor) -> bool:
    """Return whether a product with x can bring a GELU, a factor or a summand along."""
    return x.device.type == "cpu" and trials.usable(ONEDNN, try_onednn, x.device, x.dtype)


def try_onednn(device: torch.device, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Run each private operator on a small input; returns pairs of its result and the plain one."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(rows, 32, generator=generator).to(dtype) for rows in (8, 48))
    bias, beside = (torch.randn(*shape, generator=generator).to(dtype) for shape in ((48,), (8, 48)))
    product = F.linear(x, weight, bias)
    try:
        return [
            (_onednn._linear_pointwise(x, weight, bias, "none", [], ""), product),
            (_onednn._linear_pointwise(x, weight, bias, "gelu", [], "none"), F.gelu(product)),
            (_onednn._linear_pointwise.binary(x, beside, weight, bias, "mul"), product * beside),
            (_onednn._linear_pointwise.binary(x, beside.clone(), weight, bias, "add"), product + beside),
        ]
    except AttributeError as error:
        raise trials.Unsupported("this PyTorch has no such operators") from error
    except RuntimeError as error:
        if any(words in str(error) for words in NO_INSTRUCTIONS):
            raise trials.Unsupported("this processor has no instructions for it") from error
        raise


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
