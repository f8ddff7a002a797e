"""The preconditioned denoiser D(x; sigma) around the raw network F (Karras et al. 2022, equation 7)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from img2vid.engine.interface import Conditioning
from img2vid.engine.nets.unet import VideoUNet

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x, sigma) -> denoised; x: (T, z, h, w), sigma: a tensor of one number."""


@dataclass(frozen=True)
class Scaling:
    """The four coefficients of the preconditioning, each a tensor of sigma's shape."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor


def v_scaling_with_edm_noise(sigma: Tensor) -> Scaling:
    """v-prediction (Salimans & Ho 2022) for data of unit variance; the network is told log(sigma) / 4."""
    variance = sigma**2 + 1
    return Scaling(1 / variance, -sigma / variance.sqrt(), 1 / variance.sqrt(), sigma.log() / 4)


class Denoiser:
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), for one or several conditionings at once.

    The state stays in float32; only the network runs in the format of its weights.
    """

    def __init__(self, network: VideoUNet, dtype: torch.dtype) -> None:
        self.network = network
        self.dtype = dtype

    def __call__(self, x: Tensor, sigma: Tensor, conditionings: list[Conditioning]) -> list[Tensor]:
        """x: (T, z, h, w) in float32, sigma: a tensor of one number. Returns one (T, z, h, w) for each conditioning."""
        copies, num_frames = len(conditionings), x.shape[0]
        scaling = v_scaling_with_edm_noise(sigma)
        concat = torch.cat([c.concat for c in conditionings])
        net_in = torch.cat([(x * scaling.c_in).repeat(copies, 1, 1, 1), concat], dim=1)
        net_out = self.network(
            net_in.to(self.dtype),
            scaling.c_noise.expand(copies * num_frames),
            context=torch.cat([c.crossattn for c in conditionings]).to(self.dtype),
            vector=torch.cat([c.vector for c in conditionings]).to(self.dtype),
            num_frames=num_frames,
        ).float()
        denoised = net_out * scaling.c_out + (x * scaling.c_skip).repeat(copies, 1, 1, 1)
        return list(denoised.chunk(copies))
