"""Samplers, compared with closed-form solutions.

For data N(0, S ** 2) the ideal denoiser is x S ** 2 / (S ** 2 + sigma ** 2) and the probability flow is
x(sigma) = z sqrt(sigma ** 2 + S ** 2). Every sampler must converge to S z with the number of steps.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from img2vid.engine.sampling.discretization import edm_sigmas
from img2vid.engine.sampling.samplers import MAX_GAMMA, SAMPLERS, Churn, adams_weights, ancestral_split, uni_pc_weights
from img2vid.errors import BadInput

S = 0.5
DETERMINISTIC = ["EulerEDMSampler", "HeunEDMSampler", "DPMPP2MSampler", "LinearMultistepSampler", "UniPCSampler"]
ANCESTRAL = ["EulerAncestralSampler", "DPMPP2SAncestralSampler", "DPMPP2MSDESampler"]
SIGMAS = edm_sigmas(6, sigma_max=80.0).double()
LEVELS = st.floats(1e-3, 1e3)


def ideal(x: Tensor, sigma: Tensor) -> Tensor:
    return x * S**2 / (S**2 + sigma**2)


def no_draw() -> Tensor:
    raise AssertionError("noise was drawn")


def run(
    sampler: str,
    sigmas: Tensor = SIGMAS,
    *,
    denoise: Callable[[Tensor, Tensor], Tensor] = ideal,
    x: Tensor | None = None,
    draw: Callable[[], Tensor] = no_draw,
    after_step: Callable[[int, Tensor], None] = lambda step, denoised: None,
    **params: Any,
) -> Tensor:
    start = torch.ones(1, dtype=torch.float64) * (sigmas[0] ** 2 + S**2).sqrt() if x is None else x
    return SAMPLERS[sampler](denoise, start, sigmas, after_step=after_step, draw=draw, **params)


class Drawer:
    """Source of standard normal noise that counts its calls."""

    def __init__(self, shape: tuple[int, ...] = (1,)) -> None:
        self.shape, self.count = shape, 0
        self.generator = torch.Generator().manual_seed(3)

    def __call__(self) -> Tensor:
        self.count += 1
        return torch.randn(self.shape, generator=self.generator, dtype=torch.float64)


# Accuracy


def error_after(sampler: str, num_steps: int, **params: Any) -> float:
    """Return the error before the step to zero, which is of first order in all samplers."""
    sigmas = edm_sigmas(num_steps + 1, sigma_max=80.0).double()[:-1]
    exact = math.sqrt(float(sigmas[-1]) ** 2 + S**2)
    return abs(run(sampler, sigmas, **params).item() - exact)


@pytest.mark.parametrize(
    ("sampler", "params", "order"),
    [
        ("EulerEDMSampler", {}, 1),
        ("HeunEDMSampler", {}, 2),
        ("EulerAncestralSampler", {"eta": 0.0}, 1),
        ("DPMPP2SAncestralSampler", {"eta": 0.0}, 2),
        ("DPMPP2MSampler", {}, 2),
        ("LinearMultistepSampler", {"order": 1}, 1),
        ("LinearMultistepSampler", {"order": 2}, 2),
        ("LinearMultistepSampler", {"order": 3}, 3),
        ("LinearMultistepSampler", {"order": 4}, 4),
        ("DPMPP2MSDESampler", {"eta": 0.0}, 2),
        ("UniPCSampler", {}, 3),
    ],
)
def test_order_of_convergence(sampler: str, params: dict[str, Any], order: int) -> None:
    errors = [error_after(sampler, steps, **params) for steps in (80, 160, 320)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("sampler", [*DETERMINISTIC, *ANCESTRAL])
def test_results_have_the_datas_scale(sampler: str) -> None:
    params: dict[str, Any] = {"eta": 0.0} if sampler in ANCESTRAL else {}
    assert run(sampler, edm_sigmas(200).double(), **params).item() == pytest.approx(S, rel=0.02)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_estimate_that_never_changes_is_reached(sampler: str) -> None:
    target = torch.tensor([2.0, -1.0, 0.25], dtype=torch.float64)
    found = run(sampler, denoise=lambda x, sigma: target, x=80 * torch.ones_like(target), draw=Drawer((3,)))
    torch.testing.assert_close(found, target)


def unit(index: int, size: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(index), size).double()


@pytest.mark.parametrize(
    ("sampler", "params"),
    [
        *((name, {}) for name in ANCESTRAL),
        ("EulerEDMSampler", {"s_churn": 20.0}),
        ("HeunEDMSampler", {"s_churn": 20.0}),
    ],
)
def test_added_noise_keeps_the_datas_variance(sampler: str, params: dict[str, Any]) -> None:
    """All steps are linear: with each draw along its own axis, the norm of the result is its standard deviation."""
    steps = 200
    sigmas = edm_sigmas(steps).double()
    draws = iter(range(1, steps + 1))
    start = unit(0, steps + 1) * (sigmas[0] ** 2 + S**2).sqrt()
    end = run(sampler, sigmas, x=start, draw=lambda: unit(next(draws), steps + 1), **params)
    assert end.norm().item() == pytest.approx(S, rel=0.05)


def test_multistep_of_order_1_and_ancestral_without_noise_are_euler() -> None:
    euler = run("EulerEDMSampler")
    torch.testing.assert_close(run("LinearMultistepSampler", order=1), euler)
    torch.testing.assert_close(run("EulerAncestralSampler", eta=0.0), euler)


def test_the_sde_solver_without_noise_is_dpmpp_2m() -> None:
    torch.testing.assert_close(run("DPMPP2MSDESampler", eta=0.0), run("DPMPP2MSampler"))


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_sde_steps_follow_the_exact_solution_of_a_linear_estimate(eta: float) -> None:
    """The mean obeys x' = k (D - x) with k = 1 + eta, so x = D - D' / k + c e**(-k t) if D is linear in t."""

    def mean_error(num_steps: int) -> float:
        t = torch.linspace(-2, 1, num_steps + 1, dtype=torch.float64)
        end = run(
            "DPMPP2MSDESampler",
            (-t).exp(),
            denoise=lambda x, sigma: 1 - sigma.log().reshape(1),
            x=torch.tensor([3.0], dtype=torch.float64),
            draw=lambda: torch.zeros(1, dtype=torch.float64),
            eta=eta,
        )
        k = 1 + eta
        particular = [1 + float(at) - 1 / k for at in (t[0], t[-1])]
        exact = particular[1] + (3.0 - particular[0]) * math.exp(-k * 3)
        return abs(end.item() - exact)

    coarse, fine = mean_error(40), mean_error(80)
    assert math.log2(coarse / fine) == pytest.approx(2, abs=0.3)


def test_uni_pc_is_exact_for_an_estimate_linear_in_t() -> None:
    """With x' = D - x and D = a + b t, x = D - b + c e**-t; the corrector integrates it exactly, the predictor not."""
    t = torch.linspace(-2, 1, 7, dtype=torch.float64)
    states: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        states.append(float(x))
        return 1 - 2 * sigma.log().reshape(1)

    start = torch.tensor([3.0], dtype=torch.float64)
    end = run("UniPCSampler", torch.cat([(-t).exp(), torch.zeros(1)]), denoise=denoise, x=start)
    assert end.item() == pytest.approx(1 + 2 * 1)  # the step to zero returns the estimate

    # The last predicted state starts from a corrected one, whose only error is that of the first, single-slope step.
    def exact(at: float, since: float, x: float) -> float:
        return 1 + 2 * at - 2 + (x - (1 + 2 * since - 2)) * math.exp(-(at - since))

    h = 0.5
    decay = math.exp(-h)
    single = 3.0 * decay + (1 - 4) * (1 - decay) + (1 - decay) / 2 * 2 * h  # half of the slope's step
    corrected = exact(0.5, -1.5, single)
    predicted = corrected * decay + (1 + 2 * 0.5) * (1 - decay) + (1 - decay) / 2 * 2 * h
    assert states[-1] == pytest.approx(predicted)


