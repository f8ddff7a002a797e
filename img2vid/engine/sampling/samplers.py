"""The six samplers: from noise at the first sigma to clean latents at the last, which is zero.

Each is a function of a denoiser, a state x at noise level sigmas[0], and the descending noise levels. `after_step` is
called with the number of the finished step and the last denoised estimate. `draw` gives standard normal noise in the
shape of x. Nothing here knows of guidance, devices or progress bars.
"""

from collections.abc import Callable
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
"""Churn may raise the noise level by this factor at most (Karras et al. 2022, algorithm 2)."""


@dataclass(frozen=True)
class Churn:
    """How much noise is added before a step, and at which noise levels (Karras et al. 2022, section 4)."""

    s_churn: float
    s_tmin: float
    s_tmax: float
    s_noise: float

    def gamma(self, sigma: float, num_steps: int) -> float:
        """The relative rise of the noise level."""
        return min(self.s_churn / num_steps, MAX_GAMMA) if self.s_tmin <= sigma <= self.s_tmax else 0.0


def slope(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """dx/dsigma of the probability flow (Karras et al. 2022, equation 3)."""
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
    """Karras et al. 2022, algorithm 2, with or without the second-order correction."""
    num_steps = len(sigmas) - 1
    for i in range(num_steps):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]

        # Raise the noise level a little, where churn is asked for.
        sigma_hat = sigma * (1 + churn.gamma(float(sigma), num_steps))
        if sigma_hat > sigma:
            x = x + churn.s_noise * (sigma_hat**2 - sigma**2).sqrt() * draw()

        # Euler step from sigma_hat to sigma_next.
        denoised = denoise(x, sigma_hat)
        d = slope(x, sigma_hat, denoised)
        x_next = x + (sigma_next - sigma_hat) * d

        # Second-order correction, not at the end where the slope is not defined.
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
    """Euler steps with optional churn; first order, one evaluation a step."""
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
    """Euler steps corrected to second order; two evaluations a step but one in the last."""
    return _edm(denoise, x, sigmas, after_step, draw, Churn(s_churn, s_tmin, s_tmax, s_noise), heun=True)


def ancestral_split(sigma: Tensor, sigma_next: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """Cuts a step to sigma_next into one down to sigma_down and fresh noise of sigma_up on top.

    sigma_down ** 2 + sigma_up ** 2 = sigma_next ** 2; eta 0 adds no noise, 1 as much as DDPM's posterior
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
    """Euler steps down to sigma_down, then fresh noise up to the next level."""
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
    """DPM-Solver++(2S) (Lu et al. 2022, algorithm 1) down to sigma_down, then fresh noise up to the next level.

    With t = -log sigma the exact solution for a constant estimate D over a step h is x e**-h + D (1 - e**-h); the
    estimate is taken at the step's middle in t.
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
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): the estimate is extrapolated from the last two evaluations."""
    previous: Tensor | None = None
    for i in range(len(sigmas) - 1):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        denoised = denoise(x, sigma)
        estimate = denoised
        if previous is not None and sigma_next > 0:
            # Step lengths in t = -log sigma; the line through both estimates, read off half a step ahead.
            h_last, h = (sigmas[i - 1] / sigma).log(), (sigma / sigma_next).log()
            estimate = denoised + (denoised - previous) * h / (2 * h_last)
        x = torch.lerp(estimate, x, sigma_next / sigma)
        previous = denoised
        after_step(i + 1, denoised)
    return x


def sample_linear_multistep(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, after_step: AfterStep, draw: Draw, order: int = 4
) -> Tensor:
    """Adams-Bashforth in sigma: the slope is a polynomial through the last `order` slopes, integrated exactly."""
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


@lru_cache(maxsize=1024)
def adams_weights(nodes: tuple[float, ...], end: float) -> list[float]:
    """Integrals from nodes[0] to `end` of the Lagrange polynomials of the nodes, newest node first.

    The polynomials are integrated in closed form, by Gauss-Legendre quadrature of sufficient degree.
    """
    # n points integrate polynomials up to degree 2 n - 1 exactly; these have degree len(nodes) - 1.
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
}
