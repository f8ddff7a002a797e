"""Preconditioned denoiser D(x; sigma) around the raw network F (Karras et al. 2022, equation 7)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from img2vid.engine.fast.unet import ClipConstants, FastUNet
from img2vid.engine.interface import Conditioning
from img2vid.engine.sampling.block_cache import BlockCache
from img2vid.errors import BadInput

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x, sigma) -> denoised; x: (T, z, h, w), sigma: a tensor with one element."""


@dataclass(frozen=True)
class Scaling:
    """Coefficients of the preconditioning, each with the shape of sigma."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor


def v_scaling_with_edm_noise(sigma: Tensor) -> Scaling:
    """Return the scaling of v-prediction (Salimans & Ho 2022) for unit-variance data, with c_noise = log(sigma) / 4."""
    variance = sigma**2 + 1
    return Scaling(1 / variance, -sigma / variance.sqrt(), 1 / variance.sqrt(), sigma.log() / 4)


class Denoiser:
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), for one or several conditionings.

    The state stays in float32; only the network runs in the format of its weights. together: run each stage of the
    network on all conditionings before the next stage, instead of the whole network once per conditioning. The result
    is the same. Each weight is used once per step instead of twice, with twice the activation memory.
    """

    def __init__(self, network: FastUNet, dtype: torch.dtype, *, together: bool = False) -> None:
        self.network = network
        self.dtype = dtype
        self.together = together
        self._clip_constants: list[tuple[Conditioning, ClipConstants]] = []
        """Last conditionings with their precomputed constants, which are the same at every step."""

    def __call__(
        self, x: Tensor, sigma: Tensor, conditionings: list[Conditioning], cache: BlockCache | None = None
    ) -> list[Tensor]:
        """Return one denoised (T, z, h, w) per conditioning, for x (T, z, h, w) in float32 and sigma with one element.

        cache: cache of the network's inner blocks between steps; without it, all blocks are computed.
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
        known = {id(conditioning): constants for conditioning, constants in self._clip_constants}
        self._clip_constants = [(c, known[id(c)] if id(c) in known else self._precompute(c)) for c in conditionings]
        return [constants for _, constants in self._clip_constants]

    def _precompute(self, conditioning: Conditioning) -> ClipConstants:
        crossattn, vector = conditioning.crossattn[:, 0], conditioning.vector
        num_frames = len(vector)
        if not _rows_are_equal(crossattn):
            raise BadInput("all frames of a clip must have the same crossattn, got rows that differ")
        if _rows_are_equal(vector):
            vector = vector[:1]
        return self.network.precompute(crossattn[:1].to(self.dtype), vector.to(self.dtype), num_frames)


def _rows_are_equal(rows: Tensor) -> bool:
    return torch.equal(rows, rows[:1].expand_as(rows))
