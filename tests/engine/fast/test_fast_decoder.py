"""The fast decoder matches the plain decoder for every tile size."""

from typing import Any

import pytest
import torch
from golden_models import NAMES, golden_model, relative_error
from torch import Tensor

from img2vid.engine.config import AutoencodingEngineConfig, load_config
from img2vid.engine.fast.decoder import FastDecoder
from img2vid.engine.fast.tile_plan import MIB, TilePlan
from img2vid.engine.model import build_first_stage
from img2vid.engine.nets.autoencoder import Autoencoder

TOLERANCE = 1e-5


def plain(name: str, **changes: Any) -> Autoencoder:
    """Return an autoencoder with random weights in which every part affects the result."""
    config = load_config(golden_model(name).config).first_stage_config
    if changes:
        assert isinstance(config, AutoencodingEngineConfig)
        shape = config.decoder_config.model_copy(update=changes)
        config = config.model_copy(update={"decoder_config": shape})
    torch.manual_seed(4)
    net = build_first_stage(config).eval().requires_grad_(False)
    for parameter in net.parameters():
        if parameter.ndim == 1:
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def latents(frames: int) -> Tensor:
    return torch.randn(frames, 4, 6, 10, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("budget", [1, 50_000, 512 * MIB])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_clips(name: str, frames: int, budget: int) -> None:
    net = plain(name)
    expected = net.decode(latents(frames))
    found = FastDecoder(net, TilePlan(budget))(latents(frames))
    assert found.shape == expected.shape
    assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize("budget", [1, 50_000, 512 * MIB])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_clips_in_less_memory(name: str, frames: int, budget: int) -> None:
    net = plain(name)
    expected = net.decode(latents(frames))
    decoder = FastDecoder(net, TilePlan(budget))
    decoder.low_memory = True
    assert relative_error(decoder(latents(frames)), expected) <= TOLERANCE


@pytest.mark.parametrize("low_memory", [False, True])
@torch.inference_mode()
def test_kernels_over_space_and_time(low_memory: bool) -> None:
    net = plain("tiny_svd", video_kernel_size=[3, 3, 3])
    expected = net.decode(latents(3))
    decoder = FastDecoder(net, TilePlan(50_000))
    decoder.low_memory = low_memory
    assert relative_error(decoder(latents(3)), expected) <= TOLERANCE


@torch.inference_mode()
def test_latents_are_not_modified() -> None:
    z = latents(2)
    FastDecoder(plain("tiny_svd"), TilePlan(50_000))(z)
    assert torch.equal(z, latents(2))
