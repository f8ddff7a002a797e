"""Training and held-out images, all under free licenses, from well-maintained packages.

scikit-image and scikit-learn ship some; Debian's packages lomiri-wallpapers-16.04 and -20.04 have large photographs
(`--pictures` is the folder with their contents). No image in `assets/` is among them.
"""

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SCIKIT_IMAGE = (
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
)
LOMIRI = (
    "Bridge_by_Sander_Klootwijk.jpg",
    "Dragonfly_by_Bolly.jpg",
    "Fossa_by_Jasper_Roks.jpg",
    "Infinite-Sea_by_Aury88.jpg",
    "Kleiber_by_Lukas_Baubkus.jpg",
    "Painting-Colors_by__herobrine7gamer.jpg",
    "Picture_0B_by_freespace.jpg",
    "Picture_1A_by_freespace.jpg",
    "Wine_by_Jakkub_Mede.jpg",
    "aitzgorri_by_Aitzol_Berasategi.jpg",
    "analogpattern_by_Peter_Nerlich.jpg",
    "free_by_Peter_Nerlich.jpg",
    "greentock_by_Peter_Nerlich.jpg",
    "sunset_by_Aitzol_Berasategi.jpg",
    "umang_by_Abhishek_Mudgal.jpg",
)
KEPT_APART = ("astronaut.png", "rocket.jpg", "china.jpg", "flower.jpg")
"""A portrait, a rocket at dawn, a temple, a flower: never trained on."""
LONGEST = 2048
"""Largest side of images in memory; the small models need far less."""


def training_pictures(folder: Path | None) -> list[Image.Image]:
    """Return every available training image."""
    paths = [path for name in SCIKIT_IMAGE if (path := _scikit_image() / name).is_file()]
    if folder is not None:
        paths += [path for name in LOMIRI for path in sorted(folder.rglob(name))]
    return [_load(path) for path in paths]


def kept_apart_pictures() -> dict[str, Image.Image]:
    """Return the held-out images by name."""
    folders = [_scikit_image(), _scikit_learn()]
    found = {name: next(f / name for f in folders if (f / name).is_file()) for name in KEPT_APART}
    return {Path(name).stem: _load(path) for name, path in found.items()}


def _scikit_image() -> Path:
    import skimage

    return Path(skimage.__file__).parent / "data"


def _scikit_learn() -> Path:
    import sklearn

    return Path(sklearn.__file__).parent / "datasets" / "images"


def _load(path: Path) -> Image.Image:
    image = Image.open(path).convert("RGB")
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return image


def random_crop(image: Image.Image, height: int, width: int, rng: random.Random, smallest: float = 1.0) -> Tensor:
    """Return a random crop at a random scale as (3, height, width) in [-1, 1], mirrored with probability 1/2.

    The crop is at least `smallest` times the requested size; its size is uniform on a logarithmic scale.
    """
    largest = min(image.width / width, image.height / height)
    low = min(smallest, largest)
    scale = low * (largest / low) ** rng.random()
    w, h = width * scale, height * scale
    x, y = rng.uniform(0, image.width - w), rng.uniform(0, image.height - h)
    part = image.resize((width, height), Image.Resampling.LANCZOS, box=(x, y, x + w, y + h), reducing_gap=2.0)
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return to_tensor(part)


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an image to (3, h, w) in [-1, 1]."""
    return torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


def vary_color(x: Tensor, rng: random.Random) -> Tensor:
    """Vary brightness, contrast and color balance slightly; x: (..., 3, h, w) in [-1, 1]."""
    gain = torch.tensor([rng.uniform(0.8, 1.15) * rng.uniform(0.9, 1.1) for _ in range(3)])[:, None, None]
    return (x * gain + rng.uniform(-0.15, 0.15)).clamp(-1, 1)
