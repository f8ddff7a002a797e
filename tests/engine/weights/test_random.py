"""Checkpoints with random weights: activations keep their magnitude in every format."""

from pathlib import Path

import pytest
import torch
from golden_models import CPU, golden_model
from safetensors.torch import load_file

from img2vid.engine import ConditioningSettings, SamplerSettings, load_engine
from img2vid.engine.weights.random import write_random_checkpoint

CONFIG = golden_model("tiny_svd").config


def test_an_engine_loads_them_and_its_results_are_of_a_sensible_size(tmp_path: Path) -> None:
    engine = load_engine(CONFIG, write_random_checkpoint(CONFIG, tmp_path / "random.safetensors", 0), CPU)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    settings = ConditioningSettings(0.02, 2, fps=7, motion_bucket_id=127)
    cond, uncond = engine.condition(image, settings, cond_noise=torch.zeros_like(image))
    noise = torch.randn(2, engine.latent_channels, 64 // engine.downsampling, 64 // engine.downsampling)
    latents = engine.sample(noise, cond, uncond, SamplerSettings(num_steps=1))
    frames = engine.decode(noise * engine.scale_factor, 2)
    for values in (cond.crossattn, cond.concat / engine.scale_factor, latents, frames):
        assert 0.01 < values.std() < 100


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_the_numbers_are_the_same_in_every_format(tmp_path: Path, precision: str, dtype: torch.dtype) -> None:
    wide = load_file(write_random_checkpoint(CONFIG, tmp_path / "wide.safetensors", 3))
    narrow = load_file(write_random_checkpoint(CONFIG, tmp_path / "narrow.safetensors", 3, precision))  # type: ignore[arg-type]
    assert set(wide) == set(narrow)
    assert all(torch.equal(narrow[name], tensor.to(dtype)) for name, tensor in wide.items())


def test_another_seed_gives_other_numbers(tmp_path: Path) -> None:
    one, other = (load_file(write_random_checkpoint(CONFIG, tmp_path / str(seed), seed)) for seed in (1, 2))
    assert not any(torch.equal(one[name], other[name]) for name in one)
