"""CLIP image embedding (Radford et al. 2021); never downloads weights.

The vision transformer of the published models is implemented here. open_clip, which is slower to import than torch, is
imported only for an architecture that is not beside the configuration or is not a plain vision transformer.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid import paths
from img2vid.documents import read_json
from img2vid.engine.nets.blocks import to_tokens
from img2vid.errors import ConfigError, shown

if TYPE_CHECKING:
    from img2vid.engine.config import OpenCLIPImageConfig

SIDE = 224
"""Side of CLIP's square input in pixels; images are resized without keeping the aspect ratio."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
PLAIN: Mapping[str, set[str]] = {
    "vision_cfg": {"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers"},
}
"""Parameters of the architectures that `Clip` supports."""
TEXT_PARTS = ("transformer", "token_embedding", "ln_final", "positional_embedding", "text_projection", "logit_scale")


def architecture(arch: str, folder: Path | None) -> dict[str, Any]:
    """Return the parameters of an OpenCLIP architecture.

    They are read from `clip/<arch>.json` in `folder` or in configs/, with open_clip as the fallback.
    """
    files = [parent / "clip" / f"{arch}.json" for parent in (folder, paths.CONFIGS) if parent is not None]
    for file in files:
        if file.is_file():
            return _checked(read_json(file, error=ConfigError), file)
    import open_clip  # pyright: ignore[reportMissingTypeStubs]

    found: dict[str, Any] | None = cast(Any, open_clip).get_model_config(arch)
    if found is None:
        raise ConfigError(f"CLIP architecture {arch!r} is unknown to open_clip and {files[0]} does not exist")
    return found


def _checked(value: Any, file: Path) -> dict[str, Any]:
    """Return `value`; raise ConfigError if a key that open_clip requires is missing."""
    for key, kind in (("embed_dim", int), ("vision_cfg", dict), ("text_cfg", dict)):
        if not isinstance(value, dict) or not isinstance(cast(dict[str, Any], value).get(key), kind):
            raise ConfigError(f"{file} is not a CLIP architecture: {key} is missing or has the wrong type")
    known = cast(dict[str, Any], value)
    layers = known["vision_cfg"].get("layers")
    if isinstance(layers, int) and layers > 100:
        raise ConfigError(f"{file} is not a CLIP architecture: vision_cfg has {shown(layers)} layers, at most 100 work")
    return known


