"""Arguments that `load_engine` rejects, and the resolution of "auto"."""

from typing import Any

import pytest
import torch
from golden_models import golden_model

from img2vid.engine import load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.loading import choose_device, choose_memory, choose_precision, make_device
from img2vid.errors import BadInput, ConfigError

GOLDEN = golden_model("tiny_svd")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precision": "fp8"}, "precision 'fp8' is unknown; choose one of fp32, fp16, bf16"),
        ({"precision": "auto"}, "precision 'auto' is unknown"),
        ({"decoder_precision": "fp8"}, "decoder_precision 'fp8' is unknown; choose one of fp32, fp16, bf16"),
        ({"memory": "cloud"}, "memory 'cloud' is unknown; choose one of resident, stages, blocks, auto"),
        (
            {"memory": "stages"},
            "memory stages requires a device with its own memory, got cpu; choose memory auto or resident",
        ),
        ({"provider": "diffusers"}, "provider 'diffusers' is unknown; choose native or sgm"),
        ({"device": "gpu"}, "device 'gpu' is unknown; choose cpu, cuda, cuda:1 or mps"),
        ({"device": ""}, "device '' is unknown"),
        ({"device": "cuda:x"}, "device 'cuda:x' is unknown"),
    ],
)
def test_unknown_choices_are_rejected_with_the_known_ones(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        load_engine(GOLDEN.config, GOLDEN.checkpoint, **options)


def test_the_configuration_is_checked_before_the_checkpoint() -> None:
    with pytest.raises(ConfigError, match="there is no model configuration"):
        load_engine(GOLDEN.config.with_name("missing.yaml"), GOLDEN.checkpoint.with_name("missing.safetensors"))


def test_a_missing_gpu_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="torch finds no NVIDIA GPU; choose cpu, or install torch with CUDA"):
        make_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(BadInput, match="device 'mps' is unavailable on this machine; choose cpu"):
        make_device("mps")


def test_only_existing_gpus_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(make_device(name)) for name in ("cuda", "cuda:0", "cuda:1")] == ["cuda", "cuda:0", "cuda:1"]
    with pytest.raises(BadInput, match="device 'cuda:2' is unavailable, GPUs found: 2; choose cuda:0"):
        make_device("cuda:2")


@pytest.mark.parametrize(("card", "device", "precision"), [(True, "cuda", "fp16"), (False, "cpu", "fp32")])
def test_auto_chooses_the_gpu_if_there_is_one(
    card: bool, device: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    assert choose_device("auto") == device
    assert choose_precision("auto", device) == precision


@pytest.mark.parametrize(
    ("device", "provider", "memory"),
    [
        ("cpu", "native", "resident"),
        ("cuda:1", "native", "auto"),
        ("mps", "native", "resident"),
        ("cuda", "sgm", "resident"),
    ],
)
def test_auto_memory_depends_on_the_clip_on_a_gpu(device: str, provider: str, memory: str) -> None:
    assert choose_memory("auto", device, provider) == memory
    assert choose_memory("blocks", device, provider) == "blocks"


def test_explicit_choices_are_kept() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_precision("bf16", "cpu") == "bf16"
    assert choose_precision("auto", "cuda:1") == "fp16"


def test_paths_may_be_strings_and_the_engine_has_its_sizes(small_engine: NativeEngine) -> None:
    engine = load_engine(str(GOLDEN.config), str(GOLDEN.checkpoint), provider="native", device="cpu")
    for found in (engine, small_engine):
        assert (found.size_step, found.downsampling, found.latent_channels) == (16, 8, 4)
        assert found.scale_factor == 0.18215
