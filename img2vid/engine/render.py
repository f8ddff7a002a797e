"""Sampling and decoding of a clip from a prepared image; all random numbers are drawn here."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from img2vid.engine.interface import ConditioningSettings, Engine, SamplerSettings, StepInfo
from img2vid.engine.memory.device import out_of_memory_explained
from img2vid.engine.preview import LatentPreview
from img2vid.errors import NotFinite
from img2vid.progress import StageClock

Latents = Tensor
"""Sampled latents before decoding: (T, z, h, w), float32, on the CPU."""


@dataclass(frozen=True)
class Clip:
    """Settings of one clip."""

    seed: int
    conditioning: ConditioningSettings
    sampler: SamplerSettings


def sample_latents(engine: Engine, picture: NDArray[np.float32], clip: Clip, clock: StageClock) -> Latents:
    """Return clean latents (T, z, h, w) of a clip that starts from an image (3, H, W) in [-1, 1].

    One CPU generator, seeded with `clip.seed`, draws the noise on the conditioning frame, then the initial latents,
    then the noise that the sampler adds. An exception raised by the receiver of an event stops the run.
    """
    generator = torch.Generator().manual_seed(clip.seed)
    image = torch.as_tensor(picture)[None]
    height, width = image.shape[-2:]

    clock.report("condition", 0, 1)
    with out_of_memory_explained("condition"):
        cond, uncond = engine.condition(
            image,
            clip.conditioning,
            cond_noise=torch.randn(image.shape, generator=generator),
        )
    clock.report("condition", 1, 1)

    f = engine.downsampling
    noise = torch.randn(
        clip.conditioning.num_frames, engine.latent_channels, height // f, width // f, generator=generator
    )
    preview = LatentPreview.fit(image, cond.concat[:1] * engine.scale_factor)

    def on_step(info: StepInfo) -> None:
        _require_finite(info.denoised, "latents")  # fail now: the remaining steps cannot succeed
        clock.report("sample", info.step, info.total, sigma=info.sigma, frames=preview(info.denoised))

    clock.report("sample", 0, clip.sampler.num_steps)
    with out_of_memory_explained("sample"):
        latents = engine.sample(noise, cond, uncond, clip.sampler, on_step=on_step, generator=generator).float().cpu()
    _require_finite(latents, "latents")
    return latents


def decode_latents(engine: Engine, latents: Latents, decode_t: int, clock: StageClock) -> NDArray[np.uint8]:
    """Return frames (T, H, W, 3) of latents (T, z, h, w), which are not modified.

    Raise OutOfMemory if `decode_t` frames at a time do not fit. An exception raised by the receiver of an event
    stops the decoding.
    """
    now = (0, len(latents))

    def on_chunk(*done: int) -> None:
        nonlocal now
        now = (done[0], done[1])
        clock.report("decode", *now)

    clock.report("decode", *now)
    with out_of_memory_explained("decode"):
        frames = engine.decode(latents, decode_t, on_chunk, lambda notice: clock.report("decode", *now, notice=notice))
    _require_finite(frames, "frames")
    return ((frames.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def latents_of(values: NDArray[np.float32]) -> Latents:
    """Return latents (T, z, h, w) from an array stored outside the engine."""
    return torch.as_tensor(values)


def _require_finite(values: Tensor, name: str) -> None:
    if not torch.isfinite(values).all():
        raise NotFinite(f"the {name} contain NaN or infinity, which gives black frames; choose precision fp32 or bf16")
