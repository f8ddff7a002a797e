"""Moving scenes made from still pictures: camera motion, parallax, flow fields, things in front, changing light.

The conditions mean what they mean in SVD: `motion_bucket_id` is the amount of motion, `fps` says how much of it falls
between two frames. Every scene starts at rest with frame 0, the picture that it is conditioned on.
"""

import math
import random
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from scripts.tiny.pictures import random_crop, vary_colour

MARGIN = 1.7
"""Layers are this much larger than the frame, so that motion uncovers picture and not border."""
FLAT = 0.15
"""Standard deviation under which a crop shows too little for its motion to be seen; a few others are tried first."""
USUAL = 1.5
"""Pixels a frame at bucket 127 and 6 frames a second."""
FASTEST = 2.6
"""Pixels a frame that no scene exceeds on average."""
TRAVEL, STEERED = 0.65, 0.55
"""Shares of the speed: of the camera's travel, and of the flow that the clip's noise steers."""


def speed(motion_bucket_id: float, fps: float) -> float:
    """Motion in pixels a frame, at the model's own size."""
    return min(FASTEST, USUAL * motion_bucket_id / 127 * 6 / fps)


@dataclass(frozen=True)
class Camera:
    """A steady motion of one layer for every pixel of motion: shift in pixels, zoom, roll in radians."""

    shift: tuple[float, float]
    zoom: float
    roll: float

    @classmethod
    def draw(cls, rng: random.Random) -> "Camera":
        """Travels to the left; half of the cameras come nearer or move away and roll a little as well.

        The main motion is the same for all, decided by the conditions alone: it is what a small network learns first.
        """
        zoom, roll = (rng.gauss(0, 0.003), rng.gauss(0, 0.003)) if rng.random() < 0.5 else (0.0, 0.0)
        return cls((-TRAVEL, 0.0), zoom, roll)

    def places(self, grid: Tensor, way: Tensor) -> Tensor:
        """Where each pixel of grid (h, w, 2) comes from after `way` (t,) pixels of motion: (t, h, w, 2)."""
        x, y = grid.unbind(-1)
        scale, angle = (self.zoom * way).exp()[:, None, None], (self.roll * way)[:, None, None]
        u = scale * (angle.cos() * x - angle.sin() * y) + self.shift[0] * way[:, None, None]
        v = scale * (angle.sin() * x + angle.cos() * y) + self.shift[1] * way[:, None, None]
        return torch.stack([u, v], dim=-1)


def waves(grid: Tensor, num_frames: int, pixels_a_frame: float, rng: random.Random) -> Tensor:
    """Displacements (t, h, w, 2) of a few travelling waves, as on water or in leaves; frame 0 is at rest."""
    t = torch.arange(num_frames, dtype=torch.float32)[:, None, None]
    total = torch.zeros(num_frames, *grid.shape)
    for _ in range(3):
        length, angle = rng.uniform(25, 90), rng.uniform(0, 2 * math.pi)
        turn, phase, towards = rng.uniform(0.2, 0.6), rng.uniform(0, 2 * math.pi), rng.uniform(0, 2 * math.pi)
        along = (grid @ torch.tensor([math.cos(angle), math.sin(angle)])) * (2 * math.pi / length)
        swing = (along + turn * t + phase).sin() - (along + phase).sin()
        amplitude = pixels_a_frame / 3 / (turn * 2 / math.pi)
        total += amplitude * swing[..., None] * torch.tensor([math.cos(towards), math.sin(towards)])
    return total


def blob(height: int, width: int, rng: random.Random) -> Tensor:
    """A soft, irregular mask (1, height, width) with values in [0, 1] around a random middle."""
    noise = torch.tensor([[rng.gauss(0, 1) for _ in range(7)] for _ in range(5)])[None, None]
    noise = F.interpolate(noise, (height, width), mode="bicubic", align_corners=True)[0]
    y = torch.linspace(-1, 1, height)[:, None] - rng.uniform(-0.4, 0.4)
    x = torch.linspace(-1, 1, width)[None, :] - rng.uniform(-0.4, 0.4)
    size = rng.uniform(0.2, 0.45)
    return ((1 - (x**2 + y**2) / size**2 + 0.5 * noise) * 6).sigmoid()


def look_up(layer: Tensor, places: Tensor) -> Tensor:
    """Samples a layer (c, H, W) at places (t, h, w, 2) in pixels from its middle: (t, c, h, w)."""
    size = torch.tensor([layer.shape[2], layer.shape[1]], dtype=torch.float32)
    normalised = 2 * places / (size - 1)
    batch = layer[None].expand(len(places), -1, -1, -1)
    return F.grid_sample(batch, normalised, mode="bicubic", padding_mode="reflection", align_corners=True)


def make_scene(
    pictures: list[Image.Image],
    rng: random.Random,
    *,
    num_frames: int,
    height: int,
    width: int,
    motion_bucket_id: float,
    fps: float,
    steering: Tensor | None = None,
) -> Tensor:
    """A clip (num_frames, 3, height, width) in [-1, 1].

    steering: (2, h, w) of any size, directions across the frame of a flow like that of clouds or water, x first.
    """
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    grid = torch.stack([x, y], dim=-1)
    pixels = speed(motion_bucket_id, fps)
    t = torch.arange(num_frames, dtype=torch.float32)
    flow = torch.zeros(num_frames, height, width, 2)
    if steering is not None:
        directions = F.interpolate(steering[None], (height, width), mode="bilinear")[0].permute(1, 2, 0)
        flow = -STEERED * pixels * t[:, None, None, None] * directions
    if rng.random() < 0.2:
        flow = flow + waves(grid, num_frames, pixels * rng.uniform(0.1, 0.5), rng)

    camera = Camera.draw(rng)
    clip = look_up(_layer(pictures, height, width, rng), camera.places(grid, pixels * t) + flow)
    if rng.random() < 0.15:
        # Something in front: it goes with the camera, faster because it is nearer, or deforms on its own as well.
        layer = _layer(pictures, height, width, rng)
        layer = torch.cat([layer, blob(layer.shape[1], layer.shape[2], rng)])
        own = waves(grid, num_frames, pixels * rng.uniform(0.0, 0.6), rng)
        front = look_up(layer, camera.places(grid, pixels * rng.uniform(1.2, 2.0) * t) + own)
        colours, mask = front.split([3, 1], dim=1)
        clip = clip * (1 - mask) + colours * mask
    if rng.random() < 0.15:
        brighter = rng.uniform(-0.25, 0.25) * pixels / FASTEST
        clip = clip + (brighter * t / max(num_frames - 1, 1))[:, None, None, None]
    return vary_colour(clip, rng).clamp(-1, 1)


def _layer(pictures: list[Image.Image], height: int, width: int, rng: random.Random) -> Tensor:
    """A part of a picture with something to see, (3, H, W), larger than the frame."""
    h, w = round(height * MARGIN), round(width * MARGIN)
    for _ in range(4):
        crop = random_crop(rng.choice(pictures), h, w, rng, 0.6)
        if crop.std() > FLAT:
            break
    return crop
