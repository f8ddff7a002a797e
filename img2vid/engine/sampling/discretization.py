"""From a number of steps to noise levels: `num_steps` of them, descending, and a last one of zero."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from img2vid.errors import BadInput


def edm_sigmas(num_steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """Evenly spaced in sigma ** (1 / rho) (Karras et al. 2022, equation 5). Returns (num_steps + 1,) in float32."""
    if not 0 < sigma_min <= sigma_max:
        raise BadInput(f"sigma_min must lie above 0 and not above sigma_max, got {sigma_min} and {sigma_max}")
    if not rho > 0:
        raise BadInput(f"rho must be above 0, got {rho}; 7 is usual")
    ramp = torch.linspace(0, 1, num_steps)
    start, end = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return _with_zero((start + ramp * (end - start)) ** rho)


def legacy_ddpm_sigmas(
    num_steps: int, *, linear_start: float = 0.00085, linear_end: float = 0.012, num_timesteps: int = 1000
) -> Tensor:
    """Noise levels of Stable Diffusion's DDPM training, at roughly equally spaced timesteps.

    The square roots of the betas rise linearly; sigma ** 2 = (1 - a) / a, where a is the product of (1 - beta)
    (Ho et al. 2020, section 2; Song et al. 2021). Returns (num_steps + 1,) in float32.
    """
    if num_steps > num_timesteps:
        raise BadInput(f"LegacyDDPMDiscretization has {num_timesteps} noise levels, {num_steps} steps were asked for")
    roots = torch.linspace(linear_start**0.5, linear_end**0.5, num_timesteps, dtype=torch.float64)
    kept = torch.cumprod(1 - roots**2, dim=0)
    # From the last timestep downwards in equal strides, cut to whole numbers; the first timestep is never reached.
    # Where a stride ends near a whole number, rounding decides: this order of operations is the reference's.
    last = num_timesteps - 1
    timesteps = (last + torch.arange(num_steps, dtype=torch.float64) * (-last / num_steps)).long()
    if num_steps == num_timesteps:
        timesteps = torch.arange(num_timesteps - 1, -1, -1)
    levels = kept[timesteps]
    return _with_zero(((1 - levels) / levels).float().sqrt())


def _with_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


DISCRETIZATIONS: dict[str, Callable[..., Tensor]] = {
    "EDMDiscretization": edm_sigmas,
    "LegacyDDPMDiscretization": legacy_ddpm_sigmas,
}


def make_sigmas(name: str, num_steps: int, params: dict[str, Any]) -> Tensor:
    """The noise levels of the named discretization, (num_steps + 1,)."""
    return DISCRETIZATIONS[name](num_steps, **params)
