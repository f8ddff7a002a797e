"""Copies in fp16 and bf16: same names and shapes, values rounded as in torch, written completely or not at all."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_models import CPU
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from img2vid import paths
from img2vid.checkpoints.copies import write_copy
from img2vid.checkpoints.header import precision_of, read_header
from img2vid.engine import load_engine
from img2vid.engine.weights import conversion
from img2vid.engine.weights.conversion import Converted, size_of_copy
from img2vid.errors import BadInput, Cancelled, CheckpointError

UNET = "model.diffusion_model."


def convert(source: Path, target: Path, precision: str, on_bytes: Any = None) -> Converted:
    """Convert as the command line does."""
    return write_copy(target, lambda file: conversion.convert(source, file, precision, on_bytes))


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Return a small checkpoint in float32, with an integer tensor and metadata."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(3,), (40, 8, 3, 3), (), (1, 500), (16, 16)]
    tensors = {f"{UNET}{n}.time_stack.weight": torch.randn(shapes[n % 5], generator=generator) for n in range(40)}
    tensors["conditioner.positions"] = torch.arange(5)
    path = tmp_path / "wide.safetensors"
    save_file(tensors, path, metadata={"made by": "a test"})
    return path


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_a_copy_holds_the_same_in_half_the_bytes(
    wide: Path, tmp_path: Path, precision: str, dtype: torch.dtype
) -> None:
    target = tmp_path / "copy.safetensors"
    expected = size_of_copy(wide, precision)
    done = convert(wide, target, precision)
    assert done.bytes == expected == target.stat().st_size
    assert 0.5 < expected / wide.stat().st_size < 0.55
    before, after = load_file(wide), load_file(target)
    assert before.keys() == after.keys()
    assert (done.tensors, done.changed) == (len(before), len(before) - 1)
    for name, tensor in before.items():
        wanted = tensor.to(dtype) if tensor.is_floating_point() else tensor
        assert after[name].dtype == wanted.dtype and torch.equal(after[name], wanted), name
    assert precision_of(read_header(target)) == precision
    with safe_open(str(target), framework="pt") as file:  # type: ignore[no-untyped-call]
        assert file.metadata() == {"made by": "a test", "format": "pt"}


def test_the_file_is_read_in_parts_and_the_copy_is_the_same(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = convert(wide, tmp_path / "whole.safetensors", "fp16")
    monkeypatch.setattr(conversion, "MAPPED", 1 << 12)
    assert convert(wide, tmp_path / "parts.safetensors", "fp16") == whole


def test_tensors_are_aligned_to_their_item_size(wide: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.safetensors"
    convert(wide, target, "fp16")
    with target.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        rows = json.loads(file.read(length))
    assert length % 8 == 0
    sizes = {"F16": 2, "I64": 8}
    assert all(row["data_offsets"][0] % sizes[row["dtype"]] == 0 for name, row in rows.items() if name[0] != "_")


def test_a_copy_loads_and_is_the_model_in_fp16(random_checkpoint: Path, tmp_path: Path) -> None:
    wide, target = tmp_path / "wide.safetensors", tmp_path / "copy.safetensors"
    save_file({name: tensor.float() + 1e-6 for name, tensor in load_file(random_checkpoint).items()}, wide)
    convert(wide, target, "fp16")
    from img2vid.engine.backends.native import NativeEngine

    engines = [
        load_engine(paths.CONFIGS / "svd_tiny.yaml", path, replace(CPU, precision="fp16")) for path in (wide, target)
    ]
    nets = [engine.denoiser.network.state_dict() for engine in engines if isinstance(engine, NativeEngine)]
    assert len(nets) == 2
    assert all(torch.equal(tensor, nets[1][name]) for name, tensor in nets[0].items())


def test_a_stopped_copy_leaves_nothing(wide: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise Cancelled("stopped")

    before = {*tmp_path.iterdir()}
    with pytest.raises(Cancelled):
        convert(wide, tmp_path / "copy.safetensors", "fp16", stop)
    assert {*tmp_path.iterdir()} == before


def test_values_above_the_fp16_limit_are_reported_and_nothing_is_written(tmp_path: Path) -> None:
    large = {f"{UNET}x.time_stack.weight": torch.tensor([1.0, 70000.0])}
    save_file(large, tmp_path / "large.safetensors")
    with pytest.raises(
        CheckpointError, match=r"time_stack\.weight contains 70000, above the fp16 limit of 65504; choose bf16"
    ):
        convert(tmp_path / "large.safetensors", tmp_path / "copy.safetensors", "fp16")
    assert not (tmp_path / "copy.safetensors").exists()
    convert(tmp_path / "large.safetensors", tmp_path / "copy.safetensors", "bf16")


def test_unsuitable_files_and_precisions_are_rejected(random_checkpoint: Path, wide: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.safetensors"
    with pytest.raises(BadInput, match="has only values of 16 bits; it needs no conversion"):
        convert(random_checkpoint, target, "fp16")
    with pytest.raises(BadInput, match="cannot convert to precision 'int8'; choose one of fp16, bf16, fp8_e4m3fn"):
        convert(wide, target, "int8")
    save_file({"lora.weight": torch.zeros(2)}, target)
    with pytest.raises(CheckpointError, match="is a LoRA"):
        convert(target, tmp_path / "other.safetensors", "fp16")
