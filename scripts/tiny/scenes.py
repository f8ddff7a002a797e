"""Moving scenes made from still pictures: camera motion, parallax, flow fields, changing light.

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

MARGIN = 1.5
"""Layers are this much larger than the frame, so that motion uncovers picture and not border."""
FLAT = 0.15
"""Standard deviation under which a crop shows too little for its motion to be seen; a few others are tried first."""
USUAL = 0.75
"""Pixels a frame at bucket 127 and 6 frames a second."""
FASTEST = 1.6
"""Pixels a frame that no scene exceeds on average."""


def speed(motion_bucket_id: float, fps: float) -> float:
    """Mean motion in pixels a frame, at the model's own size."""
    return min(FASTEST, USUAL * motion_bucket_id / 127 * 6 / fps)


@dataclass(frozen=True)
class Camera:
    """A steady motion of one layer: shift, zoom and roll a frame, and how much faster it is at the end."""

    shift: tuple[float, float]
    zoom: float
    roll: float
    ease: float

    @classmethod
    def draw(cls, rng: random.Random) -> "Camera":
        """Always comes nearer, and on top of that pans in any direction, now and then with some roll.

        The main motion is then decided by the conditions. A choice between opposite ones would have to be found in the
        noise, which small networks learn last: until then they show the mean of both, a blurred still.
        """
        angle, pan = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.6)
        roll = rng.gauss(0, 0.4) if rng.random() < 0.25 else 0.0
        shift = (pan * math.cos(angle), pan * math.sin(angle))
        return cls(shift, -0.025 * rng.uniform(0.7, 1.0), 0.02 * roll, rng.uniform(-0.3, 0.3))

    def field(self, grid: Tensor) -> Tensor:
        """Velocity in pixels a frame at each place; grid: (h, w, 2) in pixels from the middle."""
        x, y = grid.unbind(-1)
        u = self.shift[0] + self.zoom * x - self.roll * y
        v = self.shift[1] + self.zoom * y + self.roll * x
        return torch.stack([u, v], dim=-1)

    def places(self, grid: Tensor, amount: Tensor) -> Tensor:
        """Where each pixel comes from after `amount` (t,) of motion: (t, h, w, 2)."""
        x, y = grid.unbind(-1)
        scale, angle = (self.zoom * amount).exp()[:, None, None], (self.roll * amount)[:, None, None]
        u = scale * (angle.cos() * x - angle.sin() * y) + self.shift[0] * amount[:, None, None]
        v = scale * (angle.sin() * x + angle.cos() * y) + self.shift[1] * amount[:, None, None]
        return torch.stack([u, v], dim=-1)

    def progress(self, num_frames: int) -> Tensor:
        """How far the motion has come at each frame, in frames of mean speed: 0 to num_frames - 1."""
        t = torch.arange(num_frames, dtype=torch.float32)
        last = max(num_frames - 1, 1)
        return t * (1 + self.ease * (t / last - 1)) if last > 1 else t


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


def drift(grid: Tensor, num_frames: int, pixels_a_frame: float, rng: random.Random) -> Tensor:
    """Displacements (t, h, w, 2) of a smooth, steady flow with eddies, as of clouds or smoke; frame 0 is at rest."""
    height, width = grid.shape[:2]
    t = torch.arange(num_frames, dtype=torch.float32)[:, None, None, None]
    coarse = torch.tensor([rng.gauss(0, 1) for _ in range(2 * 4 * 6)]).view(1, 2, 4, 6)
    velocity = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0].permute(1, 2, 0)
    return t * velocity * (pixels_a_frame / float(velocity.norm(dim=-1).mean()))


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
) -> Tensor:
    """A clip (num_frames, 3, height, width) in [-1, 1]."""
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    grid = torch.stack([x, y], dim=-1)
    pixels = speed(motion_bucket_id, fps)
    kind = rng.random()
    share = rng.uniform(0.3, 0.8) if kind < 0.3 else 0.0
    flow = waves if kind < 0.2 else drift

    camera = Camera.draw(rng)
    displacement = flow(grid, num_frames, pixels * share, rng)
    clip = _layer(pictures, grid, camera, pixels * (1 - share), num_frames, rng, displacement)
    if rng.random() < 0.2:
        # Something in front: it goes with the camera, faster because it is nearer, or moves and deforms on its own.
        nearer = rng.random() < 0.4
        camera, speed_in_front = (
            (camera, rng.uniform(1.2, 2.0)) if nearer else (Camera.draw(rng), rng.uniform(0.5, 1.6))
        )
        own = None if nearer else waves(grid, num_frames, pixels * rng.uniform(0.0, 0.6), rng)
        front = _layer(pictures, grid, camera, pixels * speed_in_front, num_frames, rng, own, mask=True)
        colours, mask = front.split([3, 1], dim=1)
        clip = clip * (1 - mask) + colours * mask
    if rng.random() < 0.2:
        t = torch.arange(num_frames) / max(num_frames - 1, 1)
        clip = clip + (rng.uniform(-0.25, 0.25) * pixels / FASTEST * t)[:, None, None, None]
    return vary_colour(clip, rng).clamp(-1, 1)


def _layer(
    pictures: list[Image.Image],
    grid: Tensor,
    camera: Camera,
    pixels: float,
    num_frames: int,
    rng: random.Random,
    displacement: Tensor | None,
    *,
    mask: bool = False,
) -> Tensor:
    """One picture in motion: (t, 3, h, w), or with a mask as a fourth channel that moves along."""
    height, width = grid.shape[:2]
    h, w = round(height * MARGIN), round(width * MARGIN)
    layer = next(
        (crop for crop in (random_crop(rng.choice(pictures), h, w, rng, 0.6) for _ in range(4)) if crop.std() > FLAT),
        random_crop(rng.choice(pictures), h, w, rng, 0.6),
    )
    if mask:
        layer = torch.cat([layer, blob(h, w, rng)])
    unit = float(camera.field(grid).norm(dim=-1).mean())
    places = camera.places(grid, camera.progress(num_frames) * pixels / max(unit, 1e-3))
    if displacement is not None:
        places = places + displacement
    return look_up(layer, places)
