"""The picture's CLIP embedding, through open_clip's vision tower; no weights are ever downloaded."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import open_clip  # pyright: ignore[reportMissingTypeStubs]
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur  # pyright: ignore[reportMissingTypeStubs]

from img2vid.errors import ConfigError

if TYPE_CHECKING:
    from img2vid.engine.config import OpenCLIPImageConfig

SIDE = 224
"""CLIP sees the picture squeezed to a square of this many pixels."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
TEXT_PARTS = ("transformer", "token_embedding", "ln_final", "positional_embedding", "text_projection", "logit_scale")


def architecture(arch: str, folder: Path | None) -> dict[str, Any]:
    """The parameters of an OpenCLIP architecture: `clip/<arch>.json` in `folder`, or one that open_clip knows."""
    own = None if folder is None else folder / "clip" / f"{arch}.json"
    if own is not None and own.is_file():
        try:
            return _checked(json.loads(own.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ConfigError(f"{own} is not a CLIP architecture in JSON: {error}") from error
    found: dict[str, Any] | None = cast(Any, open_clip).get_model_config(arch)
    if found is None:
        raise ConfigError(f"CLIP architecture {arch!r} is unknown to open_clip and {own} does not exist")
    return found


def _checked(value: Any) -> dict[str, Any]:
    """The same, or ValueError where a part is missing that open_clip needs."""
    for key, kind in (("embed_dim", int), ("vision_cfg", dict), ("text_cfg", dict)):
        if not isinstance(value, dict) or not isinstance(cast(dict[str, Any], value).get(key), kind):
            raise ValueError(f"{key!r} is missing or of another kind")
    return cast(dict[str, Any], value)


def shrink(image: Tensor, side: int, antialias: bool) -> Tensor:
    """Resizes (n, 3, H, W) to (n, 3, side, side), bicubic with the corners aligned.

    Axes that shrink are blurred first: a Gaussian of sigma (factor - 1) / 2, cut off at two sigma, as the reference's
    picture library does it.
    """
    factors = [image.shape[-1] / side, image.shape[-2] / side]  # x, y
    if antialias and max(factors) > 1:
        sigmas = [max((factor - 1) / 2, 0.001) for factor in factors]
        widths = [max(int(4 * sigma), 3) // 2 * 2 + 1 for sigma in sigmas]
        image = gaussian_blur(image, widths, sigmas)
    return F.interpolate(image, (side, side), mode="bicubic", align_corners=True)


class OpenCLIPImageEmbedder(nn.Module):
    """Named as the checkpoints name it; `model` is open_clip's CLIP without the text transformer."""

    def __init__(self, config: "OpenCLIPImageConfig", folder: Path | None) -> None:
        super().__init__()
        self.antialias = config.antialias
        parameters = architecture(config.arch, folder)
        if parameters.get("vision_cfg", {}).get("image_size", SIDE) != SIDE:
            raise ConfigError(f"CLIP architecture {config.arch!r} must take pictures of {SIDE} x {SIDE} pixels")
        self.model = cast(nn.Module, open_clip.CLIP(**parameters))
        del self.model.transformer

    def forget_text(self) -> None:
        """Drops what is left of CLIP's text half."""
        for part in TEXT_PARTS:
            if hasattr(self.model, part):
                delattr(self.model, part)

    def forward(self, image: Tensor) -> Tensor:
        """image: (n, 3, H, W) in [-1, 1], returns (n, D) in float32, not normalised."""
        weights = next(self.model.parameters())
        pixels = shrink(image.float(), SIDE, self.antialias) / 2 + 0.5
        mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in (MEAN, STD))
        visual = cast(nn.Module, self.model.visual)
        return visual(((pixels - mean) / std).to(weights.dtype)).float()
