"""Weights of one byte per value: kept so in memory, and equal to the weights that they stand for."""

import math
from pathlib import Path

import pytest
import torch
from checkpoint_files import rows_of, write_header
from golden_models import CPU, golden_model, relative_error
from safetensors.torch import load_file, save_file
from torch import Tensor

from img2vid import paths
from img2vid.checkpoints.copies import write_copy
from img2vid.checkpoints.header import precision_of, read_header
from img2vid.engine import load_engine
from img2vid.engine.backends import native
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.bench.backends import EngineBackend, Shape, draw_inputs
from img2vid.engine.config import load_config
from img2vid.engine.interface import ModelSource
from img2vid.engine.memory.accounting import weight_bytes
from img2vid.engine.memory.plans import Plan
from img2vid.engine.model import build_meta
from img2vid.engine.weights import conversion
from img2vid.engine.weights.conversion import FLOAT8
from img2vid.engine.weights.diffusers_names import UNET
from img2vid.engine.weights.packed import PACKED, scale_of, with_scale
from img2vid.engine.weights.stored import find_tensors
from img2vid.errors import CheckpointError

GOLDEN = golden_model("tiny_svd")
FORMATS = {"e4m3fn": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "int8": torch.int8}
SCALES = {"comfyui": "scale_weight", "rows": "weight_scale", "none": ""}


