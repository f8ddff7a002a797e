"""Noise levels, compared with the formulas that define them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from img2vid.engine.sampling.discretization import (
    align_your_steps_sigmas,
    consistency_sigmas,
    edm_sigmas,
    legacy_ddpm_sigmas,
    listed_sigmas,
    make_sigmas,
)
from img2vid.errors import BadInput


@given(st.integers(1, 200), st.floats(0.002, 1.0), st.floats(1.1, 1000.0), st.floats(1.0, 10.0))
def test_edm_levels_fall_from_sigma_max_to_sigma_min_and_zero(
    num_steps: int, sigma_min: float, sigma_max: float, rho: float
) -> None:
    sigmas = edm_sigmas(num_steps, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
    assert sigmas.shape == (num_steps + 1,)
    assert sigmas.dtype == torch.float32
    assert sigmas[-1] == 0
    assert float(sigmas[0]) == pytest.approx(sigma_max, rel=1e-4)
    assert (sigmas.diff() < 0).all()
    if num_steps > 1:
        assert float(sigmas[-2]) == pytest.approx(sigma_min, rel=0.01, abs=2e-7 * sigma_max)


def test_edm_levels_are_evenly_spaced_in_the_root() -> None:
    roots = edm_sigmas(9, sigma_min=0.01, sigma_max=50.0, rho=4.0)[:-1].double() ** 0.25
    np.testing.assert_allclose(roots.diff(), (0.01**0.25 - 50.0**0.25) / 8, rtol=1e-4)


def test_edm_defaults_are_the_papers() -> None:
    sigmas = edm_sigmas(18)
    assert (float(sigmas[0]), float(sigmas[-2])) == pytest.approx((80.0, 0.002), rel=1e-4)
    assert float(sigmas[1]) == pytest.approx((80 ** (1 / 7) + (0.002 ** (1 / 7) - 80 ** (1 / 7)) / 17) ** 7, rel=1e-4)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"sigma_min": 0.0}, "sigma_min must be above 0"),
        ({"sigma_min": -1.0}, "sigma_min must be above 0"),
        ({"sigma_min": 81.0}, "at most sigma_max, got 81.0 and 80.0"),
        ({"sigma_max": float("nan")}, "got 0.002 and nan"),
        ({"rho": 0.0}, "rho must be above 0, got 0.0"),
    ],
)
def test_impossible_edm_levels_are_refused(params: dict[str, float], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        edm_sigmas(5, **params)


def ddpm_levels(start: float = 0.00085, end: float = 0.012, count: int = 1000) -> np.ndarray:
    alphas = np.cumprod(1 - np.linspace(start**0.5, end**0.5, count) ** 2)
    return np.sqrt((1 - alphas) / alphas)


def test_ddpm_levels_of_all_steps_are_the_training_levels() -> None:
    sigmas = legacy_ddpm_sigmas(1000)
    np.testing.assert_allclose(sigmas[:-1], ddpm_levels()[::-1], rtol=1e-5)
    assert sigmas[-1] == 0
    assert float(sigmas[0]) == pytest.approx(14.6146, rel=1e-4)  # published values of Stable Diffusion 1


def test_ddpm_levels_are_the_training_levels_in_equal_strides() -> None:
    """Strides are truncated to whole timesteps, as numpy does, for every number of steps."""
    levels = ddpm_levels()
    for num_steps in range(1, 1000):
        timesteps = np.linspace(999, 0, num_steps, endpoint=False).astype(int)
        sigmas = legacy_ddpm_sigmas(num_steps)
        np.testing.assert_allclose(sigmas[:-1], levels[timesteps], rtol=1e-5, err_msg=f"{num_steps} steps")
        assert sigmas.shape == (num_steps + 1,)
        assert sigmas[-1] == 0


def test_ddpm_parameters_are_used() -> None:
    sigmas = legacy_ddpm_sigmas(50, linear_start=0.001, linear_end=0.02, num_timesteps=50)
    np.testing.assert_allclose(sigmas[:-1], ddpm_levels(0.001, 0.02, 50)[::-1], rtol=1e-5)


def test_more_steps_than_there_are_levels_are_refused() -> None:
    with pytest.raises(BadInput, match="has 1000 noise levels, got 1001 steps; choose fewer steps"):
        legacy_ddpm_sigmas(1001)


PUBLISHED = [700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.0]
"""Align Your Steps for Stable Video Diffusion, 10 steps."""


def test_aligned_levels_of_10_steps_are_the_published_ones() -> None:
    np.testing.assert_allclose(align_your_steps_sigmas(10), PUBLISHED, rtol=1e-6)


def test_aligned_levels_of_other_counts_are_log_linear_between_the_published_ones() -> None:
    np.testing.assert_allclose(align_your_steps_sigmas(20)[::2], PUBLISHED, rtol=1e-6)
    between = np.sqrt(np.multiply(PUBLISHED[:-2], PUBLISHED[1:-1]))
    np.testing.assert_allclose(align_your_steps_sigmas(20)[1:-2:2], between, rtol=1e-6)
    np.testing.assert_allclose(align_your_steps_sigmas(5), [*PUBLISHED[:-1:2], 0.0], rtol=1e-6)


@given(st.integers(1, 300))
def test_aligned_levels_fall_from_700_to_zero(num_steps: int) -> None:
    sigmas = align_your_steps_sigmas(num_steps)
    assert sigmas.shape == (num_steps + 1,)
    assert (float(sigmas[0]), float(sigmas[-1])) == (700.0, 0.0)
    assert (sigmas.diff() < 0).all()


@given(st.integers(1, 40))
def test_consistency_levels_are_every_nth_of_40(num_steps: int) -> None:
    levels = edm_sigmas(40, sigma_max=700.0)
    expected = [float(levels[k * (40 // num_steps)]) for k in range(num_steps)]
    assert consistency_sigmas(num_steps).tolist() == [*expected, 0.0]


def test_consistency_levels_of_4_steps() -> None:
    root_max, root_min = 700 ** (1 / 7), 0.002 ** (1 / 7)
    expected = [(root_max + k / 39 * (root_min - root_max)) ** 7 for k in (0, 10, 20, 30)]
    np.testing.assert_allclose(consistency_sigmas(4)[:-1], expected, rtol=1e-5)


def test_more_steps_than_a_consistency_model_knows_are_refused() -> None:
    with pytest.raises(BadInput, match="has 40 noise levels, got 41 steps; choose fewer, such as 4"):
        consistency_sigmas(41)


def test_discretizations_are_found_by_the_references_names() -> None:
    assert torch.equal(make_sigmas("EDMDiscretization", 4, {"rho": 5.0}), edm_sigmas(4, rho=5.0))
    assert torch.equal(make_sigmas("LegacyDDPMDiscretization", 4, {}), legacy_ddpm_sigmas(4))


def test_listed_levels_are_followed_by_zero_and_interpolated_for_other_counts() -> None:
    assert listed_sigmas(3, sigmas="700 5.5 0.25").tolist() == [700.0, 5.5, 0.25, 0.0]
    assert listed_sigmas(3, sigmas="100 0.01").tolist() == pytest.approx([100.0, 1.0, 0.01, 0.0])
    assert listed_sigmas(1, sigmas="100 0.01").tolist() == [100.0, 0.0]
    published = " ".join(map(str, PUBLISHED[:-1]))
    assert torch.equal(listed_sigmas(10, sigmas=published), align_your_steps_sigmas(10))


@pytest.mark.parametrize("sigmas", ["", "700", "700 5 5", "1 2 3", "3 2 0", "3 2 -1"])
def test_impossible_lists_are_refused(sigmas: str) -> None:
    with pytest.raises(
        BadInput, match=f"^sigmas must be at least two falling numbers above 0, got {sigmas or 'none'}$"
    ):
        listed_sigmas(3, sigmas=sigmas)
