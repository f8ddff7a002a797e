"""Coupling of noise and motion: the initial noise of a clip determines how it moves.

An image can move in many ways. A network trained on independent noise has to find the direction by comparing the noisy
latents with the image, which small networks learn last; until then they output the mean of all directions, a blur. Here
the low-frequency part of a clip's noise encodes its direction. Clips and noise keep their distributions, only their
pairing changes, so deterministic sampling from plain noise still gives clips as trained (Pooladian et al. 2023,
"Multisample Flow Matching"; Li et al. 2024, "Immiscible Diffusion").
"""

import torch
from torch import Tensor
from torch.nn import functional as F

GUIDES = 2
"""Number of last latents that carry the directions; they hold the finest details and hide the noise least."""
CELL = 4
"""Latents per side of the squares over which the noise is averaged, as in the network's two downsamplings."""
SOFTNESS = 0.25
"""Regularization that keeps directions smooth when the averaged noise is near zero."""


def noise_directions(guide: Tensor) -> Tensor:
    """Return directions of length about 1, (2, h / 4, w / 4), from a guide (2, h, w) of independent normal numbers."""
    x = CELL * F.avg_pool2d(guide[None], CELL)[0]  # of variance 1
    return x / (SOFTNESS + x.square().sum(dim=0, keepdim=True)).sqrt()


def tie(noise: Tensor, guide: Tensor) -> Tensor:
    """Return noise (t, z, h, w) whose time average in its last latents, scaled to variance 1, is the guide (2, h, w).

    For a normal guide and normal noise the result is again normal and independent between positions.
    """
    carried = noise[:, -GUIDES:]
    tied = carried - carried.mean(dim=0) + guide / len(noise) ** 0.5
    return torch.cat([noise[:, :-GUIDES], tied], dim=1)
