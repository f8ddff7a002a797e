"""Classifier-free guidance (Ho & Salimans 2022) with one scale per frame, at all noise levels or in an interval.

A guider returns the guidance scale of each frame. `IdentityGuider`, and a scale of 1 for all frames, need only the
conditional estimate, which halves the work.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from img2vid.errors import BadInput


def vanilla_scales(num_frames: int, *, scale: float) -> Tensor:
    """Return the same scale for every frame, (num_frames,)."""
    return torch.full((num_frames,), float(scale))


def linear_scales(num_frames: int, *, max_scale: float, min_scale: float = 1.0) -> Tensor:
    """Return scales from min_scale at the first frame to max_scale at the last (Blattmann et al. 2023, section 4.3)."""
    return torch.linspace(min_scale, max_scale, num_frames)


def triangle_scales(
    num_frames: int,
    *,
    max_scale: float,
    min_scale: float = 1.0,
    period: float | Sequence[float] = 1.0,
    period_fusing: str = "max",
) -> Tensor:
    """Return a triangle wave from min_scale to max_scale in the middle of each period (Voleti et al. 2024).

    period: fraction of the clip's length; several waves are combined by "max", "mean" or "multiply".
    """
    periods = [period] if isinstance(period, (int, float)) else list(period)
    if not periods or min(periods) <= 0:
        raise BadInput(f"period must be above 0 (1 is the whole clip), got {period}")
    position = torch.linspace(0, 1, num_frames)
    waves = torch.stack([2 * (position / p - (position / p + 0.5).floor()).abs() for p in periods])
    fusings: dict[str, Callable[[], Tensor]] = {
        "max": lambda: waves.amax(0),
        "mean": lambda: waves.mean(0),
        "multiply": lambda: waves.prod(0),
    }
    if period_fusing not in fusings:
        raise BadInput(f"period_fusing must be one of {', '.join(fusings)}, got {period_fusing!r}")
    return min_scale + fusings[period_fusing]() * (max_scale - min_scale)


GUIDERS: dict[str, Callable[..., Tensor] | None] = {
    "VanillaCFG": vanilla_scales,
    "IdentityGuider": None,
    "LinearPredictionGuider": linear_scales,
    "TrianglePredictionGuider": triangle_scales,
}
"""Functions that return the scale of every frame, by guider name; None for no guidance."""


def make_scales(name: str, num_frames: int, params: dict[str, Any]) -> Tensor | None:
    """Return the scale of every frame, (num_frames,), or None if only the conditional estimate is needed.

    That is so without guidance, and if all scales are 1.
    """
    make = GUIDERS[name]
    scales = None if make is None else make(num_frames, **params)
    return None if scales is None or bool((scales == 1).all()) else scales


@dataclass(frozen=True)
class Interval:
    """Closed interval of noise levels at which guidance is applied (Kynkäänniemi et al. 2024).

    Outside the interval only the conditional estimate is computed, which halves the work.
    """

    sigma_min: float = 0.0
    sigma_max: float = math.inf

    def contains(self, sigma: Tensor) -> bool:
        """Return True if a noise level, a tensor with one element, is in the interval."""
        # Without limits, skip reading the value: that would synchronize with the GPU.
        return self == Interval() or self.sigma_min <= float(sigma) <= self.sigma_max


def guide(uncond: Tensor, cond: Tensor, scales: Tensor) -> Tensor:
    """Return uncond + scale * (cond - uncond) per frame; estimates are (T, z, h, w), scales (T,)."""
    return uncond + scales[:, None, None, None] * (cond - uncond)
