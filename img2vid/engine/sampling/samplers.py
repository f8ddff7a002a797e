"""Samplers that turn noise at the first sigma into clean latents at the last, which is zero.

Each is a function of a denoiser, a state x at noise level sigmas[0], and the descending noise levels. `after_step` is
called with the number of the completed step and the last denoised estimate. `draw` returns standard normal noise in
the shape of x. Samplers are independent of guidance, devices and progress display.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from img2vid.engine.sampling.denoiser import Denoise
from img2vid.errors import BadInput

AfterStep = Callable[[int, Tensor], None]
Draw = Callable[[], Tensor]
MAX_GAMMA = 2**0.5 - 1
"""Maximum relative increase of the noise level by churn (Karras et al. 2022, algorithm 2)."""


@dataclass(frozen=True)
class Churn:
    """Noise added before a step, and the range of noise levels for it (Karras et al. 2022, section 4)."""

    s_churn: float
    s_tmin: float
    s_tmax: float
    s_noise: float

    def gamma(self, sigma: float, num_steps: int) -> float:
        """Return the relative increase of the noise level."""
        return min(self.s_churn / num_steps, MAX_GAMMA) if self.s_tmin <= sigma <= self.s_tmax else 0.0


def slope(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """Return dx/dsigma of the probability flow ODE (Karras et al. 2022, equation 3)."""
    return (x - denoised) / sigma


def _edm(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    after_step: AfterStep,
    draw: Draw,
    churn: Churn,
    heun: bool,
) -> Tensor:
    """Run algorithm 2 of Karras et al. 2022, with or without the second-order correction."""
    num_steps = len(sigmas) - 1
    for i in range(num_steps):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]

        # Churn: raise the noise level slightly.
        sigma_hat = sigma * (1 + churn.gamma(float(sigma), num_steps))
        if sigma_hat > sigma:
            x = x + churn.s_noise * (sigma_hat**2 - sigma**2).sqrt() * draw()

        # Euler step from sigma_hat to sigma_next.
        denoised = denoise(x, sigma_hat)
        d = slope(x, sigma_hat, denoised)
        x_next = x + (sigma_next - sigma_hat) * d

        # Second-order correction, except at sigma 0, where the slope is undefined.
        if heun and sigma_next > 0:
            denoised = denoise(x_next, sigma_next)
            x_next = x + (sigma_next - sigma_hat) * (d + slope(x_next, sigma_next, denoised)) / 2

        x = x_next
        after_step(i + 1, denoised)
    return x


def sample_euler_edm(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    after_step: AfterStep,
    draw: Draw,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = float("inf"),
    s_noise: float = 1.0,
) -> Tensor:
    """Sample with Euler steps and optional churn; first order, one evaluation per step."""
    return _edm(denoise, x, sigmas, after_step, draw, Churn(s_churn, s_tmin, s_tmax, s_noise), heun=False)


def sample_heun_edm(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    after_step: AfterStep,
    draw: Draw,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = float("inf"),
    s_noise: float = 1.0,
) -> Tensor:
    """Sample with Heun's method and optional churn; second order, two evaluations per step, one in the last."""
    return _edm(denoise, x, sigmas, after_step, draw, Churn(s_churn, s_tmin, s_tmax, s_noise), heun=True)


