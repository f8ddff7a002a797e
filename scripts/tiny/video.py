"""The video stage: the network and the small CLIP learn to denoise the latents of moving scenes.

EDM training as in the SVD paper (Blattmann et al. 2023, appendix D): v-prediction, noise levels from a log-normal
distribution, a noisy conditioning frame, and conditions dropped now and then so that guidance works.
"""

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor, nn

from img2vid.engine.denoiser import v_scaling_with_edm_noise
from img2vid.engine.model import SvdModel
from img2vid.engine.nets.unet import VideoUNet
from scripts.tiny.scenes import make_scene
from scripts.tiny.training import Stage

SIGMA_MEAN, SIGMA_DEVIATION = 1.0, 1.6
"""Of log sigma: the noise levels that are trained."""
AUG_MEAN, AUG_DEVIATION = -3.5, 0.7
"""Of log cond_aug: the noise on the conditioning frame."""
DROP = 0.15
FIRST_CLIPS = 96
STEPS_A_CLIP = 4


@dataclass(frozen=True)
class Clip:
    """A scene as the network sees it."""

    latents: Tensor
    first_frame: Tensor
    motion_bucket_id: float
    fps: float


class Clips:
    """A growing store of encoded scenes: some at the start, a new one every few steps."""

    def __init__(self, model: SvdModel, pictures: list[Image.Image], size: tuple[int, int, int], seed: int) -> None:
        self.model, self.pictures, self.size, self.seed = model, pictures, size, seed
        self.clips: list[Clip] = []

    @torch.no_grad()
    def add(self) -> None:
        """Makes the next scene and encodes it."""
        rng = random.Random(self.seed * 7_919 + len(self.clips))
        num_frames, height, width = self.size
        bucket, fps = rng.uniform(0, 255), rng.choice([rng.uniform(4, 12), rng.uniform(4, 30)])
        frames = make_scene(
            self.pictures,
            rng,
            num_frames=num_frames,
            height=height,
            width=width,
            motion_bucket_id=bucket,
            fps=fps,
        )
        latents = self.model.first_stage_model.encode_mode(frames) * self.model.config.scale_factor
        self.clips.append(Clip(latents.half(), frames[:1].half(), bucket, fps))

    def for_step(self, step: int, rng: random.Random) -> Clip:
        """A clip to train on; makes the new ones that are due."""
        while len(self.clips) < FIRST_CLIPS + step // STEPS_A_CLIP:
            self.add()
        return rng.choice(self.clips)


def train_video(
    model: SvdModel,
    pictures: list[Image.Image],
    work: Path,
    *,
    name: str,
    size: tuple[int, int, int],
    steps: int,
    minutes: float,
    rate: float,
    seed: int,
) -> None:
    """Trains the network and the CLIP of `model` in place; size: frames, height, width."""
    torch.manual_seed(seed)
    clip_embedder = model.conditioner.embedder("cond_frames_without_noise")
    for part in (model.network, clip_embedder):
        part.requires_grad_(True)
    stage = Stage(name, {"network": model.network, "clip": clip_embedder}, work, steps=steps, rate=rate)
    clips = Clips(model, pictures, size, seed)

    def loss_of(step: int) -> Tensor:
        rng = random.Random(seed * 1_000_081 + step)
        return denoising_loss(model, clips.for_step(step, rng), rng)

    stage.run(loss_of, minutes=minutes, measure=dict)
    stage.use_average()


def denoising_loss(model: SvdModel, clip: Clip, rng: random.Random) -> Tensor:
    """The error of the network's raw output against the one that would give the clean latents.

    That is the squared error of the denoised latents times (sigma ** 2 + 1) / sigma ** 2, its inverse variance.
    """
    clean, first = clip.latents.float(), clip.first_frame.float()
    num_frames = len(clean)
    sigma = torch.tensor(math.exp(rng.gauss(SIGMA_MEAN, SIGMA_DEVIATION)))
    aug = math.exp(rng.gauss(AUG_MEAN, AUG_DEVIATION))
    noisy = clean + sigma * torch.randn(clean.shape)
    scaling = v_scaling_with_edm_noise(sigma)
    target = (clean - scaling.c_skip * noisy) / scaling.c_out

    kept = 0.0 if rng.random() < DROP else 1.0
    scalars = {"fps_id": clip.fps - 1, "motion_bucket_id": clip.motion_bucket_id, "cond_aug": aug}
    conditioner = model.conditioner
    crossattn = kept * conditioner.embed_image(first)
    with torch.no_grad():
        concat = kept * conditioner.encode_frame(first + aug * torch.randn(first.shape))
        vector = conditioner.embed_scalars(scalars, first.device)
    raw = model.network(
        torch.cat([noisy * scaling.c_in, concat.expand(num_frames, -1, -1, -1)], dim=1),
        scaling.c_noise.expand(num_frames),
        context=crossattn.expand(num_frames, -1, -1),
        vector=vector.expand(num_frames, -1),
        num_frames=num_frames,
    )
    return (raw - target).square().mean()


@torch.no_grad()
def start_still(network: VideoUNet) -> None:
    """Begins with a network that shows the conditioning frame in every frame, the best guess without knowing motion.

    At high noise levels the right output is minus the clean latents. The conditioning latents travel over the outermost
    skip connection, in pairs of opposite sign: next to each other they keep their mean in the last normalisation, and
    the difference of the SiLUs of x and -x is x. Residual branches start at zero.
    """
    for name, module in network.named_modules():
        if name.endswith(("out_layers.3", "proj_out")):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)
    latents = network.config.out_channels
    # torch does not know the types of the modules in its containers
    conv_in = cast(nn.Conv2d, cast(nn.ModuleList, network.input_blocks[0])[0])
    skip = cast(nn.Conv2d, cast(nn.ModuleList, network.output_blocks[-1])[0].skip_connection)
    conv_out = cast(nn.Conv2d, network.out[2])
    assert conv_in.bias is not None and skip.bias is not None and conv_out.bias is not None
    width = conv_in.out_channels
    skip.weight *= 0.3
    skip.weight[:, -width:] += torch.eye(width)[..., None, None]
    skip.bias.zero_()
    conv_out.weight *= 0.1
    conv_out.bias.zero_()
    pairs = width // 4  # half of the channels; the others are free
    for pair in range(pairs):
        latent, even = pair % latents, 2 * pair
        conv_in.weight[even : even + 2] = 0
        conv_in.bias[even : even + 2] = 0
        conv_in.weight[even, latents + latent, 1, 1] = 1
        conv_in.weight[even + 1, latents + latent, 1, 1] = -1
        conv_out.weight[latent, even, 1, 1] -= latents / pairs
        conv_out.weight[latent, even + 1, 1, 1] += latents / pairs
