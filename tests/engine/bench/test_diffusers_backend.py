"""diffusers backend: widths match the configuration, and unsupported models are rejected."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_models import CPU

from img2vid import paths
from img2vid.engine.bench.backends import Model, Shape, load_backend
from img2vid.engine.bench.diffusers_backend import autoencoder_arguments, load, network_arguments, vision_arguments
from img2vid.engine.bench.middle_size import write_middle
from img2vid.engine.config import load_config
from img2vid.errors import EngineUnavailable

SVD = paths.CONFIGS / "svd.yaml"


def test_the_widths_of_svd_are_those_of_its_published_model() -> None:
    config = load_config(SVD)
    network = network_arguments(config)
    assert network["block_out_channels"] == (320, 640, 1280, 1280)
    assert network["num_attention_heads"] == (5, 10, 20, 20)
    assert network["cross_attention_dim"] == 1024
    assert network["down_block_types"] == (*["CrossAttnDownBlockSpatioTemporal"] * 3, "DownBlockSpatioTemporal")
    assert network["up_block_types"] == ("UpBlockSpatioTemporal", *["CrossAttnUpBlockSpatioTemporal"] * 3)
    assert (network["addition_time_embed_dim"], network["projection_class_embeddings_input_dim"]) == (256, 768)
    autoencoder = autoencoder_arguments(config)
    assert (autoencoder["block_out_channels"], autoencoder["layers_per_block"]) == ((128, 256, 512, 512), 2)
    vision = vision_arguments(config, SVD.parent)
    assert (vision["hidden_size"], vision["num_hidden_layers"], vision["num_attention_heads"]) == (1280, 32, 16)
    assert (vision["intermediate_size"], vision["projection_dim"], vision["patch_size"]) == (5120, 1024, 14)


@pytest.mark.parametrize(
    ("config", "reason"),
    [("svd_image_decoder.yaml", "frame-by-frame decoder"), ("svd_tiny.yaml", "have different widths")],
)
def test_an_unsupported_model_is_rejected(config: str, reason: str) -> None:
    with pytest.raises(EngineUnavailable, match=reason):
        autoencoder_arguments(load_config(paths.CONFIGS / config))


def test_the_error_says_how_to_install_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(EngineUnavailable, match=r"pip install -r requirements/bench\.txt"):
        load(load_config(SVD), SVD.parent, "cpu", "fp32")


@pytest.mark.skipif(importlib.util.find_spec("diffusers") is None, reason="the package diffusers is not installed")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_clip_has_the_requested_size(tmp_path: Path, precision: str) -> None:
    config = write_middle(SVD, tmp_path)
    backend = load_backend("diffusers", Model(str(config), "", replace(CPU, precision=precision)))
    shape = Shape(64, 64, 2, 2, steps=2)
    embedding, latents = backend.prepare("condition", shape)()
    assert (embedding.shape, latents.shape) == ((1, 64), (1, 4, 8, 8))
    (sampled,) = backend.prepare("step", shape)()
    assert sampled.shape == (2, 4, 8, 8)
    (frames,) = backend.prepare("decode", shape)()
    assert (frames.shape, frames.dtype) == ((2, 3, 64, 64), torch.float32)
