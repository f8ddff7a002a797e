"""A growing pool of moving scenes, encoded once and used several times."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from training.noise_motion import GUIDES, noise_directions
from training.scenes import make_scene

FIRST_CLIPS = 64


@dataclass(frozen=True)
class Size:
    """Size of a clip: frames, and pixels of each frame."""

    num_frames: int
    height: int
    width: int


@dataclass(frozen=True)
class Clip:
    """A scene as network input: latents (t, z, h, w), first frame (1, 3, H, W) in [-1, 1], and conditioning.

    guide: (2, h, w), the part of its noise that determines its motion.
    """

    latents: Tensor
    first_frame: Tensor
    motion_bucket_id: float
    fps: float
    guide: Tensor


class Clips:
    """Scenes in half precision: some at the start, then `fresh` new ones per draw on average.

    The first `quick` ones move fast, which teaches motion sooner. downsampling: pixels per side of a latent.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        pictures: list[Image.Image],
        size: Size,
        *,
        downsampling: int,
        seed: int,
        fresh: float,
        quick: int = 0,
    ) -> None:
        self.encode, self.pictures, self.size, self.downsampling = encode, pictures, size, downsampling
        self.seed, self.fresh, self.quick = seed, fresh, quick
        self.clips: list[Clip] = []
        self.due = float(FIRST_CLIPS)

    def draw(self, count: int, rng: random.Random) -> list[Clip]:
        """Return distinct clips if there are enough."""
        while len(self.clips) < self.due:
            self.clips.append(self.make(len(self.clips)))
        self.due += self.fresh
        return rng.sample(self.clips, count) if count <= len(self.clips) else rng.choices(self.clips, k=count)

    @torch.no_grad()
    def make(self, index: int) -> Clip:
        """Return the scene of this number; deterministic."""
        rng = random.Random(self.seed * 1_000_003 + index)
        bucket, fps = rng.uniform(0, 255), rng.choice([rng.uniform(4, 12), rng.uniform(4, 30)])
        if index < self.quick:
            bucket, fps = rng.uniform(100, 255), rng.uniform(5, 9)
        size = self.size
        generator = torch.Generator().manual_seed(rng.randrange(2**31))
        guide = torch.randn(
            GUIDES, size.height // self.downsampling, size.width // self.downsampling, generator=generator
        )
        frames = make_scene(
            self.pictures,
            rng,
            num_frames=size.num_frames,
            height=size.height,
            width=size.width,
            motion_bucket_id=bucket,
            fps=fps,
            directions=noise_directions(guide),
        )
        return Clip(self.encode(frames).half(), frames[:1].half(), bucket, fps, guide)
