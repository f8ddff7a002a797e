"""Classifier-free guidance (Ho & Salimans 2022) with a scale for every frame, at all noise levels or some of them.

A guider says how strongly each frame is pushed from the unconditional estimate past the conditional one. None at all
(`IdentityGuider`) needs only the conditional estimate, half the work of the others.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from img2vid.errors import BadInput


def vanilla_scales(num_frames: int, *, scale: float) -> Tensor:
    """The same scale for every frame, (num_frames,)."""
    return torch.full((num_frames,), float(scale))


def linear_scales(num_frames: int, *, max_scale: float, min_scale: float = 1.0) -> Tensor:
    """From min_scale at the first frame to max_scale at the last (Blattmann et al. 2023, section 4.3)."""
    return torch.linspace(min_scale, max_scale, num_frames)


def triangle_scales(
    num_frames: int,
    *,
    max_scale: float,
    min_scale: float = 1.0,
    period: float | Sequence[float] = 1.0,
    period_fusing: str = "max",
) -> Tensor:
    """A triangle wave: min_scale at the first frame, max_scale in the middle of each period (Voleti et al. 2024).

    period: a part of the clip's length; several waves are fused by "max", "mean" or "multiply".
    """
    periods = [period] if isinstance(period, (int, float)) else list(period)
    if not periods or min(periods) <= 0:
        raise BadInput(f"period must be above 0 (1 is the whole clip), got {period}")
    place = torch.linspace(0, 1, num_frames)
    waves = torch.stack([2 * (place / p - (place / p + 0.5).floor()).abs() for p in periods])
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
"""The scale of every frame by the guider's name; None for the guider that does not guide."""


def make_scales(name: str, num_frames: int, params: dict[str, Any]) -> Tensor | None:
    """The scale of every frame, (num_frames,), or None where the conditional estimate is used as it is."""
    make = GUIDERS[name]
    return None if make is None else make(num_frames, **params)


@dataclass(frozen=True)
class Interval:
    """The noise levels at which guidance acts, both ends included (Kynkäänniemi et al. 2024).

    Outside of it the conditional estimate is used as it is, half the work.
    """

    sigma_min: float = 0.0
    sigma_max: float = math.inf

    def holds(self, sigma: Tensor) -> bool:
        """Whether a noise level, a tensor of one number, lies in it."""
        # Without limits the number is not looked at: on a card that would wait until all before is computed.
        return self == Interval() or self.sigma_min <= float(sigma) <= self.sigma_max


def guide(uncond: Tensor, cond: Tensor, scales: Tensor) -> Tensor:
    """uncond + scale (cond - uncond), frame by frame; estimates are (T, z, h, w), scales (T,)."""
    return uncond + scales[:, None, None, None] * (cond - uncond)