def ancestral_split(sigma: Tensor, sigma_next: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """Return (sigma_down, sigma_up): step down to sigma_down, then add noise of sigma_up to reach sigma_next.

    sigma_down ** 2 + sigma_up ** 2 = sigma_next ** 2; eta 0 adds no noise, eta 1 as much as DDPM's posterior
    (Song et al. 2021, "DDIM", equation 16).
    """
    posterior = sigma_next * ((sigma**2 - sigma_next**2) / sigma**2).sqrt()
    sigma_up = torch.minimum(sigma_next, eta * posterior)
    return (sigma_next**2 - sigma_up**2).sqrt(), sigma_up


def sample_euler_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    after_step: AfterStep,
    draw: Draw,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Sample with Euler steps down to sigma_down, each followed by new noise up to the next level."""
    for i in range(len(sigmas) - 1):
        sigma_down, sigma_up = ancestral_split(sigmas[i], sigmas[i + 1], eta)
        denoised = denoise(x, sigmas[i])
        x = x + (sigma_down - sigmas[i]) * slope(x, sigmas[i], denoised)
        if sigma_up > 0:
            x = x + s_noise * sigma_up * draw()
        after_step(i + 1, denoised)
    return x


def sample_dpmpp_2s_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    after_step: AfterStep,
    draw: Draw,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Sample with DPM-Solver++(2S) down to sigma_down, each step followed by new noise up to the next level.

    With t = -log sigma, the exact solution for a constant estimate D over a step h is x e**-h + D (1 - e**-h). The
    estimate is evaluated at the midpoint of the step in t. Source: Lu et al. 2022, algorithm 1.
    """
    for i in range(len(sigmas) - 1):
        sigma = sigmas[i]
        sigma_down, sigma_up = ancestral_split(sigma, sigmas[i + 1], eta)
        denoised = denoise(x, sigma)
        if sigma_down > 0:
            sigma_mid = (sigma * sigma_down).sqrt()
            x_mid = torch.lerp(denoised, x, sigma_mid / sigma)
            denoised = denoise(x_mid, sigma_mid)
        x = torch.lerp(denoised, x, sigma_down / sigma)
        if sigma_up > 0:
            x = x + s_noise * sigma_up * draw()
        after_step(i + 1, denoised)
    return x


def sample_dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor, *, after_step: AfterStep, draw: Draw) -> Tensor:
    """Sample with DPM-Solver++(2M), which extrapolates from the last two estimates (Lu et al. 2022, algorithm 2)."""
    return sample_dpmpp_2m_sde(denoise, x, sigmas, after_step=after_step, draw=draw, eta=0.0)


def sample_dpmpp_2m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    after_step: AfterStep,
    draw: Draw,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Sample with SDE-DPM-Solver++(2M): DPM-Solver++(2M) of the diffusion SDE (Lu et al. 2022, appendix).

    A step of h in t = -log sigma leaves e**-(1 + eta) h of the state and adds noise of sigma_next
    sqrt(1 - e**(-2 eta h)). Without eta, it is DPM-Solver++(2M).
    """
    previous: Tensor | None = None
    for i in range(len(sigmas) - 1):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        denoised = denoise(x, sigma)
        estimate, fading = denoised, (sigma_next / sigma) ** eta
        if previous is not None and sigma_next > 0:
            # Step sizes in t = -log sigma; linear extrapolation through both estimates, half a step ahead.
            h_last, h = (sigmas[i - 1] / sigma).log(), (sigma / sigma_next).log()
            estimate = denoised + (denoised - previous) * h / (2 * h_last)
        x = torch.lerp(estimate, x, fading * sigma_next / sigma)
        if eta > 0 and sigma_next > 0:
            x = x + s_noise * sigma_next * (1 - fading**2).sqrt() * draw()
        previous = denoised
        after_step(i + 1, denoised)
    return x


def sample_uni_pc(denoise: Denoise, x: Tensor, sigmas: Tensor, *, after_step: AfterStep, draw: Draw) -> Tensor:
    """Sample with UniPC of order 2 in data prediction (Zhao et al. 2023, algorithms 1 and 2, B(h) = e**h - 1).

    The estimate at a predicted state first corrects the step that led there, then predicts the next one, so that each
    step needs one evaluation.
    """
    num_steps = len(sigmas) - 1
    start, known = x, list[tuple[Tensor, Tensor]]()  # corrected state before the last step; (sigma, estimate) from then
    for i in range(num_steps):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        denoised = denoise(x, sigma)
        if known:
            x = _exponential_step(start, sigma, [*known, (sigma, denoised)])
        start, known = x, [(sigma, denoised), *known[:1]][: min(2, num_steps - i)]
        x = _exponential_step(x, sigma_next, known) if sigma_next > 0 else denoised
        after_step(i + 1, denoised)
    return x


def _exponential_step(x: Tensor, sigma_next: Tensor, known: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return x at sigma_next from x at the first known sigma, integrating a polynomial through the known estimates."""
    sigma, first = known[0]
    h = float((sigma / sigma_next).log())
    places = [float((sigma / other).log()) / h for other, _ in known[1:]]
    x = torch.lerp(first, x, sigma_next / sigma)
    for weight, (_, estimate) in zip(uni_pc_weights(places, h), known[1:], strict=True):
        x = x + weight * (estimate - first)
    return x


