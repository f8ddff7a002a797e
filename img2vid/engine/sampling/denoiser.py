"""The preconditioned denoiser D(x; sigma) around the raw network F (Karras et al. 2022, equation 7)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from img2vid.engine.fast.unet import ClipConstants, FastUNet
from img2vid.engine.interface import Conditioning
from img2vid.engine.sampling.block_cache import BlockCache
from img2vid.errors import BadInput

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
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), for one or several conditionings.

    The state stays in float32; only the network runs in the format of its weights. together: the network takes all
    conditionings through each of its stages before the next one, instead of one after the other through all; the
    result is the same, every weight is needed once a step instead of twice, and twice as much is in memory.
    """

    def __init__(self, network: FastUNet, dtype: torch.dtype, *, together: bool = False) -> None:
        self.network = network
        self.dtype = dtype
        self.together = together
        self._told: list[tuple[Conditioning, ClipConstants]] = []
        """The last conditionings and what the network made of them, which is the same at every step."""

    def __call__(
        self, x: Tensor, sigma: Tensor, conditionings: list[Conditioning], cache: BlockCache | None = None
    ) -> list[Tensor]:
        """x: (T, z, h, w) in float32, sigma: a tensor of one number. Returns one (T, z, h, w) for each conditioning.

        cache: where the network's inner blocks are kept between steps; without it, all blocks are computed.
        """
        scaling = v_scaling_with_edm_noise(sigma.reshape(1))
        constants = self._constants(conditionings)
        inner = None if cache is None else [cache.of(c) for c in conditionings]
        estimates: list[Tensor] = []
        step = len(conditionings) if self.together else 1
        for start in range(0, len(conditionings), step):
            part = slice(start, start + step)
            clips = [torch.cat([x * scaling.c_in, c.concat], 1).to(self.dtype) for c in conditionings[part]]
            kept = None if inner is None else inner[part]
            outputs = self.network(clips, scaling.c_noise, constants[part], kept)
            estimates += [output.float() * scaling.c_out + x * scaling.c_skip for output in outputs]
        return estimates

    def _constants(self, conditionings: list[Conditioning]) -> list[ClipConstants]:
        known = {id(conditioning): constants for conditioning, constants in self._told}
        self._told = [(c, known[id(c)] if id(c) in known else self._precompute(c)) for c in conditionings]
        return [constants for _, constants in self._told]

    def _precompute(self, conditioning: Conditioning) -> ClipConstants:
        crossattn, vector = conditioning.crossattn[:, 0], conditioning.vector
        if not all(torch.equal(rows, rows[:1].expand_as(rows)) for rows in (crossattn, vector)):
            raise BadInput("all frames of a clip must have the same crossattn and vector, got rows that differ")
        return self.network.precompute(crossattn[:1].to(self.dtype), vector[:1].to(self.dtype), len(vector))
