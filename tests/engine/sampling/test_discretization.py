"""Noise levels, compared with the formulas that define them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from img2vid.engine.sampling.discretization import edm_sigmas, legacy_ddpm_sigmas, make_sigmas
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


def test_discretizations_are_found_by_the_references_names() -> None:
    assert torch.equal(make_sigmas("EDMDiscretization", 4, {"rho": 5.0}), edm_sigmas(4, rho=5.0))
    assert torch.equal(make_sigmas("LegacyDDPMDiscretization", 4, {}), legacy_ddpm_sigmas(4))
