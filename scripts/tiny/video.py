"""The network and the small CLIP learn to denoise the latents of moving scenes.

EDM training as in the SVD paper (Blattmann et al. 2023, appendix D): v-prediction, noise levels from a log-normal
distribution, a noisy conditioning frame, and conditions dropped now and then so that guidance works.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor, nn

from img2vid.engine.denoiser import v_scaling_with_edm_noise
from img2vid.engine.model import SvdModel
from img2vid.engine.nets.unet import VideoUNet
from scripts.tiny.clips import Clip, Clips, Size
from scripts.tiny.training import Stage, mean

SIGMA_MEAN, SIGMA_DEVIATION = 0.3, 1.6
"""Of log sigma: the noise levels that are trained."""
AUG_MEAN, AUG_DEVIATION = -3.5, 0.7
"""Of log cond_aug: the noise on the conditioning frame."""
DROP = 0.15
CARRIER = 2.0
TYPICAL_SQUARE = 0.6
"""Of the conditioning latents of one picture: their variance is 1 over many."""
TEST_CLIPS = 6


@dataclass(frozen=True)
class VideoStage:
    """One stage of the network's training."""

    name: str
    size: Size
    batch: int
    steps: int
    rate: float
    fall: float
    """Share of the rate that is left at the end."""
    fresh: float
    """New scenes a step."""
    pictures_only: bool = False
    """Trains the spatial layers alone, on single frames of the scenes."""


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
    """Trains the network and the CLIP of `model` in place; the log has the loss on the pictures kept apart too."""
    torch.manual_seed(seed)
    embedder = model.conditioner.embedder("cond_frames_without_noise")
    embedder.requires_grad_(True)
    for name, parameter in model.network.named_parameters():
        parameter.requires_grad_(not (plan.pictures_only and is_temporal(name)))
    modules = {"network": model.network, "clip": embedder}
    stage = Stage(plan.name, modules, work, steps=plan.steps, rate=plan.rate, fall=plan.fall)

    def encode(frames: Tensor) -> Tensor:
        return encode_clip(model, frames)

    # A stage that is taken up again goes on with other scenes than those it has seen.
    clips = Clips(encode, pictures, plan.size, seed=seed + stage.step, fresh=plan.fresh)
    tests = Clips(encode, list(apart), plan.size, seed=seed, fresh=0)
    tested = [tests.make(index) for index in range(TEST_CLIPS)]

    def loss_of(step: int) -> Tensor:
        rng = random.Random(seed * 1_000_081 + step)
        drawn = clips.draw(plan.batch, rng)
        return denoising_loss(model, [clip.one_frame(rng) for clip in drawn] if plan.pictures_only else drawn, rng)

    @torch.no_grad()
    def measure() -> dict[str, float]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            rng = random.Random(0)
            # one level of noise each, spread over the distribution
            spread = [(index + 0.5) / len(tested) for index in range(len(tested))]
            pairs = zip(tested, spread, strict=True)
            return {"apart": mean(float(denoising_loss(model, [clip], rng, drop=0, at=[u])) for clip, u in pairs)}

    stage.run(loss_of, minutes=minutes, measure=measure)
    stage.use_average()
    model.requires_grad_(False)


def is_temporal(name: str) -> bool:
    """Whether the parameter of this name belongs to a layer that looks at several frames, or mixes it in."""
    return any(part.startswith("time_") and part != "time_embed" for part in name.split("."))


@torch.no_grad()
def encode_clip(model: SvdModel, frames: Tensor) -> Tensor:
    """Latents of frames (t, 3, H, W) in [-1, 1], on the processor's side of memory.

    The conditioning frame's encoder makes them: it is the first stage's own, and is there in a finished checkpoint too.
    """
    device = next(model.parameters()).device
    return (model.conditioner.encode_frame(frames.to(device)) * model.config.scale_factor).cpu()


def noise_levels(places: Sequence[float]) -> Tensor:
    """Sigmas at these places (0 to 1) of the log-normal distribution."""
    normal = torch.special.ndtri(torch.tensor(places, dtype=torch.float64).clamp(1e-6, 1 - 1e-6))
    return (SIGMA_MEAN + SIGMA_DEVIATION * normal).exp().float()


