"""Noise and motion belong together: the noise that a clip is sampled from decides how it moves.

A picture can move in many ways. A network that is trained on noise drawn apart from its clips has to find the way in
noisy latents, by comparing them with the picture, and small networks learn that last; until then they show the mean of
all ways, a blur. So clips are not given any noise, but noise whose slow part says which way they move. Clips and noise
each keep their distribution, only who meets whom is arranged: deterministic sampling from plain noise still gives clips
as they were trained (Pooladian et al. 2023, "Multisample Flow Matching"; Li et al. 2024, "Immiscible Diffusion").
"""

import torch
from torch import Tensor
from torch.nn import functional as F

GUIDES = 2
"""The last so many latents carry the directions; they hold the finest details and hide the noise least."""
CELL = 4
"""Latents along the side of a square over which the noise is averaged, as the network's two downsamplings do."""
SOFTNESS = 0.25
"""Keeps directions smooth where the averaged noise is near zero."""


def steering_field(guide: Tensor) -> Tensor:
    """Directions of a length of about 1, (2, h / 4, w / 4), from a guide (2, h, w) of independent normal numbers."""
    x = CELL * F.avg_pool2d(guide[None], CELL)[0]  # of variance 1
    return x / (SOFTNESS + x.square().sum(dim=0, keepdim=True)).sqrt()


def tie(noise: Tensor, guide: Tensor) -> Tensor:
    """Noise (t, z, h, w) whose mean over time, scaled to variance 1, is the guide (2, h, w) in its last latents.

    For a normal guide and normal noise the result is normal and independent from place to place again.
    """
    carried = noise[:, -GUIDES:]
    tied = carried - carried.mean(dim=0) + guide / len(noise) ** 0.5
    return torch.cat([noise[:, :-GUIDES], tied], dim=1)
