"""CLIP image embedding: resizing, the vision transformer, and no downloads."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch.nn import functional as F

from img2vid import paths
from img2vid.engine.config import OpenCLIPImageConfig
from img2vid.engine.nets.clip import MEAN, STD, Clip, OpenCLIPImageEmbedder, architecture, build_clip, shrink
from img2vid.errors import ConfigError

SMALL: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 224, "layers": 1, "width": 32, "head_width": 16, "patch_size": 56},
    "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 1, "layers": 1},
}


def write_architecture(folder: Path, content: str) -> None:
    (folder / "clip").mkdir(exist_ok=True)
    (folder / "clip" / "small.json").write_text(content, encoding="utf-8")


@pytest.fixture
def embedder(tmp_path: Path) -> OpenCLIPImageEmbedder:
    write_architecture(tmp_path, json.dumps(SMALL))
    made = OpenCLIPImageEmbedder(OpenCLIPImageConfig(arch="small"), tmp_path).eval().requires_grad_(False)
    made.drop_text()
    return made


# Resizing


@pytest.mark.parametrize("size", [(64, 96), (224, 224), (300, 520), (1024, 64)])
@pytest.mark.parametrize("antialias", [True, False])
def test_plain_pictures_stay_plain(size: tuple[int, int], antialias: bool) -> None:
    small = shrink(torch.full((1, 3, *size), 0.3), 224, antialias)
    torch.testing.assert_close(small, torch.full((1, 3, 224, 224), 0.3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(40, 60), (300, 520)])
def test_corners_keep_their_places(size: tuple[int, int]) -> None:
    picture = torch.randn(1, 3, *size)
    small = shrink(picture, 224, antialias=False)
    torch.testing.assert_close(small[..., ::223, ::223], picture[..., :: size[0] - 1, :: size[1] - 1])


def test_bigger_pictures_are_blurred_before_they_shrink() -> None:
    checkers = (torch.arange(672)[:, None] + torch.arange(672)).remainder(2).float().expand(1, 3, -1, -1)
    smooth, jagged = (shrink(checkers, 224, antialias) for antialias in (True, False))
    assert smooth[..., 4:-4, 4:-4].std() < 0.05 * jagged.std()
    assert float(smooth.mean()) == pytest.approx(0.5, abs=0.01)


def test_smaller_pictures_are_not_blurred() -> None:
    picture = torch.randn(1, 3, 100, 224)
    torch.testing.assert_close(shrink(picture, 224, antialias=True), shrink(picture, 224, antialias=False))


def test_each_axis_is_blurred_by_its_own_factor() -> None:
    """One axis shrinks to a quarter and the other grows: only the first is blurred."""
    across = torch.arange(896).remainder(2).float()[:, None].expand(1, 3, 896, 112)
    along = torch.arange(112).remainder(2).float().expand(1, 3, 896, 112)
    assert shrink(across, 224, antialias=True)[..., 4:-4, 4:-4].std() < 0.01
    assert shrink(along, 224, antialias=True).std() > 0.3


# Embedding


def test_embeds_normalised_pixels_of_the_squeezed_picture(embedder: OpenCLIPImageEmbedder) -> None:
    picture = torch.rand(2, 3, 64, 128) * 2 - 1
    found = embedder(picture)
    squeezed = F.interpolate(picture, (224, 224), mode="bicubic", align_corners=True) / 2 + 0.5
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    assert found.shape == (2, 16)
    visual: Any = embedder.model.visual
    torch.testing.assert_close(found, visual((squeezed - mean) / std))


def test_half_precision_weights_give_full_precision_answers(embedder: OpenCLIPImageEmbedder) -> None:
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    full = embedder(picture)
    half = embedder.to(torch.bfloat16)(picture)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, atol=0.1, rtol=0.1)


def test_only_the_vision_tower_is_kept(embedder: OpenCLIPImageEmbedder) -> None:
    assert all(name.startswith("model.visual.") for name in embedder.state_dict())


@pytest.mark.parametrize("change", [{}, {"mlp_ratio": 2.0, "head_width": 8}])
def test_the_vision_transformer_is_open_clips(tmp_path: Path, change: dict[str, Any]) -> None:
    parameters = {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], "layers": 2, **change}}
    theirs = open_clip.CLIP(**parameters).eval()
    del theirs.transformer
    for parameter in theirs.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    ours = build_clip(parameters).eval()
    assert isinstance(ours, Clip)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(ours.visual(pixels), theirs.visual(pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", [{"quick_gelu": True}, {"vision_cfg": {**SMALL["vision_cfg"], "ls_init_value": 0.1}}])
def test_other_architectures_are_built_by_open_clip(part: dict[str, Any]) -> None:
    assert isinstance(build_clip({**SMALL, **part}), open_clip.CLIP)


def test_the_published_architecture_is_open_clips() -> None:
    assert architecture("ViT-H-14", None) == open_clip.get_model_config("ViT-H-14")


def test_the_blur_is_that_of_the_references_library() -> None:
    """kornia and torchvision use the same kernel: a truncated Gaussian with reflected edges."""
    from torchvision.transforms.functional import gaussian_blur

    picture = torch.rand(1, 3, 300, 520)
    sigmas = [(520 / 224 - 1) / 2, (300 / 224 - 1) / 2]
    widths = [max(int(4 * sigma), 3) // 2 * 2 + 1 for sigma in sigmas]
    blurred = gaussian_blur(picture, widths, sigmas)
    expected = F.interpolate(blurred, (224, 224), mode="bicubic", align_corners=True)
    torch.testing.assert_close(shrink(picture, 224, antialias=True), expected, rtol=1e-5, atol=1e-5)


# Architectures


def test_unknown_architectures_are_rejected_with_the_path_searched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'ViT-X' is unknown to open_clip and .*clip.ViT-X\.json does not exist"):
        architecture("ViT-X", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "\x00",
        "[]",
        "5",
        '{"embed_dim": 16, "vision_cfg": {}}',
        '{"vision_cfg": 5}',
        '{"a":' * 5000,
        '{"embed_dim": 16, "vision_cfg": {"layers": 1000000000}, "text_cfg": {}}',
    ],
)
def test_damaged_architectures_are_refused(tmp_path: Path, content: str) -> None:
    write_architecture(tmp_path, content)
    with pytest.raises(ConfigError, match=r"small\.json is not (a CLIP architecture|valid JSON)"):
        architecture("small", tmp_path)


@pytest.mark.parametrize("change", [{"width": "wide"}, {"patch_size": 0}, {"width": None}, {"head_width": 1000}])
def test_architectures_that_cannot_be_built_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    write_architecture(tmp_path, json.dumps({**SMALL, "vision_cfg": {**SMALL["vision_cfg"], **change}}))
    with pytest.raises(ConfigError, match="CLIP architecture 'small' cannot be built: "):
        OpenCLIPImageEmbedder(OpenCLIPImageConfig(arch="small"), tmp_path)


def test_other_picture_sizes_are_refused(tmp_path: Path) -> None:
    write_architecture(tmp_path, json.dumps({**SMALL, "vision_cfg": {**SMALL["vision_cfg"], "image_size": 336}}))
    with pytest.raises(ConfigError, match="'small' must take images of 224 x 224"):
        OpenCLIPImageEmbedder(OpenCLIPImageConfig(arch="small"), tmp_path)


def test_nothing_is_downloaded_even_if_the_configuration_names_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a download was tried")

    for name in ("create_model", "create_model_and_transforms", "load_checkpoint", "download_pretrained"):
        monkeypatch.setattr(open_clip, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    config = OpenCLIPImageConfig(arch="ViT-H-14", version="laion2b_s32b_b79k")
    with torch.device("meta"):
        made = OpenCLIPImageEmbedder(config, None)
    assert {parameter.device.type for parameter in made.parameters()} == {"meta"}


def test_a_model_is_loaded_without_importing_open_clip(random_checkpoint: Path) -> None:
    """open_clip is slower to import than torch, which would delay every worker and command."""
    program = f"""
import sys
from img2vid.engine import load_engine
from img2vid.options import LoadOptions
load_engine({str(paths.CONFIGS / "svd_tiny.yaml")!r}, {str(random_checkpoint)!r}, LoadOptions(device="cpu"))
print([name for name in ("open_clip", "torchvision", "timm", "torch._inductor") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=paths.PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
