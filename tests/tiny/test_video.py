"""The network starts with the conditioning frame and learns from the right noise levels and layers."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from img2vid import paths
from img2vid.engine.config import load_config
from img2vid.engine.model import SvdModel
from scripts.tiny.clips import Clip, Size
from scripts.tiny.video import (
    SIGMA_MEAN,
    VideoStage,
    denoising_loss,
    encode_clip,
    is_temporal,
    noise_levels,
    start_still,
    train_network,
)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return [Image.fromarray(noise).resize((160, 96), Image.Resampling.BICUBIC)]


def fresh_model() -> SvdModel:
    torch.manual_seed(0)
    model = SvdModel(load_config(paths.CONFIGS / "svd_tiny.yaml"), paths.CONFIGS)
    start_still(model.network)
    return model.requires_grad_(False)


def still_clip(model: SvdModel, strength: float, brightness: float) -> Clip:
    """A clip that stays at its first frame; strength and brightness are its latents' own."""
    first = torch.randn(1, 3, 48, 80, generator=torch.Generator().manual_seed(3)).clamp(-1, 1)
    latents = encode_clip(model, first)
    latents = strength * (latents - latents.mean()) / latents.std() + brightness
    return Clip(latents.expand(14, -1, -1, -1), first, 0.0, 6.0)


@pytest.mark.parametrize(("strength", "brightness"), [(0.5, 0.0), (1.0, 0.0), (0.7, 0.6), (0.7, -0.6)])
def test_the_start_shows_the_conditioning_frame_with_its_contrast_and_its_brightness(
    monkeypatch: pytest.MonkeyPatch, strength: float, brightness: float
) -> None:
    model = fresh_model()
    clip = still_clip(model, strength, brightness)
    monkeypatch.setattr(model.conditioner, "encode_frame", lambda frame: clip.latents[:1])
    torch.manual_seed(0)
    loss = float(denoising_loss(model, [clip], random.Random(0), drop=0.0, at=[0.95]))
    assert loss < 0.1 * float(clip.latents.square().mean())


def test_noise_levels_are_log_normal() -> None:
    sigmas = noise_levels([0.1, 0.5, 0.9])
    assert float(sigmas[1].log()) == pytest.approx(SIGMA_MEAN)
    assert float(sigmas[0].log() + sigmas[2].log()) == pytest.approx(2 * SIGMA_MEAN, abs=1e-5)
    assert bool(noise_levels([0.0, 1.0]).isfinite().all())


def test_spatial_and_temporal_layers_are_told_apart_by_name() -> None:
    assert is_temporal("input_blocks.1.0.time_stack.in_layers.0.weight")
    assert is_temporal("middle_block.1.time_pos_embed.2.bias")
    assert is_temporal("middle_block.1.time_mixer.mix_factor")
    assert not is_temporal("time_embed.0.weight")
    assert not is_temporal("middle_block.1.transformer_blocks.0.attn1.to_q.weight")


def plan(*, pictures_only: bool) -> VideoStage:
    return VideoStage("short", Size(3, 16, 32), 2, 2, 1e-3, 1.0, fresh=0, pictures_only=pictures_only)


@pytest.mark.parametrize("pictures_only", [True, False])
def test_training_on_pictures_leaves_the_temporal_layers_alone(
    tmp_path: Path, pictures: list[Image.Image], pictures_only: bool
) -> None:
    model = fresh_model()
    before = {name: value.clone() for name, value in model.network.named_parameters()}
    train_network(model, pictures, pictures, tmp_path, plan(pictures_only=pictures_only), minutes=1, seed=1)
    changed = {name for name, value in model.network.named_parameters() if not torch.equal(value, before[name])}
    assert [name for name in changed if not is_temporal(name)]
    assert bool([name for name in changed if is_temporal(name)]) is not pictures_only
    assert not [name for name, value in model.named_parameters() if value.requires_grad]
