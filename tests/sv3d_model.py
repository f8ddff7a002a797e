"""A small SV3D with random weights: its version row, and pictures of an object."""

from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageDraw

from img2vid.versions import ModelVersion

GOLDEN = Path(__file__).parent / "data" / "golden"


def small_row(name: str, folder: Path = GOLDEN) -> dict[str, Any]:
    """Return the row of `sv3d_p` or `sv3d_u` with a small network, which makes 6 or 5 views of 64 x 64 pixels."""
    files = folder / f"tiny_{name}"
    return {
        "num_frames": 6 if name == "sv3d_p" else 5,
        "height": 64,
        "width": 64,
        "downsampling": 8,
        "size_step": 16,
        "config": str(files / "config.yaml"),
        "checkpoint": str(files / "weights.safetensors"),
        "orbit": "posed" if name == "sv3d_p" else "level",
        "defaults": {"num_steps": 2, "guider": "TrianglePredictionGuider", "cond_aug": 1e-5, "fitting": "object"},
        "licence": "MIT",
        "source": "random weights",
    }


def small_version(name: str) -> ModelVersion:
    return ModelVersion.model_validate({"name": name, **small_row(name)})


def small_rows() -> str:
    """Return both rows as YAML."""
    return yaml.safe_dump({name: small_row(name) for name in ("sv3d_u", "sv3d_p")})


def object_picture() -> Image.Image:
    """Return a picture of a red and green disk with a transparent background."""
    image = Image.new("RGBA", (90, 70), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((20, 10, 60, 50), fill=(200, 30, 30, 255))
    ImageDraw.Draw(image).ellipse((35, 15, 55, 35), fill=(30, 160, 30, 255))
    return image
