"""Noise schedules: `num_steps` descending noise levels followed by zero."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from img2vid.errors import BadInput

ALIGNED = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)
"""Published levels for 10 steps. The last is the end of the 10th step, where sampling continues to zero."""


def edm_sigmas(num_steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """Return noise levels evenly spaced in sigma ** (1 / rho), as (num_steps + 1,) in float32.

    Source: Karras et al. 2022, equation 5.
    """
    if not 0 < sigma_min <= sigma_max:
        raise BadInput(f"sigma_min must be above 0 and at most sigma_max, got {sigma_min} and {sigma_max}")
    if not rho > 0:
        raise BadInput(f"rho must be above 0, got {rho}; 7 is usual")
    ramp = torch.linspace(0, 1, num_steps)
    start, end = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return _with_zero((start + ramp * (end - start)) ** rho)


def legacy_ddpm_sigmas(
    num_steps: int, *, linear_start: float = 0.00085, linear_end: float = 0.012, num_timesteps: int = 1000
) -> Tensor:
    """Return noise levels of Stable Diffusion's DDPM training at roughly equally spaced timesteps.

    The square roots of the betas increase linearly; sigma ** 2 = (1 - a) / a, where a is the cumulative product of
    (1 - beta) (Ho et al. 2020, section 2; Song et al. 2021). The result is (num_steps + 1,) in float32.
    """
    if num_steps > num_timesteps:
        raise BadInput(
            f"LegacyDDPMDiscretization has {num_timesteps} noise levels, got {num_steps} steps; choose fewer steps"
        )
    roots = torch.linspace(linear_start**0.5, linear_end**0.5, num_timesteps, dtype=torch.float64)
    alphas = torch.cumprod(1 - roots**2, dim=0)
    # Equal strides down from the last timestep, truncated to integers; the first timestep is never reached. Truncation
    # depends on rounding errors, so the order of operations must match the reference.
    last = num_timesteps - 1
    timesteps = (last + torch.arange(num_steps, dtype=torch.float64) * (-last / num_steps)).long()
    if num_steps == num_timesteps:
        timesteps = torch.arange(num_timesteps - 1, -1, -1)
    levels = alphas[timesteps]
    return _with_zero(((1 - levels) / levels).float().sqrt())


def align_your_steps_sigmas(num_steps: int) -> Tensor:
    """Return the noise levels optimized for Stable Video Diffusion, as (num_steps + 1,) in float32.

    They were published for 10 steps; other counts interpolate their logarithms. Source: Sabour et al. 2024, "Align Your
    Steps".
    """
    position = np.linspace(0, len(ALIGNED) - 1, num_steps + 1)[:-1]
    levels = np.exp(np.interp(position, np.arange(len(ALIGNED)), np.log(ALIGNED)))
    return _with_zero(torch.tensor(levels, dtype=torch.float32))


def consistency_sigmas(
    num_steps: int, *, sigma_min: float = 0.002, sigma_max: float = 700.0, rho: float = 7.0, num_timesteps: int = 40
) -> Tensor:
    """Return every n-th of the EDM levels that a consistency model was distilled at, as (num_steps + 1,) in float32.

    AnimateLCM was distilled at 40 levels (Wang et al. 2024). The stride is num_timesteps // num_steps, starting at
    sigma_max.
    """
    if num_steps > num_timesteps:
        raise BadInput(
            f"ConsistencyDiscretization has {num_timesteps} noise levels, got {num_steps} steps; "
            "choose fewer, such as 4"
        )
    levels = edm_sigmas(num_timesteps, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
    return _with_zero(levels[: num_steps * (num_timesteps // num_steps) : num_timesteps // num_steps])


def listed_sigmas(num_steps: int, *, sigmas: str) -> Tensor:
    """Return noise levels given as text, as (num_steps + 1,) in float32.

    For a number of steps other than that of the levels, their logarithms are interpolated between the ends.
    """
    levels = np.array([float(level) for level in sigmas.split()])
    if len(levels) < 2 or not (levels > 0).all() or not (np.diff(levels) < 0).all():
        raise BadInput(f"sigmas must be at least two falling numbers above 0, got {sigmas or 'none'}")
    if num_steps != len(levels):
        position = np.linspace(0, len(levels) - 1, num_steps)
        levels = np.exp(np.interp(position, np.arange(len(levels)), np.log(levels)))
    return _with_zero(torch.tensor(levels, dtype=torch.float32))


def _with_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


DISCRETIZATIONS: dict[str, Callable[..., Tensor]] = {
    "EDMDiscretization": edm_sigmas,
    "LegacyDDPMDiscretization": legacy_ddpm_sigmas,
    "AYSDiscretization": align_your_steps_sigmas,
    "ConsistencyDiscretization": consistency_sigmas,
    "ListDiscretization": listed_sigmas,
}


def make_sigmas(name: str, num_steps: int, params: dict[str, Any]) -> Tensor:
    """Return the noise levels of the named discretization, (num_steps + 1,)."""
    return DISCRETIZATIONS[name](num_steps, **params)
