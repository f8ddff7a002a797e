"""Moving scenes made from still images: camera motion, parallax, flow fields, foreground objects, changing light.

Conditioning has the same meaning as in SVD: `motion_bucket_id` is the amount of motion, `fps` divides it among frames.
Every scene starts at rest with frame 0, its conditioning image.
"""

import math
import random
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from training.pictures import random_crop, vary_color

MARGIN = 1.7
"""Size of layers relative to the frame, so that motion uncovers image and not border."""
FLAT = 0.15
"""Standard deviation below which a crop's motion is hardly visible; a few other crops are tried first."""
USUAL = 1.5
"""Pixels per frame at bucket 127 and 6 fps."""
FASTEST = 2.6
"""Maximum average pixels per frame."""
TRAVEL, STEERED = 0.65, 0.55
"""Shares of the speed: the camera's travel, and the flow determined by the clip's noise."""


def speed(motion_bucket_id: float, fps: float) -> float:
    """Return the motion in pixels per frame, at the model's own size."""
    return min(FASTEST, USUAL * motion_bucket_id / 127 * 6 / fps)


@dataclass(frozen=True)
class Camera:
    """Steady motion of one layer per pixel of motion: shift in pixels, zoom, roll in radians."""

    shift: tuple[float, float]
    zoom: float
    roll: float

    @classmethod
    def draw(cls, rng: random.Random) -> "Camera":
        """Return a camera that travels left; half of the cameras also zoom and roll slightly.

        The main motion is the same for all and depends only on the conditioning, which a small network learns first.
        """
        zoom, roll = (rng.gauss(0, 0.003), rng.gauss(0, 0.003)) if rng.random() < 0.5 else (0.0, 0.0)
        return cls((-TRAVEL, 0.0), zoom, roll)

    def places(self, grid: Tensor, way: Tensor) -> Tensor:
        """Return the source of each pixel of grid (h, w, 2) after `way` (t,) pixels of motion: (t, h, w, 2)."""
        x, y = grid.unbind(-1)
        scale, angle = (self.zoom * way).exp()[:, None, None], (self.roll * way)[:, None, None]
        u = scale * (angle.cos() * x - angle.sin() * y) + self.shift[0] * way[:, None, None]
        v = scale * (angle.sin() * x + angle.cos() * y) + self.shift[1] * way[:, None, None]
        return torch.stack([u, v], dim=-1)


def waves(grid: Tensor, num_frames: int, pixels_a_frame: float, rng: random.Random) -> Tensor:
    """Return displacements (t, h, w, 2) of a few traveling waves, as on water or in leaves; frame 0 is at rest."""
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
    """Return a soft, irregular mask (1, height, width) with values in [0, 1] around a random center."""
    noise = torch.tensor([[rng.gauss(0, 1) for _ in range(7)] for _ in range(5)])[None, None]
    noise = F.interpolate(noise, (height, width), mode="bicubic", align_corners=True)[0]
    y = torch.linspace(-1, 1, height)[:, None] - rng.uniform(-0.4, 0.4)
    x = torch.linspace(-1, 1, width)[None, :] - rng.uniform(-0.4, 0.4)
    size = rng.uniform(0.2, 0.45)
    return ((1 - (x**2 + y**2) / size**2 + 0.5 * noise) * 6).sigmoid()


def look_up(layer: Tensor, places: Tensor) -> Tensor:
    """Sample a layer (c, H, W) at positions (t, h, w, 2) in pixels from its center: (t, c, h, w)."""
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
    directions: Tensor | None = None,
) -> Tensor:
    """Return a clip (num_frames, 3, height, width) in [-1, 1].

    directions: (2, h, w) of any size, of a flow like that of clouds or water, x first.
    """
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    grid = torch.stack([x, y], dim=-1)
    pixels = speed(motion_bucket_id, fps)
    t = torch.arange(num_frames, dtype=torch.float32)
    flow = torch.zeros(num_frames, height, width, 2)
    if directions is not None:
        larger = F.interpolate(directions[None], (height, width), mode="bilinear")[0].permute(1, 2, 0)
        flow = -STEERED * pixels * t[:, None, None, None] * larger
    if rng.random() < 0.2:
        flow = flow + waves(grid, num_frames, pixels * rng.uniform(0.1, 0.5), rng)

    camera = Camera.draw(rng)
    clip = look_up(_layer(pictures, height, width, rng), camera.places(grid, pixels * t) + flow)
    if rng.random() < 0.15:
        # A foreground object moves with the camera but faster because it is nearer, and may deform as well.
        layer = _layer(pictures, height, width, rng)
        layer = torch.cat([layer, blob(layer.shape[1], layer.shape[2], rng)])
        own = waves(grid, num_frames, pixels * rng.uniform(0.0, 0.6), rng)
        front = look_up(layer, camera.places(grid, pixels * rng.uniform(1.2, 2.0) * t) + own)
        colors, mask = front.split([3, 1], dim=1)
        clip = clip * (1 - mask) + colors * mask
    if rng.random() < 0.15:
        brighter = rng.uniform(-0.25, 0.25) * pixels / FASTEST
        clip = clip + (brighter * t / max(num_frames - 1, 1))[:, None, None, None]
    return vary_color(clip, rng).clamp(-1, 1)


def _layer(pictures: list[Image.Image], height: int, width: int, rng: random.Random) -> Tensor:
    """Return a non-uniform part of an image, (3, H, W), larger than the frame."""
    h, w = round(height * MARGIN), round(width * MARGIN)
    for _ in range(4):
        crop = random_crop(rng.choice(pictures), h, w, rng, 0.6)
        if crop.std() > FLAT:
            break
    return crop
