"""Group normalisation of maps (n, h, w, c), with statistics in float32 that may be gathered piece by piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.fast.tile_plan import TilePlan
from img2vid.engine.nets.blocks import GROUPS

vector_norm = cast(Any, torch.linalg).vector_norm  # torch declares no types for it


def _by_native_group_norm(x: Tensor) -> bool:
    """On a CPU that is the fastest way; elsewhere it would copy maps whose channels are last."""
    return x.device.type == "cpu"


class Norm(nn.Module):
    """What a GroupNorm multiplies and adds."""

    def __init__(self, norm: nn.GroupNorm, budget: TilePlan) -> None:
        super().__init__()
        self.budget = budget
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalises maps (n, h, w, c), each for itself."""
        if _by_native_group_norm(x):
            return torch.group_norm(x.permute(0, 3, 1, 2), GROUPS, self.weight, self.bias, self.eps).permute(0, 2, 3, 1)
        return self.budget.kernels.affine(x, *self.coefficients(Moments.of(x)), silu=False)

    def silu(self, x: Tensor) -> Tensor:
        """SiLU of the normalised maps."""
        if _by_native_group_norm(x):
            return F.silu(self(x), inplace=True)
        return self.silu_with(x, self.coefficients(Moments.of(x)))

    def silu_with(self, x: Tensor, coefficients: tuple[Tensor, Tensor]) -> Tensor:
        """SiLU of x (n, ..., c), normalised with coefficients that are known."""
        return self.budget.kernels.affine(x, *coefficients, silu=True)

    def coefficients(self, moments: "Moments") -> tuple[Tensor, Tensor]:
        """Scale and shift (n, c) in float32 that normalise what the moments were gathered from."""
        times = self.weight.numel() // GROUPS
        scale = (moments.variance + self.eps).rsqrt().repeat_interleave(times, 1) * self.weight
        return scale, self.bias - moments.mean.repeat_interleave(times, 1) * scale


@dataclass(frozen=True)
class Moments:
    """Mean and variance (n, groups) in float32 of maps that may come in pieces; places: how many pixels they have."""

    mean: Tensor
    variance: Tensor
    places: int

    @classmethod
    def of(cls, x: Tensor) -> "Moments":
        """Those of contiguous maps or rows of maps (n, ..., c), each for itself."""
        n, channels = x.shape[0], x.shape[-1]
        places = x.numel() // (n * channels)
        if _by_native_group_norm(x):
            maps = x.view(n, 1, places, channels).permute(0, 3, 1, 2)
            # torch has no faster way to the two moments of a group than the normalisation that needs them.
            _, mean, inverse = torch.native_group_norm(maps, None, None, n, channels, places, GROUPS, 0.0)
            return cls(mean.float(), inverse.float() ** -2, places)
        grouped = x.view(n, places, GROUPS, -1)
        count = places * channels // GROUPS
        mean = grouped.sum((1, 3), dtype=torch.float32) / count
        length: Tensor = vector_norm(grouped, 2, (1, 3), dtype=torch.float32)
        return cls(mean, (length**2 / count - mean**2).clamp(min=0), places)

    @classmethod
    def of_clip(cls, x: Tensor) -> "Moments":
        """Those of all frames (t, h, w, c) together."""
        return cls.of(x.view(1, -1, x.shape[-1]))

    @classmethod
    def joined(cls, parts: "Sequence[Moments]") -> "Moments":
        """Those of all pieces together."""
        if len(parts) == 1:
            return parts[0]
        places = torch.tensor([part.places for part in parts], dtype=torch.float32)
        shares = (places / places.sum()).to(parts[0].mean.device)[:, None, None]
        means = torch.stack([part.mean for part in parts])
        variances = torch.stack([part.variance for part in parts])
        mean = (shares * means).sum(0)
        return cls(mean, (shares * (variances + (means - mean) ** 2)).sum(0), int(places.sum()))