def packed(kind: str, scaled: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the golden weights with a packed network, and the weights that they stand for.

    scaled: "comfyui" for one scale per weight, as its files have, "rows" for one per row, "none" for none.
    """
    dtype, stored, meant = FORMATS[kind], dict[str, Tensor](), dict[str, Tensor]()
    highest = 127 if kind == "int8" else torch.finfo(dtype).max
    for name, tensor in load_file(GOLDEN.checkpoint).items():
        weight = tensor.float()
        if not name.startswith(UNET) or weight.ndim < 2:
            stored[name] = meant[name] = weight
            continue
        rows = weight.flatten(1).abs().amax(1).view(-1, *[1] * (weight.ndim - 1))
        scale = {"comfyui": rows.amax() / highest, "rows": rows / highest, "none": torch.ones(())}[scaled]
        values = (weight / scale).round() if kind == "int8" else weight / scale
        stored[name] = values.to(dtype)
        meant[name] = stored[name].float() * scale
        if scaled != "none":
            stored[f"{name.removesuffix('weight')}{SCALES[scaled]}"] = scale.flatten(1) if scale.ndim else scale
    if scaled == "comfyui":
        stored[f"{UNET}scaled_fp8"] = torch.zeros(0, dtype=torch.float8_e4m3fn)
        stored[f"{UNET}out.2.scale_input"] = torch.ones(())
    return stored, meant


def load(folder: Path, weights: dict[str, Tensor]) -> NativeEngine:
    path = folder / f"{len(list(folder.iterdir()))}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
    engine = load_engine(GOLDEN.config, path, CPU)
    assert isinstance(engine, NativeEngine)
    return engine


def step(engine: NativeEngine) -> Tensor:
    backend = EngineBackend(engine, load_config(GOLDEN.config), "cpu")
    return backend.prepare("step", Shape(64, 64, 3, 3))()[0]


@pytest.mark.parametrize(
    ("kind", "scaled"),
    [
        ("e4m3fn", "comfyui"),
        ("e4m3fn", "rows"),
        ("e4m3fn", "none"),
        ("e5m2", "none"),
        ("e5m2", "rows"),
        ("int8", "rows"),
    ],
)
def test_packed_weights_take_a_byte_and_give_the_same_video(tmp_path: Path, kind: str, scaled: str) -> None:
    stored, meant = packed(kind, scaled)
    engine, plain = load(tmp_path, stored), load(tmp_path, meant)
    assert relative_error(step(engine), step(plain)) < 1e-3  # rounding of folded factors, amplified by noise of 700
    network = engine.denoiser.network
    kernels = sum(tensor.numel() for name, tensor in stored.items() if tensor.dtype == FORMATS[kind])
    assert weight_bytes(network) < weight_bytes(plain.denoiser.network) - 2.8 * kernels
    assert engine.needs.weights["network"] == weight_bytes(network)
    assert engine.needs.streamed < plain.needs.streamed / 2


def test_a_scale_is_on_the_device_of_its_weight() -> None:
    weight = with_scale(torch.zeros(2, 3, dtype=torch.int8), torch.ones(2, 1))
    source = ModelSource(GOLDEN.config, GOLDEN.checkpoint, load_config(GOLDEN.config), CPU)
    placed = native._place("a", weight, source, torch.device("meta"))  # pyright: ignore[reportPrivateUsage]
    assert placed.is_meta and scale_of(placed).is_meta


def test_packed_weights_are_streamed(tmp_path: Path) -> None:
    engine = load(tmp_path, packed("e4m3fn", "comfyui")[0])
    expected = step(engine)
    for plan in (Plan("stages"), Plan("blocks", together=True)):
        engine.apply(plan)
        assert torch.equal(step(engine), expected)


def test_a_copy_in_16_bits_holds_what_packed_weights_stand_for(tmp_path: Path) -> None:
    stored, meant = packed("e4m3fn", "comfyui")
    source, target = tmp_path / "packed.safetensors", tmp_path / "copy.safetensors"
    save_file(stored, source)
    write_copy(target, lambda file: conversion.convert(source, file, "bf16"))
    found = load_file(target)
    assert found.keys() == meant.keys()
    assert all(torch.equal(found[name], tensor.bfloat16()) for name, tensor in meant.items())


def in_float8(folder: Path, source: Path) -> Path:
    target = folder / "float8.safetensors"
    written = write_copy(target, lambda file: conversion.convert(source, file, FLOAT8))
    assert written.bytes == target.stat().st_size == conversion.size_of_copy(source, FLOAT8)
    return target


def test_a_copy_in_float8_has_scaled_matrices_and_the_rest_in_16_bits(tmp_path: Path) -> None:
    source = tmp_path / "source.safetensors"
    weights = {name: tensor.float() for name, tensor in load_file(GOLDEN.checkpoint).items()}
    weights[f"{UNET}time_embed.0.weight"] = torch.zeros_like(weights[f"{UNET}time_embed.0.weight"])
    save_file(weights, source)
    found = load_file(in_float8(tmp_path, source))
    matrices = [name for name, one in weights.items() if name.startswith(UNET) and one.ndim == 2]
    scales = {f"{name.removesuffix('weight')}scale_weight": name for name in matrices}
    assert found.keys() == {*weights, *scales, f"{UNET}scaled_fp8"}
    assert len(found[f"{UNET}scaled_fp8"]) == 2  # else ComfyUI rounds the activations too
    for name, tensor in weights.items():
        if name not in matrices:
            assert torch.equal(found[name], tensor.half())
    for scale, name in scales.items():
        assert (found[name].dtype, found[scale].dtype, found[scale].shape) == (FORMATS["e4m3fn"], torch.float32, ())
        values, weight = found[name].float() * found[scale], weights[name]
        assert values.abs().max() == pytest.approx(weight.abs().max())
        # Half of the last bit, or of the smallest step.
        assert ((values - weight).abs() <= weight.abs() / 16 + found[scale] / 1024).all()


def test_a_copy_in_float8_is_aligned_and_smaller(tmp_path: Path) -> None:
    target = in_float8(tmp_path, GOLDEN.checkpoint)
    sizes = {"F32": 4, "F16": 2, "F8_E4M3": 1}
    entries = read_header(target).values()
    assert all(entry.start % sizes[entry.format] == 0 for entry in entries)
    assert {entry.format for entry in entries} == {*sizes}
    assert target.stat().st_size < GOLDEN.checkpoint.stat().st_size


def test_the_denoiser_of_a_copy_in_float8_is_close(tmp_path: Path) -> None:
    weights = load_file(GOLDEN.checkpoint)
    copy, plain = load(tmp_path, load_file(in_float8(tmp_path, GOLDEN.checkpoint))), load(tmp_path, weights)
    inputs = draw_inputs(load_config(GOLDEN.config), Shape(64, 64, 3, 3), 0)
    with torch.inference_mode():
        ours, theirs = (
            one.denoiser(inputs.noise, torch.tensor([1.0]), [inputs.cond])[0].clone() for one in (copy, plain)
        )
    assert 1e-3 < relative_error(ours, theirs) < 5e-2
    assert weight_bytes(copy.denoiser.network) < weight_bytes(plain.denoiser.network)


def test_a_matrix_with_infinity_is_not_converted(tmp_path: Path) -> None:
    name = f"{UNET}x.time_stack.weight"
    save_file({name: torch.tensor([[1.0, math.inf]])}, tmp_path / "source.safetensors")
    with pytest.raises(CheckpointError, match=r"time_stack\.weight contains NaN or infinity"):
        in_float8(tmp_path, tmp_path / "source.safetensors")
    assert not (tmp_path / "float8.safetensors").exists()


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    config = paths.CONFIGS / "svd.yaml"
    model = build_meta(load_config(config), config.parent)
    model.drop_unused()
    return model.weights()


@pytest.mark.parametrize("kind", list(PACKED))
def test_full_size_headers_are_recognized(tmp_path: Path, expected: dict[str, Tensor], kind: str) -> None:
    rows = rows_of(expected)
    for name, tensor in expected.items():
        if name.startswith(UNET) and tensor.ndim > 1:
            rows[name] = (kind, tuple(tensor.shape))
            rows[name.removesuffix("weight") + "weight_scale"] = ("F32", (len(tensor), 1))
    path = write_header(tmp_path / "packed.safetensors", rows)
    found = find_tensors(path, expected)
    assert found.keys() == expected.keys()
    assert precision_of(read_header(path)) == {"F8_E4M3": "fp8_e4m3fn", "F8_E5M2": "fp8_e5m2", "I8": "int8"}[kind]
    assert sum(entry.bytes for name, entry in found.items() if name.startswith(UNET)) == pytest.approx(1.53e9, rel=0.01)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"weight": ("I8", (4, 32, 3, 3))}, r"stores model.*out\.2\.weight as I8 without a scale \(scale_weight or"),
        (
            {"weight": ("F8_E4M3", (4, 32, 3, 3)), "scale_weight": ("F32", (3,))},
            r"out\.2\.scale_weight has 3 values in F32, but .*out\.2\.weight of 4 x 32 x 3 x 3 needs 1 or 4 in F32",
        ),
        (
            {"weight": ("F8_E4M3", (4, 32, 3, 3)), "weight_scale": ("I64", ())},
            r"out\.2\.weight_scale has 1 values in I64, but .* save the file without scales$",
        ),
    ],
)
def test_scales_that_do_not_fit_are_refused(
    tmp_path: Path, rows: dict[str, tuple[str, tuple[int, ...]]], sentence: str
) -> None:
    model = build_meta(load_config(GOLDEN.config), GOLDEN.config.parent)
    model.drop_unused()
    changed = {f"{UNET}out.2.{name}": row for name, row in rows.items()}
    path = write_header(tmp_path / "packed.safetensors", {**rows_of(model.weights()), **changed})
    with pytest.raises(CheckpointError, match=sentence):
        find_tensors(path, model.weights())


def test_not_a_number_is_found(tmp_path: Path) -> None:
    stored, _ = packed("e4m3fn", "none")
    stored[f"{UNET}out.2.weight"].view(torch.uint8).flatten()[5] = 0x7F
    with pytest.raises(CheckpointError, match=r"out\.2\.weight contains NaN or infinity; download it again$"):
        load(tmp_path, stored)
