"""Training of the network and the small CLIP to denoise the latents of moving scenes.

EDM training as in the SVD paper (Blattmann et al. 2023, appendix D): v-prediction, log-normal noise levels, a noisy
conditioning frame, and randomly dropped conditioning for guidance.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image
from torch import Tensor, nn

from img2vid.engine.model import SvdModel
from img2vid.engine.sampling.denoiser import v_scaling_with_edm_noise
from training.clips import Clip, Clips, Size
from training.noise_motion import tie
from training.training import Stage

SIGMA_MEAN, SIGMA_DEVIATION = 1.0, 1.6
"""Mean and deviation of log sigma, the training noise levels."""
AUG_MEAN, AUG_DEVIATION = -3.5, 0.7
"""Mean and deviation of log cond_aug, the noise on the conditioning frame."""
DROP = 0.15
INNER_RATE = 10.0
"""Muon's rate relative to AdamW's."""
TEST_CLIPS = 6


@dataclass(frozen=True)
class VideoStage:
    """One stage of the network's training."""

    name: str
    after: str
    """Predecessor that provides the initial weights."""
    size: Size
    batch: int
    steps: int
    rate: float
    fall: float
    """Share of the rate that is left at the end."""
    fresh: float
    """New scenes per step."""
    quick: int = 0
    """Steps in which new scenes move fast."""
    kept: float = 0.0
    """Share of the weights before the stage in those after it (weight averaging; Izmailov et al. 2018)."""


def train_network(
    model: SvdModel,
    pictures: list[Image.Image],
    apart: Iterable[Image.Image],
    work: Path,
    plan: VideoStage,
    *,
    minutes: float,
    seed: int,
) -> None:
    """Train the network and the CLIP of `model` in place. The log includes the loss on the held-out images."""
    torch.manual_seed(seed)
    embedder = model.conditioner.embedder("cond_frames_without_noise")
    embedder.requires_grad_(True)
    model.network.requires_grad_(True)
    modules = {"network": model.network, "clip": embedder}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()} if plan.kept else {}
    stage = Stage(
        plan.name,
        modules,
        work,
        steps=plan.steps,
        rate=plan.rate,
        fall=plan.fall,
        is_inner=is_inner,
        inner_rate=INNER_RATE * plan.rate,
    )

    def encode(frames: Tensor) -> Tensor:
        return encode_clip(model, frames)

    # A resumed stage continues with new scenes.
    f = model.config.first_stage.downsampling
    quick = round(max(0, plan.quick - stage.step) * plan.fresh)
    clips = Clips(encode, pictures, plan.size, downsampling=f, seed=seed + stage.step, fresh=plan.fresh, quick=quick)
    tests = Clips(encode, list(apart), plan.size, downsampling=f, seed=seed, fresh=0)
    tested = [tests.make(index) for index in range(TEST_CLIPS)]

    def loss_of(step: int) -> Tensor:
        rng = random.Random(seed * 1_000_081 + step)
        return denoising_loss(model, clips.draw(plan.batch, rng), rng)

    stage.run(loss_of, minutes=minutes, measure=lambda: {"apart": loss_apart(model, tested)})
    stage.use_average()
    model.requires_grad_(False)
    for name, tensor in model.state_dict().items():
        if name in before:
            tensor.lerp_(before[name], plan.kept)


@torch.no_grad()
def loss_apart(model: SvdModel, clips: Sequence[Clip]) -> float:
    """Return the mean loss of the clips with fixed noise at levels spread over the distribution."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rng = random.Random(0)
        spread = [(index + 0.5) / len(clips) for index in range(len(clips))]
        pairs = zip(clips, spread, strict=True)
        return fmean(float(denoising_loss(model, [clip], rng, drop=0, at=[u])) for clip, u in pairs)


def is_inner(name: str, parameter: nn.Parameter) -> bool:
    """Return True if the parameter is an inner weight matrix of the network, which Muon updates."""
    outer = ("input_blocks.0.", "out.", "time_embed.", "label_emb.")
    network = name.removeprefix("network.")
    return (
        network != name and parameter.ndim >= 2 and not network.startswith(outer) and "skip_connection" not in network
    )


@torch.no_grad()
def encode_clip(model: SvdModel, frames: Tensor) -> Tensor:
    """Return the latents of frames (t, 3, H, W) in [-1, 1], on the CPU.

    Uses the conditioning frame's encoder: it equals the first stage's and is also part of a finished checkpoint.
    """
    device = next(model.parameters()).device
    return (model.conditioner.encode_frame(frames.to(device)) * model.config.scale_factor).cpu()


def noise_levels(places: Sequence[float]) -> Tensor:
    """Return the sigmas at these quantiles (0 to 1) of the log-normal distribution."""
    normal = torch.special.ndtri(torch.tensor(places, dtype=torch.float64).clamp(1e-6, 1 - 1e-6))
    return (SIGMA_MEAN + SIGMA_DEVIATION * normal).exp().float()


def denoising_loss(
    model: SvdModel, clips: Sequence[Clip], rng: random.Random, *, drop: float = DROP, at: Sequence[float] | None = None
) -> Tensor:
    """Return the error of the network's raw output against the one that gives the clean latents.

    Equals the squared error of the denoised latents times (sigma ** 2 + 1) / sigma ** 2, its inverse variance. One
    noise level is drawn from each of as many equal shares of the distribution as there are clips.
    """
    count, num_frames = len(clips), len(clips[0].latents)
    device = next(model.parameters()).device
    clean = torch.stack([clip.latents for clip in clips]).to(device).float().flatten(0, 1)
    first = torch.cat([clip.first_frame for clip in clips]).to(device).float()
    sigma = noise_levels(at or [(i + rng.random()) / count for i in range(count)]).to(device)
    sigma = sigma.repeat_interleave(num_frames)
    scaling = v_scaling_with_edm_noise(sigma)
    c_skip, c_out, c_in = (c[:, None, None, None] for c in (scaling.c_skip, scaling.c_out, scaling.c_in))
    noise = torch.randn(count, num_frames, *clean.shape[1:], device=device)
    noise = torch.cat([tie(n, clip.guide.to(device)) for n, clip in zip(noise, clips, strict=True)])
    noisy = clean + sigma[:, None, None, None] * noise

    aug = torch.tensor([math.exp(rng.gauss(AUG_MEAN, AUG_DEVIATION)) for _ in clips])
    kept = torch.tensor([float(rng.random() >= drop) for _ in clips], device=device)
    conditioner = model.conditioner
    with torch.no_grad():
        augmented = first + aug.to(device)[:, None, None, None] * torch.randn(first.shape, device=device)
        concat = kept[:, None, None, None] * conditioner.encode_frame(augmented)
        numbers = {
            "fps_id": [clip.fps - 1 for clip in clips],
            "motion_bucket_id": [clip.motion_bucket_id for clip in clips],
            "cond_aug": aug.tolist(),
        }
        vector = conditioner.embed_numbers(numbers, device)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        crossattn = kept[:, None, None] * conditioner.embed_image(first)
        raw = model.network(
            torch.cat([noisy * c_in, concat.repeat_interleave(num_frames, 0)], dim=1),
            scaling.c_noise,
            context=crossattn.repeat_interleave(num_frames, 0),
            vector=vector.repeat_interleave(num_frames, 0),
            num_frames=num_frames,
        )
    return (raw.float() - (clean - c_skip * noisy) / c_out).square().mean()