def denoising_loss(
    model: SvdModel, clips: Sequence[Clip], rng: random.Random, *, drop: float = DROP, at: Sequence[float] | None = None
) -> Tensor:
    """The error of the network's raw output against the one that would give the clean latents.

    That is the squared error of the denoised latents times (sigma ** 2 + 1) / sigma ** 2, its inverse variance. The
    noise levels are drawn one from each of as many equal shares of the distribution as there are clips.
    """
    count, num_frames = len(clips), len(clips[0].latents)
    device = next(model.parameters()).device
    clean = torch.stack([clip.latents for clip in clips]).to(device).float().flatten(0, 1)
    first = torch.cat([clip.first_frame for clip in clips]).to(device).float()
    sigma = noise_levels(at or [(i + rng.random()) / count for i in range(count)]).to(device)
    sigma = sigma.repeat_interleave(num_frames)
    scaling = v_scaling_with_edm_noise(sigma)
    c_skip, c_out, c_in = (c[:, None, None, None] for c in (scaling.c_skip, scaling.c_out, scaling.c_in))
    noisy = clean + sigma[:, None, None, None] * torch.randn(clean.shape, device=device)

    aug = torch.tensor([math.exp(rng.gauss(AUG_MEAN, AUG_DEVIATION)) for _ in clips])
    kept = torch.tensor([float(rng.random() >= drop) for _ in clips], device=device)
    conditioner = model.conditioner
    with torch.no_grad():
        noise = torch.randn(first.shape, device=device)
        concat = kept[:, None, None, None] * conditioner.encode_frame(
            first + aug.to(device)[:, None, None, None] * noise
        )
        scalars = [
            {"fps_id": clip.fps - 1, "motion_bucket_id": clip.motion_bucket_id, "cond_aug": float(a)}
            for clip, a in zip(clips, aug, strict=True)
        ]
        vector = torch.cat([conditioner.embed_scalars(values, device) for values in scalars])
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


@torch.no_grad()
def start_still(network: VideoUNet) -> None:
    """Begins with a network that shows the conditioning frame in every frame, the best guess without knowing motion.

    At high noise levels the right output is minus the clean latents. The conditioning latents x travel over the
    outermost skip connection. The last normalisation, with two channels a group, would take their mean and their scale
    away. Beside them runs the noisy input n, whose variance is known, CARRIER times as strong, and the difference of
    the two has both; what that adds of n is taken from a group of its own. Every channel has a twin of opposite sign,
    since the difference of the SiLUs of u and -u is u. Residual branches and the temporal layers' shares start at zero.
    """
    for name, module in network.named_modules():
        temporal = is_temporal(name) and name.endswith(("to_out.0", "net.2", "time_pos_embed.2"))
        if temporal or name.endswith(("out_layers.3", "proj_out")):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)
    latents = network.config.out_channels
    # torch does not know the types of the modules in its containers
    conv_in = cast(nn.Conv2d, cast(nn.ModuleList, network.input_blocks[0])[0])
    skip = cast(nn.Conv2d, cast(nn.ModuleList, network.output_blocks[-1])[0].skip_connection)
    conv_out = cast(nn.Conv2d, network.out[2])
    assert conv_in.bias is not None and skip.bias is not None and conv_out.bias is not None
    width, used = conv_in.out_channels, 6 * latents
    assert width == 64 and used <= width, "the start is made for groups of two channels, six of them for every latent"
    skip.weight *= 0.3
    skip.weight[:used] = 0
    skip.weight[:, -width:] += torch.eye(width)[..., None, None]
    skip.bias.zero_()
    conv_out.weight *= 0.1
    conv_out.bias.zero_()
    conv_in.weight[:used] = 0
    conv_in.bias[:used] = 0
    spread = ((CARRIER**2 + TYPICAL_SQUARE) / 2) ** 0.5
    n, x = 0, latents  # where the two begin in the input
    for latent in range(latents):
        # channel within the six, what it takes, how much of it, its weight in the output
        rows = [
            (0, x, 1.0, -spread),
            (1, n, CARRIER, spread),
            (2, x, -1.0, spread),
            (3, n, -CARRIER, -spread),
            (4, n, 1.0, -CARRIER),
            (5, n, -1.0, CARRIER),
        ]
        for row, source, strength, weight in rows:
            conv_in.weight[6 * latent + row, source + latent, 1, 1] = strength
            conv_out.weight[latent, 6 * latent + row] = 0
            conv_out.weight[latent, 6 * latent + row, 1, 1] = weight
