"""A growing store of moving scenes, encoded once and used several times."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from scripts.tiny.scenes import make_scene

FIRST_CLIPS = 64


@dataclass(frozen=True)
class Size:
    """Of a clip: frames, and pixels of each."""

    num_frames: int
    height: int
    width: int


@dataclass(frozen=True)
class Clip:
    """A scene as the network sees it: latents (t, z, h, w), its first frame (1, 3, H, W) in [-1, 1], its conditions."""

    latents: Tensor
    first_frame: Tensor
    motion_bucket_id: float
    fps: float

    def one_frame(self, rng: random.Random) -> "Clip":
        """The same with a single frame of it, for training on pictures."""
        at = rng.randrange(len(self.latents))
        return replace(self, latents=self.latents[at : at + 1])


class Clips:
    """Scenes in half precision: some at the start, then `fresh` new ones with every draw, on average."""

    def __init__(
        self, encode: Callable[[Tensor], Tensor], pictures: list[Image.Image], size: Size, *, seed: int, fresh: float
    ) -> None:
        self.encode, self.pictures, self.size, self.seed, self.fresh = encode, pictures, size, seed, fresh
        self.clips: list[Clip] = []
        self.due = float(FIRST_CLIPS)

    def draw(self, count: int, rng: random.Random) -> list[Clip]:
        """Different clips, where there are enough."""
        while len(self.clips) < self.due:
            self.clips.append(self.make(len(self.clips)))
        self.due += self.fresh
        return rng.sample(self.clips, count) if count <= len(self.clips) else rng.choices(self.clips, k=count)

    @torch.no_grad()
    def make(self, index: int) -> Clip:
        """The scene of this number; the same at every call."""
        rng = random.Random(self.seed * 1_000_003 + index)
        bucket, fps = rng.uniform(0, 255), rng.choice([rng.uniform(4, 12), rng.uniform(4, 30)])
        size = self.size
        frames = make_scene(
            self.pictures,
            rng,
            num_frames=size.num_frames,
            height=size.height,
            width=size.width,
            motion_bucket_id=bucket,
            fps=fps,
        )
        return Clip(self.encode(frames).half(), frames[:1].half(), bucket, fps)
