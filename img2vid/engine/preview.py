"""Low-resolution previews of noisy latents, without running the decoder.

The color of a latent is approximately linear in its channels. The matrix is fitted by least squares to the image and
its own latents, which works for any model without a table of coefficients.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class LatentPreview:
    """Linear map from latents to RGB; `matrix` is (z + 1, 3), with the constant in the last row."""

    matrix: Tensor

    @classmethod
    def fit(cls, image: Tensor, latents: Tensor) -> "LatentPreview":
        """Fit the map to image (1, 3, H, W) in [-1, 1] and its latents (1, z, h, w) in the scale used for sampling."""
        colors = F.adaptive_avg_pool2d(image.float().cpu(), (latents.shape[-2], latents.shape[-1]))[0].flatten(1).T
        channels = _with_constant(latents.float().cpu())[0].flatten(0, 1)
        # Ridge regularization: the latents of plain images hardly vary, so the system is ill-conditioned.
        ridge = 1e-3 * len(channels) * torch.eye(channels.shape[1])
        return cls((channels.T @ channels + ridge).inverse() @ channels.T @ colors)

    def __call__(self, latents: Tensor) -> NDArray[np.uint8]:
        """(T, z, h, w) -> (T, h, w, 3)."""
        colors = _with_constant(latents.float().cpu()) @ self.matrix
        return ((colors.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()


def _with_constant(latents: Tensor) -> Tensor:
    """(t, z, h, w) -> (t, h, w, z + 1)."""
    channels_last = latents.permute(0, 2, 3, 1)
    return torch.cat([channels_last, torch.ones_like(channels_last[..., :1])], dim=-1)
