"""Single steps of the second-order solvers, compared with manual calculations on unevenly spaced levels."""

import math

import pytest
import torch
from torch import Tensor

from img2vid.engine.sampling.samplers import sample_dpmpp_2m, sample_dpmpp_2s_ancestral, sample_heun_edm


class Estimates:
    """Denoiser that returns given values, one per call, and records the noise levels and states."""

    def __init__(self, *numbers: float) -> None:
        self.numbers, self.levels, self.states = list(numbers), list[float](), list[float]()

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.levels.append(float(sigma))
        self.states.append(float(x))
        return torch.tensor([self.numbers.pop(0)], dtype=torch.float64)


def levels(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def ignore(step: int, denoised: Tensor) -> None:
    pass


def no_draw() -> Tensor:
    raise AssertionError("noise was drawn")


def test_2m_reads_the_line_through_both_estimates_half_a_step_ahead() -> None:
    """In t = -log sigma the steps are log 2 and log 8: half of the second is 1.5 of the first."""
    estimates = Estimates(1.0, 3.0)
    found = sample_dpmpp_2m(estimates, levels(5.0), levels(16, 8, 1), after_step=ignore, draw=no_draw)
    after_first = 1 + (5 - 1) / 2
    assert estimates.states == pytest.approx([5.0, after_first])
    ahead = 3 + 1.5 * (3 - 1)
    assert found.item() == pytest.approx(ahead + (after_first - ahead) / 8)


def test_2s_takes_its_estimate_at_the_geometric_middle() -> None:
    estimates = Estimates(1.0, 3.0)
    found = sample_dpmpp_2s_ancestral(estimates, levels(5.0), levels(16, 1), after_step=ignore, draw=no_draw, eta=0.0)
    assert estimates.levels == pytest.approx([16.0, 4.0])
    assert estimates.states == pytest.approx([5.0, 1 + (5 - 1) * 4 / 16])
    assert found.item() == pytest.approx(3 + (5 - 3) / 16)


def test_2s_goes_down_to_sigma_down_and_draws_the_rest() -> None:
    up = math.sqrt(16 * (400 - 16) / 400)
    down = math.sqrt(16 - up**2)
    estimates = Estimates(1.0, 3.0)
    found = sample_dpmpp_2s_ancestral(
        estimates, levels(5.0), levels(20, 4), after_step=ignore, draw=lambda: levels(2.0), s_noise=0.9
    )
    assert estimates.levels == pytest.approx([20.0, math.sqrt(20 * down)])
    assert found.item() == pytest.approx(3 + (5 - 3) * down / 20 + 0.9 * up * 2)


def test_heun_goes_along_the_mean_of_both_slopes() -> None:
    estimates = Estimates(1.0, 3.0)
    found = sample_heun_edm(estimates, levels(5.0), levels(16, 4), after_step=ignore, draw=no_draw)
    euler = 5 + (4 - 16) * (5 - 1) / 16
    assert estimates.states == pytest.approx([5.0, euler])
    assert found.item() == pytest.approx(5 + (4 - 16) * ((5 - 1) / 16 + (euler - 3) / 4) / 2)
