"""Group normalisation of maps (n, h, w, c), with statistics in float32 that may be gathered piece by piece."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.nets.blocks import GROUPS

vector_norm = cast(Any, torch.linalg).vector_norm  # torch declares no types for it


class Norm(nn.Module):
    """What a GroupNorm multiplies and adds."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalises maps (n, h, w, c), each for itself."""
        if x.device.type == "cpu":
            return F.group_norm(x.permute(0, 3, 1, 2), GROUPS, self.weight, self.bias, self.eps).permute(0, 2, 3, 1)
        moments = Moments()
        moments.add(x)
        scale, shift = self.coefficients(moments)
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None])

    def silu(self, x: Tensor) -> Tensor:
        """SiLU of the normalised maps."""
        return F.silu(self(x), inplace=True)

    def coefficients(self, moments: "Moments") -> tuple[Tensor, Tensor]:
        """Scale and shift (n, c) that normalise what the moments were gathered from."""
        mean, variance = moments.result()
        scale = (variance + self.eps).rsqrt().repeat_interleave(self.weight.numel() // GROUPS, 1) * self.weight
        shift = self.bias - mean.repeat_interleave(self.weight.numel() // GROUPS, 1) * scale
        return scale.to(self.weight.dtype), shift.to(self.weight.dtype)


class Moments:
    """Mean and variance (n, groups) of maps that come in pieces (n, rows, w, c)."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor, int]] = []

    def add(self, x: Tensor) -> None:
        """Takes a piece (n, ..., c), contiguous."""
        n, channels = x.shape[0], x.shape[-1]
        places = x.numel() // (n * channels)
        if x.device.type == "cpu":
            maps = x.view(n, 1, places, channels).permute(0, 3, 1, 2)
            # torch has no faster way to the two moments of a group than the normalisation that needs them.
            _, mean, inverse = torch.native_group_norm(maps, None, None, n, channels, places, GROUPS, 0.0)
            mean, variance = mean.float(), inverse.float() ** -2
        else:
            count = places * channels // GROUPS
            grouped = x.view(n, places, GROUPS, -1)
            mean = grouped.sum((1, 3), dtype=torch.float32) / count
            length: Tensor = vector_norm(grouped, 2, (1, 3), dtype=torch.float32)
            variance = length**2 / count - mean**2
        self._parts.append((mean, variance, places))

    def add_frames(self, x: Tensor) -> None:
        """Takes frames (t, h, w, c) of one clip; together they are one piece."""
        self.add(x.view(1, -1, x.shape[-2], x.shape[-1]))

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of all pieces together, each (n, groups) in float32."""
        places = torch.tensor([part[2] for part in self._parts], dtype=torch.float32)
        shares = (places / places.sum()).to(self._parts[0][0].device)[:, None, None]
        means = torch.stack([mean for mean, _, _ in self._parts])
        variances = torch.stack([variance for _, variance, _ in self._parts])
        mean = (shares * means).sum(0)
        return mean, (shares * (variances + (means - mean) ** 2)).sum(0).clamp(min=0)