def shrink(image: Tensor, side: int, antialias: bool) -> Tensor:
    """Resize (n, 3, H, W) to (n, 3, side, side), bicubic with aligned corners.

    With antialias, axes that shrink are blurred first with a Gaussian of sigma (factor - 1) / 2, truncated at two
    sigma, as in kornia, the reference's image library.
    """
    factors = [image.shape[-1] / side, image.shape[-2] / side]  # x, y
    if antialias and max(factors) > 1:
        sigmas = [max((factor - 1) / 2, 0.001) for factor in factors]
        widths = [max(int(4 * sigma), 3) // 2 * 2 + 1 for sigma in sigmas]
        for axis, (width, sigma) in enumerate(zip(widths, sigmas, strict=True)):
            image = _blur(image, width, sigma, dim=-1 - axis)
    return F.interpolate(image, (side, side), mode="bicubic", align_corners=True)


def _blur(image: Tensor, width: int, sigma: float, dim: int) -> Tensor:
    """Convolve (n, c, H, W) along one axis with a Gaussian of `width` taps; edges are reflected."""
    taps = torch.arange(width, dtype=torch.float32, device=image.device) - width // 2
    weights = torch.exp(-0.5 * (taps / sigma) ** 2)
    lines = image.movedim(dim, -1)
    padded = F.pad(lines.reshape(-1, 1, lines.shape[-1]), (width // 2, width // 2), mode="reflect")
    return F.conv1d(padded, (weights / weights.sum())[None, None]).view(lines.shape).movedim(-1, dim)


class ResidualBlock(nn.Module):
    """Pre-norm transformer block: self-attention and feed-forward layer."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, inner))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        """(n, s, c) -> (n, s, c)."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class VisionTransformer(nn.Module):
    """Vision transformer with a class token (Dosovitskiy et al. 2021)."""

    def __init__(self, embed_dim: int, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, patch = int(config["width"]), int(config["patch_size"])
        positions, scale = (SIDE // patch) ** 2 + 1, width**-0.5
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = _random(width, scale=scale)
        self.positional_embedding = _random(positions, width, scale=scale)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        heads, inner = width // int(config.get("head_width", 64)), int(width * float(config.get("mlp_ratio", 4)))
        blocks = nn.ModuleList(ResidualBlock(width, heads, inner) for _ in range(int(config["layers"])))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.proj = _random(width, embed_dim, scale=scale)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, SIDE, SIDE), normalized, -> (n, embed_dim)."""
        patches = to_tokens(self.conv1(pixels))
        x = torch.cat([self.class_embedding.expand(len(patches), 1, -1), patches], dim=1)
        x = self.ln_pre(x + self.positional_embedding)
        for block in self.transformer["resblocks"].children():
            x = block(x)
        return self.ln_post(x[:, 0]) @ self.proj


def _random(*shape: int, scale: float) -> nn.Parameter:
    """Return a parameter of uniform random values with standard deviation `scale`.

    Normal values on the meta device would import torch._dynamo, which takes longer to import than torch itself.
    """
    bound = math.sqrt(3) * scale
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class Clip(nn.Module):
    """Vision transformer, plus the text parameters in checkpoints other than the text transformer."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        super().__init__()
        embed_dim, text = int(parameters["embed_dim"]), parameters["text_cfg"]
        width = int(text.get("width", 512))
        self.visual = VisionTransformer(embed_dim, parameters["vision_cfg"])
        tokens = torch.zeros(int(text.get("vocab_size", 49408)), width)
        self.token_embedding: nn.Embedding = cast(Any, nn.Embedding).from_pretrained(tokens)
        self.ln_final = nn.LayerNorm(width)
        self.positional_embedding = nn.Parameter(torch.zeros(int(text.get("context_length", 77)), width))
        self.text_projection = nn.Parameter(torch.zeros(width, embed_dim))
        self.logit_scale = nn.Parameter(torch.zeros(()))


def build_clip(parameters: Mapping[str, Any]) -> nn.Module:
    """Return CLIP without its text transformer, built by open_clip if `Clip` does not support the architecture."""
    plain = set(parameters) <= {"embed_dim", *PLAIN}
    if plain and all(set(parameters[part]) <= names for part, names in PLAIN.items()):
        return Clip(parameters)
    import open_clip  # pyright: ignore[reportMissingTypeStubs]

    model = cast(Any, open_clip).CLIP(**parameters)
    del model.transformer
    return model


class OpenCLIPImageEmbedder(nn.Module):
    """CLIP image embedder with the submodule names of the checkpoints; `model` has no text transformer."""

    def __init__(self, config: "OpenCLIPImageConfig", folder: Path | None) -> None:
        super().__init__()
        self.antialias = config.antialias
        parameters = architecture(config.arch, folder)
        if parameters.get("vision_cfg", {}).get("image_size", SIDE) != SIDE:
            raise ConfigError(f"CLIP architecture {config.arch!r} must take images of {SIDE} x {SIDE} pixels")
        try:
            self.model = build_clip(parameters)
        except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise ConfigError(f"CLIP architecture {config.arch!r} cannot be built: {shown(error)}") from error

    def drop_text(self) -> None:
        """Remove the remaining text modules and parameters of CLIP."""
        for part in TEXT_PARTS:
            if hasattr(self.model, part):
                delattr(self.model, part)

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, H, W) in [-1, 1] -> (n, D) in float32, not normalized."""
        weights = next(self.model.parameters())
        pixels = shrink(image.float(), SIDE, self.antialias) / 2 + 0.5
        mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in (MEAN, STD))
        visual = cast(nn.Module, self.model.visual)
        return visual(((pixels - mean) / std).to(weights.dtype)).float()
