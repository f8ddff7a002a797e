"""Arguments that `load_engine` rejects, and the resolution of "auto"."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_models import CPU, golden_model

from img2vid.engine import load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.loading import make_device, resolve
from img2vid.errors import BadInput, ConfigError
from img2vid.options import LoadOptions

GOLDEN = golden_model("tiny_svd")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precision": "fp8"}, "precision must be one of auto, fp32, fp16, bf16, got 'fp8'"),
        ({"decoder_precision": "fp8"}, "decoder_precision must be one of auto, fp32, fp16, bf16, got 'fp8'"),
        ({"memory": "cloud"}, "memory must be one of auto, resident, stages, blocks, got 'cloud'"),
        (
            {"memory": "stages"},
            "memory stages requires a device with its own memory, got cpu; choose memory auto or resident",
        ),
        ({"provider": "diffusers"}, "provider must be one of auto, native, sgm, got 'diffusers'"),
        ({"device": "gpu"}, "device 'gpu' is unknown; choose cpu, cuda, cuda:1 or mps"),
        ({"device": ""}, "device '' is unknown"),
        ({"device": "cuda:x"}, "device 'cuda:x' is unknown"),
    ],
)
def test_unknown_choices_are_rejected_with_the_known_ones(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        load_engine(GOLDEN.config, GOLDEN.checkpoint, replace(CPU, **options))


def test_the_configuration_is_checked_before_the_checkpoint() -> None:
    with pytest.raises(ConfigError, match="there is no model configuration"):
        load_engine(GOLDEN.config.with_name("missing.yaml"), GOLDEN.checkpoint.with_name("missing.safetensors"), CPU)


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


@pytest.mark.parametrize(
    ("options", "memory"),
    [
        (LoadOptions(device="cpu"), "resident"),
        (LoadOptions(device="cuda:1"), "auto"),
        (LoadOptions(device="mps"), "resident"),
        (LoadOptions("sgm", "cuda"), "resident"),
        (LoadOptions(device="cuda", memory="blocks"), "blocks"),
    ],
)
def test_auto_memory_depends_on_the_clip_on_a_gpu(options: LoadOptions, memory: str) -> None:
    assert resolve(options).memory == memory


def test_explicit_options_are_kept() -> None:
    assert resolve(LoadOptions(device="cpu", precision="bf16")).precision == "bf16"
    assert resolve(LoadOptions(device="cuda:1")).precision == "fp16"


def test_paths_may_be_strings_and_the_engine_has_its_sizes(small_engine: NativeEngine) -> None:
    engine = load_engine(str(GOLDEN.config), str(GOLDEN.checkpoint), replace(CPU, provider="native"))
    for found in (engine, small_engine):
        assert (found.size_step, found.downsampling, found.latent_channels) == (16, 8, 4)
        assert found.scale_factor == 0.18215
