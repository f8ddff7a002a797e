"""Upsampling convolution, moments of tiles and spans of the tile plan, compared with the plain implementation."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from img2vid.engine.fast.convolutions import UpsampleConv
from img2vid.engine.fast.norms import Moments, Norm
from img2vid.engine.fast.tile_plan import TilePlan

SIZES = st.integers(1, 9)


@given(SIZES, SIZES, SIZES)
@settings(deadline=None)
@torch.inference_mode()
def test_upsampling_convolution_matches_interpolation_and_convolution(n: int, height: int, width: int) -> None:
    conv, x = nn.Conv2d(5, 7, 3, padding=1), torch.randn(n, 5, height, width)
    expected = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    found = UpsampleConv(conv)(x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.sampled_from([0.0, 2.0, -5.0]))
@settings(deadline=None)
@torch.inference_mode()
def test_moments_of_tiles_combine_to_those_of_the_whole(rows: list[int], mean: float) -> None:
    norm = nn.GroupNorm(32, 64)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = mean + torch.randn(2, sum(rows), 5, 64)
    moments = [Moments.of(tile.contiguous()) for tile in x.split(rows, dim=1)]
    scale, shift = Norm(norm, TilePlan(1)).coefficients(Moments.joined(moments))
    expected = norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(x * scale[:, None, None] + shift[:, None, None], expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_constant_tile_has_no_variance() -> None:
    moments = Moments.of(torch.full((1, 3, 3, 32), 2.5))
    assert (moments.mean == 2.5).all()
    assert (moments.variance < 1e-6).all()


@given(st.integers(1, 500), st.integers(1, 10_000), st.integers(1, 10**6))
def test_spans_are_contiguous_and_fit(total: int, bytes_each: int, budget: int) -> None:
    spans = list(TilePlan(budget).spans(total, bytes_each))
    assert [index for span in spans for index in range(span.start, span.stop)] == list(range(total))
    sizes = [span.stop - span.start for span in spans]
    assert max(sizes) * bytes_each <= max(budget, bytes_each)
    assert max(sizes) - min(sizes) <= 1


def test_a_gpu_uses_larger_tiles_than_a_cpu() -> None:
    small, large = (TilePlan.for_device(torch.device(name)).bytes for name in ("cpu", "cuda"))
    assert small < large