@given(st.floats(0.01, 5), st.floats(-3, -0.1))
def test_uni_pc_weights_integrate_parabolas_exactly(h: float, older: float) -> None:
    weights = uni_pc_weights([older, 1.0], h)
    points, quadrature = np.polynomial.legendre.leggauss(20)
    s = (points + 1) / 2
    for degree in (1, 2):
        integral = float((quadrature / 2 * h * np.exp(-h * (1 - s)) * s**degree).sum())
        found = sum(weight * place**degree for weight, place in zip(weights, (older, 1.0), strict=True))
        assert found == pytest.approx(integral, rel=1e-6)


def test_order_below_1_is_refused() -> None:
    with pytest.raises(BadInput, match="order must be at least 1, got 0"):
        run("LinearMultistepSampler", order=0)


# Adams weights


@given(LEVELS, LEVELS, LEVELS)
def test_adams_weights_of_orders_1_and_2(newest: float, older: float, end: float) -> None:
    assert adams_weights((newest,), end) == pytest.approx([end - newest])
    last = newest - older
    if abs(last) > 1e-3:
        h = end - newest
        expected = [h + h**2 / (2 * last), -(h**2) / (2 * last)]
        assert adams_weights((newest, older), end) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=5, unique=True), st.integers(-20, 20))