def uni_pc_weights(places: Sequence[float], h: float) -> list[float]:
    """Return the weight of each estimate's difference to the first one in a step of h in t = -log sigma.

    places: t of the estimates, with 0 at the start of the step and 1 at its end. The weights integrate a polynomial
    exactly, except that the slope of a single difference counts half of the step, as in the paper.
    """
    moments = [-math.expm1(-h)]
    if len(places) == 1:
        return [moments[0] / (2 * places[0])]
    for degree in range(1, len(places) + 1):  # integrals of h e**(-h (1 - s)) s**degree from 0 to 1
        moments.append(1 - degree / h * moments[-1])
    powers = np.array([[place**degree for place in places] for degree in range(1, len(places) + 1)])
    return np.linalg.solve(powers, np.array(moments[1:])).tolist() if places else []


def sample_linear_multistep(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, after_step: AfterStep, draw: Draw, order: int = 4
) -> Tensor:
    """Sample with Adams-Bashforth in sigma, integrating a polynomial through the last `order` slopes exactly."""
    if order < 1:
        raise BadInput(f"order must be at least 1, got {order}")
    levels = [float(sigma) for sigma in sigmas]
    slopes: list[Tensor] = []
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i])
        slopes = [slope(x, sigmas[i], denoised), *slopes[: order - 1]]
        weights = adams_weights(tuple(levels[i - j] for j in range(len(slopes))), levels[i + 1])
        for weight, d in zip(weights, slopes, strict=True):
            x = x + weight * d
        after_step(i + 1, denoised)
    return x


def sample_consistency(denoise: Denoise, x: Tensor, sigmas: Tensor, *, after_step: AfterStep, draw: Draw) -> Tensor:
    """Sample a consistency model: estimate the clean latents, then add new noise of the next level.

    Source: Song et al. 2023, "Consistency Models", algorithm 1, with noise of sigma instead of
    sqrt(sigma ** 2 - sigma_min ** 2), as AnimateLCM was distilled.
    """
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i])
        x = denoised + sigmas[i + 1] * draw() if sigmas[i + 1] > 0 else denoised
        after_step(i + 1, denoised)
    return x


@lru_cache(maxsize=1024)
def adams_weights(nodes: tuple[float, ...], end: float) -> list[float]:
    """Return the integrals from nodes[0] to `end` of the nodes' Lagrange polynomials, newest node first.

    Gauss-Legendre quadrature of sufficient degree integrates them exactly.
    """
    # n points are exact up to degree 2 n - 1; these polynomials have degree len(nodes) - 1.
    points, quadrature = np.polynomial.legendre.leggauss(len(nodes) // 2 + 1)
    half, middle = (end - nodes[0]) / 2, (end + nodes[0]) / 2
    weights: list[float] = []
    for j, node in enumerate(nodes):
        others = [other for k, other in enumerate(nodes) if k != j]
        total = 0.0
        for point, weight in zip(points.tolist(), quadrature.tolist(), strict=True):
            value = 1.0
            for other in others:
                value *= (middle + half * point - other) / (node - other)
            total += weight * value
        weights.append(half * total)
    return weights


SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "EulerEDMSampler": sample_euler_edm,
    "HeunEDMSampler": sample_heun_edm,
    "EulerAncestralSampler": sample_euler_ancestral,
    "DPMPP2SAncestralSampler": sample_dpmpp_2s_ancestral,
    "DPMPP2MSampler": sample_dpmpp_2m,
    "LinearMultistepSampler": sample_linear_multistep,
    "DPMPP2MSDESampler": sample_dpmpp_2m_sde,
    "UniPCSampler": sample_uni_pc,
    "ConsistencySampler": sample_consistency,
}
