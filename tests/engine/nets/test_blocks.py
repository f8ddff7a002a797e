"""In 16-bit formats, norms and softmax use float32 statistics, without overflow or underflow."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.nets.attention import SpatialBlock
from img2vid.engine.nets.autoencoder import EPS
from img2vid.engine.nets.blocks import group_norm

HALVES = (torch.float16, torch.bfloat16)


def as_in_float32(layer: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output of the module in the format of x and in float32, both as float32."""
    found = layer(x).float()
    module.float()
    return found, layer(x.float())


def spread(*shape: int, mean: float, scale: float) -> Tensor:
    return mean + scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.0, 1e-3), (300.0, 20.0), (0.0, 1e4)])
@pytest.mark.parametrize("frames", [None, 3])
def test_group_norm_takes_its_statistics_in_float32(
    dtype: torch.dtype, mean: float, scale: float, frames: int | None
) -> None:
    """The sum of squares of a group is far above what float16 holds, and its variance below a bfloat16 mean's step."""
    norm = group_norm(64, EPS).to(dtype)
    shape = (2, 64, 16, 16) if frames is None else (2, 64, frames, 16, 16)
    found, expected = as_in_float32(norm, norm, spread(*shape, mean=mean, scale=scale).to(dtype))
    # Only the result is rounded, by at most half a step of the format.
    torch.testing.assert_close(found, expected, rtol=torch.finfo(dtype).eps, atol=1e-5)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.0, 1e-2), (300.0, 20.0), (0.0, 1e4)])
def test_layer_norm_takes_its_statistics_in_float32(dtype: torch.dtype, mean: float, scale: float) -> None:
    norm = nn.LayerNorm(320).to(dtype)
    found, expected = as_in_float32(norm, norm, spread(4, 9, 320, mean=mean, scale=scale).to(dtype))
    torch.testing.assert_close(found, expected, rtol=torch.finfo(dtype).eps, atol=1e-5)


@pytest.mark.parametrize("dtype", HALVES)
def test_the_softmax_of_attention_is_float32(dtype: torch.dtype) -> None:
    """Scores of 90000 are infinite in float16, and with 4096 keys each weight is a few steps of bfloat16 above 0."""
    if dtype == torch.float16 and torch.__version__.startswith("2.4."):
        pytest.skip("PyTorch 2.4 keeps the scores in float16 on a CPU; such a decoder falls back to float32")
    ones = torch.ones(1, 1, 4, 64, dtype=dtype)
    value = torch.arange(4.0).to(dtype).reshape(1, 1, 4, 1).expand(1, 1, 4, 64)
    large = F.scaled_dot_product_attention(100 * ones, 100 * ones, value)
    torch.testing.assert_close(large.float(), torch.full((1, 1, 4, 64), 1.5), rtol=torch.finfo(dtype).eps, atol=0)
    query, key, value = (spread(1, 2, 4096, 64, mean=1.0, scale=0.1).to(dtype) for _ in range(3))
    found = F.scaled_dot_product_attention(query[:, :, :8], key, value).float()
    expected = F.scaled_dot_product_attention(query[:, :, :8].float(), key.float(), value.float())
    torch.testing.assert_close(found, expected, rtol=2 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_block_of_the_network_loses_no_more_than_its_format(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    block = SpatialBlock(64, 32, 2, 32).requires_grad_(False).to(dtype)
    x, context = torch.randn(2, 32, 64).to(dtype), torch.randn(2, 1, 32).to(dtype)
    found, expected = as_in_float32(lambda x: block(x, context.to(x.dtype)), block, x)
    assert ((found - expected).norm() / expected.norm()).item() < 2 * torch.finfo(dtype).eps