def test_adams_weights_integrate_polynomials_exactly(nodes: list[int], end: int) -> None:
    weights = adams_weights(tuple(float(node) for node in nodes), float(end))
    for degree in range(len(nodes)):
        found = sum(weight * node**degree for weight, node in zip(weights, nodes, strict=True))
        exact = (end ** (degree + 1) - nodes[0] ** (degree + 1)) / (degree + 1)
        scale = 1 + sum(abs(weight) * abs(node) ** degree for weight, node in zip(weights, nodes, strict=True))
        assert abs(found - exact) <= 1e-9 * scale


# Added noise


@given(LEVELS, st.floats(0, 1), st.floats(0, 1))
def test_ancestral_split_keeps_the_noise_level(sigma: float, part: float, eta: float) -> None:
    before, after = torch.tensor([sigma, sigma * part], dtype=torch.float64)
    down, up = ancestral_split(before, after, eta)
    assert (down**2 + up**2).item() == pytest.approx(float(after) ** 2)
    assert 0 <= float(up) <= float(after)
    if eta == 0:
        assert float(up) == 0


@given(LEVELS, st.floats(0.01, 0.99))
def test_ancestral_split_of_eta_1_is_the_posterior(sigma: float, part: float) -> None:
    """x0 and the noise between the levels are independent Gaussians; conditioning on both ends gives this variance."""
    before, after = torch.tensor([sigma, sigma * part], dtype=torch.float64)
    _, up = ancestral_split(before, after, 1.0)
    assert (up**2).item() == pytest.approx(float(after**2 * (before**2 - after**2) / before**2))


@given(st.floats(0, 100), st.integers(1, 100), LEVELS, LEVELS, LEVELS)
def test_churn_acts_inside_its_window_and_is_limited(
    s_churn: float, num_steps: int, s_tmin: float, s_tmax: float, sigma: float
) -> None:
    gamma = Churn(s_churn, s_tmin, s_tmax, 1.0).gamma(sigma, num_steps)
    assert gamma == (min(s_churn / num_steps, MAX_GAMMA) if s_tmin <= sigma <= s_tmax else 0)
    assert gamma <= math.sqrt(2) - 1


@pytest.mark.parametrize("sampler", ["EulerEDMSampler", "HeunEDMSampler"])
def test_churn_draws_once_for_each_step_of_its_window(sampler: str) -> None:
    levels = SIGMAS.tolist()
    everywhere, inside, nowhere = Drawer(), Drawer(), Drawer()
    run(sampler, draw=everywhere, s_churn=1.0)
    run(sampler, draw=inside, s_churn=1.0, s_tmin=levels[3], s_tmax=levels[1])  # both ends are included
    run(sampler, draw=nowhere, s_churn=1.0, s_tmin=100.0)
    assert (everywhere.count, inside.count, nowhere.count) == (6, 3, 0)


