"""The network starts with the conditioning frame and trains the right noise levels and layers."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training.clips import Clip, Size
from training.start import start_still
from training.video import (
    SIGMA_MEAN,
    VideoStage,
    denoising_loss,
    encode_clip,
    is_inner,
    noise_levels,
    train_network,
)

from img2vid import paths
from img2vid.engine.config import load_config
from img2vid.engine.model import SvdModel


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
    """Return a clip that stays at its first frame; strength and brightness set its latents."""
    first = torch.randn(1, 3, 48, 80, generator=torch.Generator().manual_seed(3)).clamp(-1, 1)
    latents = encode_clip(model, first)
    latents = strength * (latents - latents.mean()) / latents.std() + brightness
    return Clip(latents.expand(14, -1, -1, -1), first, 0.0, 6.0, torch.randn(2, 12, 20))


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


def test_inner_weights_are_found_by_name_and_shape() -> None:
    matrix, vector = torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2))
    assert is_inner("network.input_blocks.1.0.time_stack.in_layers.2.weight", matrix)
    assert is_inner("network.middle_block.1.transformer_blocks.0.attn1.to_q.weight", matrix)
    for name in ("input_blocks.0.0.weight", "out.2.weight", "time_embed.0.weight", "label_emb.0.0.weight"):
        assert not is_inner(f"network.{name}", matrix)
    assert not is_inner("network.output_blocks.5.0.skip_connection.weight", matrix)
    assert not is_inner("network.middle_block.0.in_layers.2.bias", vector)
    assert not is_inner("clip.open_clip.model.visual.proj", matrix)


def test_a_step_trains_the_network_and_the_clip_and_nothing_else(tmp_path: Path, pictures: list[Image.Image]) -> None:
    model = fresh_model()
    before = {name: value.clone() for name, value in model.named_parameters()}
    plan = VideoStage("short", "", Size(3, 16, 32), 2, 2, 1e-3, 1.0, fresh=0)
    train_network(model, pictures, pictures, tmp_path, plan, minutes=1, seed=1)
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    trained = ("model.diffusion_model.", "conditioner.embedders.0.")
    assert {prefix for prefix in trained if any(name.startswith(prefix) for name in changed)} == set(trained)
    assert all(name.startswith(trained) for name in changed)
    assert not [name for name, value in model.named_parameters() if value.requires_grad]


def test_weights_before_a_stage_have_their_share_in_those_after_it(tmp_path: Path, pictures: list[Image.Image]) -> None:
    before = dict(fresh_model().named_parameters())
    trained: list[dict[str, torch.Tensor]] = []
    for kept in (0.0, 0.25):
        model = fresh_model()
        plan = VideoStage("short", "", Size(3, 16, 32), 2, 2, 1e-3, 1.0, fresh=0, kept=kept)
        train_network(model, pictures, pictures, tmp_path / str(kept), plan, minutes=1, seed=1)
        trained.append(dict(model.named_parameters()))
    for name, value in before.items():
        expected = 0.75 * trained[0][name] + 0.25 * value
        torch.testing.assert_close(trained[1][name], expected, rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(trained[0][name], value) for name, value in before.items())
