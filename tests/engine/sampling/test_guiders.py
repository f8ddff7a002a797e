"""Guidance scale of each frame."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from img2vid.engine.sampling.guiders import guide, linear_scales, make_scales, triangle_scales
from img2vid.errors import BadInput


def test_guidance_goes_from_uncond_past_cond_frame_by_frame() -> None:
    uncond, cond = torch.randn(2, 4, 3, 2, 2)
    guided = guide(uncond, cond, torch.tensor([0.0, 1.0, 2.0, 2.5]))
    assert torch.equal(guided[0], uncond[0])
    torch.testing.assert_close(guided[1], cond[1])
    torch.testing.assert_close(guided[2], 2 * cond[2] - uncond[2])
    torch.testing.assert_close(guided[3], uncond[3] + 2.5 * (cond[3] - uncond[3]))


def test_vanilla_scales_are_all_the_same() -> None:
    assert make_scales("VanillaCFG", 3, {"scale": 7}) == pytest.approx([7.0, 7.0, 7.0])


def test_no_guidance_has_no_scales() -> None:
    assert make_scales("IdentityGuider", 3, {}) is None
    assert make_scales("VanillaCFG", 3, {"scale": 1.0}) is None
    assert make_scales("LinearPredictionGuider", 3, {"max_scale": 1.0, "min_scale": 1.0}) is None


def test_linear_scales_rise_evenly_from_the_first_frame_to_the_last() -> None:
    scales = make_scales("LinearPredictionGuider", 4, {"max_scale": 2.5, "min_scale": 1.0})
    assert scales == pytest.approx([1.0, 1.5, 2.0, 2.5])
    assert linear_scales(3, max_scale=3.0) == pytest.approx([1.0, 2.0, 3.0])  # min_scale is 1 by default


def test_triangle_peaks_in_the_middle() -> None:
    scales = make_scales("TrianglePredictionGuider", 5, {"max_scale": 3.0, "min_scale": 1.0})
    assert scales == pytest.approx([1.0, 2.0, 3.0, 2.0, 1.0])


def test_triangle_of_half_a_period_has_two_peaks() -> None:
    scales = triangle_scales(9, max_scale=2.0, min_scale=1.0, period=0.5)
    assert scales == pytest.approx([1.0, 1.5, 2.0, 1.5, 1.0, 1.5, 2.0, 1.5, 1.0])


@pytest.mark.parametrize("fusing", ["max", "mean", "multiply"])
def test_triangles_of_several_periods_are_fused(fusing: str) -> None:
    whole = torch.tensor([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0])
    half = torch.tensor([0, 0.5, 1, 0.5, 0, 0.5, 1, 0.5, 0])
    fused = {"max": torch.maximum(whole, half), "mean": (whole + half) / 2, "multiply": whole * half}[fusing]
    scales = triangle_scales(9, max_scale=1.0, min_scale=0.0, period=[1.0, 0.5], period_fusing=fusing)
    torch.testing.assert_close(scales, fused)


@given(st.integers(1, 30), st.floats(0, 5), st.floats(0, 5), st.floats(0.05, 2))
def test_scales_stay_between_min_and_max(num_frames: int, low: float, more: float, period: float) -> None:
    for scales in (
        linear_scales(num_frames, max_scale=low + more, min_scale=low),
        triangle_scales(num_frames, max_scale=low + more, min_scale=low, period=period),
    ):
        assert scales.shape == (num_frames,)
        assert float(scales[0]) == pytest.approx(low, abs=1e-5)
        assert scales.min() >= low - 1e-5
        assert scales.max() <= low + more + 1e-5


@pytest.mark.parametrize("period", [0, -0.5, [], [1.0, 0.0]])
def test_invalid_periods_are_rejected(period: float | list[float]) -> None:
    with pytest.raises(BadInput, match="period must be above 0"):
        triangle_scales(4, max_scale=2.0, period=period)


def test_unknown_fusing_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="period_fusing must be one of max, mean, multiply, got 'sum'"):
        triangle_scales(4, max_scale=2.0, period_fusing="sum")