def test_churn_raises_the_noise_level_of_the_denoiser() -> None:
    levels: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        levels.append(float(sigma))
        return ideal(x, sigma)

    run("EulerEDMSampler", denoise=denoise, draw=Drawer(), s_churn=0.6)
    assert levels == pytest.approx([1.1 * level for level in SIGMAS.tolist()[:-1]])


def test_churn_noise_has_the_missing_variance() -> None:
    start, noise, s_noise = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64), 1.003
    seen: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(float(x))
        return ideal(x, sigma)

    run("EulerEDMSampler", SIGMAS[-2:], denoise=denoise, x=start, draw=lambda: noise, s_churn=0.1, s_noise=s_noise)
    assert seen[0] == pytest.approx(s_noise * float(SIGMAS[-2]) * math.sqrt(1.1**2 - 1))


def test_consistency_steps_renew_all_noise() -> None:
    """For a point of data, the estimate is exact: each state is the point with noise of the next level."""
    states: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        states.append(float(x))
        return torch.full_like(x, 3.0)

    noise = torch.ones(1, dtype=torch.float64)
    end = run("ConsistencySampler", denoise=denoise, x=100 * noise, draw=lambda: noise)
    assert states == pytest.approx([100.0, *(3 + level for level in SIGMAS.tolist()[1:-1])])
    assert end.item() == 3.0


@pytest.mark.parametrize("sampler", [*ANCESTRAL, "ConsistencySampler"])
def test_samplers_with_new_noise_draw_once_a_step_but_not_in_the_last(sampler: str) -> None:
    drawer = Drawer()
    run(sampler, draw=drawer)
    assert drawer.count == 5


# Common properties


@pytest.mark.parametrize(
    ("sampler", "calls"),
    [
        ("EulerEDMSampler", 6),
        ("HeunEDMSampler", 11),
        ("EulerAncestralSampler", 6),
        ("DPMPP2SAncestralSampler", 11),
        ("DPMPP2MSampler", 6),
        ("LinearMultistepSampler", 6),
        ("DPMPP2MSDESampler", 6),
        ("UniPCSampler", 6),
        ("ConsistencySampler", 6),
    ],
)
def test_evaluations_are_not_wasted(sampler: str, calls: int) -> None:
    levels: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        levels.append(float(sigma))
        return ideal(x, sigma)

    run(sampler, denoise=denoise, draw=Drawer())
    assert len(levels) == calls
    assert min(levels) > 0


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_after_step_is_called_for_every_step_in_order(sampler: str) -> None:
    events: list[tuple[int, float]] = []
    end = run(sampler, draw=Drawer(), after_step=lambda step, denoised: events.append((step, float(denoised))))
    assert [step for step, _ in events] == [1, 2, 3, 4, 5, 6]
    assert events[-1][1] == pytest.approx(end.item(), rel=1e-4)  # the step to zero returns its estimate


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_exception_from_after_step_stops_at_once(sampler: str) -> None:
    calls: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(float(sigma))
        return ideal(x, sigma)

    def stop(step: int, denoised: Tensor) -> None:
        if step == 2:
            calls.clear()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(sampler, denoise=denoise, draw=Drawer(), after_step=stop)
    assert calls == []


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(SAMPLERS)), st.integers(1, 8))
def test_inputs_are_not_written_to(sampler: str, num_steps: int) -> None:
    x, sigmas = torch.randn(2, 3, dtype=torch.float64), edm_sigmas(num_steps).double()
    x_before, sigmas_before = x.clone(), sigmas.clone()
    run(sampler, sigmas, x=x, draw=Drawer((2, 3)))
    assert torch.equal(x, x_before)
    assert torch.equal(sigmas, sigmas_before)
