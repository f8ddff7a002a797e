"""Small previews of unfinished latents, without running the decoder.

Near enough, a latent's colour is linear in its channels. The picture itself and its own latents give the matrix, by
least squares, so that it fits any model and needs no table of numbers.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class LatentPreview:
    """A linear map from latents to colours; `matrix` is (z + 1, 3), its last row the constant."""

    matrix: Tensor

    @classmethod
    def fit(cls, image: Tensor, latents: Tensor) -> "LatentPreview":
        """image: (1, 3, H, W) in [-1, 1]; latents: (1, z, h, w), the picture's own, in the scale that is sampled."""
        colours = F.adaptive_avg_pool2d(image.float().cpu(), (latents.shape[-2], latents.shape[-1]))[0].flatten(1).T
        channels = _with_constant(latents.float().cpu())[0].flatten(0, 1)
        # A little ridge keeps the map tame for plain pictures, whose latents hardly vary.
        ridge = 1e-3 * len(channels) * torch.eye(channels.shape[1])
        return cls((channels.T @ channels + ridge).inverse() @ channels.T @ colours)

    def __call__(self, latents: Tensor) -> NDArray[np.uint8]:
        """latents: (T, z, h, w), returns (T, h, w, 3)."""
        colours = _with_constant(latents.float().cpu()) @ self.matrix
        return ((colours.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()


def _with_constant(latents: Tensor) -> Tensor:
    """(t, z, h, w) -> (t, h, w, z + 1)."""
    channels_last = latents.permute(0, 2, 3, 1)
    return torch.cat([channels_last, torch.ones_like(channels_last[..., :1])], dim=-1)
