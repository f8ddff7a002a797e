"""Checkpoint files: mismatched files are rejected by their header with a remedy, matching ones are mapped."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from checkpoint_files import rows_of, write_header
from golden_models import CPU, golden_model, relative_error
from safetensors.torch import load_file, save_file
from torch import Tensor

from img2vid.checkpoints.header import read_header
from img2vid.engine import load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.config import load_config
from img2vid.engine.interface import ModelSource
from img2vid.engine.model import build_meta
from img2vid.engine.weights.checkpoint import build_model, fill, read_tensors
from img2vid.errors import CheckpointError

GOLDEN = golden_model("tiny_svd")
UNET = "model.diffusion_model."
Expected = Mapping[str, Tensor]


def needs(name: str) -> Expected:
    """Return the weights that sampling with this small model needs."""
    config = golden_model(name).config
    model = build_meta(load_config(config), config.parent)
    model.drop_unused()
    return model.weights()


@pytest.fixture(scope="module")
def temporal() -> Expected:
    return needs("tiny_svd")


@pytest.fixture(scope="module")
def picture() -> Expected:
    return needs("tiny_svd_image_decoder")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.safetensors"


def refusal(path: Path, expected: Expected) -> str:
    """Return the error for the file, raised before any tensor is read."""
    with pytest.raises(CheckpointError) as caught:
        read_tensors(path, expected, allow_pickle=False)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


# Matching files


@pytest.mark.parametrize("kind", ["F64", "F32", "F16", "BF16"])
def test_a_file_with_all_that_is_needed_and_more_is_read(kind: str, temporal: Expected, path: Path) -> None:
    rows = {**rows_of(temporal, kind), "first_stage_model.loss.logvar": ("F32", ()), "global_step": ("I64", (1,))}
    write_header(path, rows)
    assert read_header(path)["global_step"].shape == (1,)
    read = dict(read_tensors(path, temporal, allow_pickle=False))
    assert {name: tensor.shape for name, tensor in read.items()} == {n: t.shape for n, t in temporal.items()}


def test_bytes_are_counted_to_the_end_of_files_with_mixed_formats(temporal: Expected, path: Path) -> None:
    """Regression test: the count assumed the latest tensor's format for all tensors and jumped back and forth."""
    rows = {
        name: ("F32" if number % 2 else "F16", tuple(tensor.shape))
        for number, (name, tensor) in enumerate(temporal.items())
    }
    write_header(path, {**rows, "unused": ("F32", (1000,))})
    events: list[tuple[int, int]] = []
    for _ in read_tensors(path, temporal, False, on_bytes=lambda done, total: events.append((done, total))):
        pass
    (total,) = {total for _, total in events}
    done = [done for done, _ in events]
    assert total == sum(entry.bytes for name, entry in read_header(path).items() if name != "unused")
    assert done == sorted(done)
    assert done[-1] == total


def test_loading_reports_its_bytes() -> None:
    events: list[tuple[int, int]] = []
    load_engine(GOLDEN.config, GOLDEN.checkpoint, CPU, on_bytes=lambda done, total: events.append((done, total)))
    assert events == sorted(events)
    assert events[-1][0] == events[-1][1] <= GOLDEN.checkpoint.stat().st_size


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.0), (torch.bfloat16, 0.05)])
def test_files_of_other_precisions_give_nearly_the_same(
    dtype: torch.dtype, tolerance: float, small_engine: NativeEngine, path: Path
) -> None:
    """The small model is stored in float16, so that float32 has the same values."""
    save_file({name: tensor.to(dtype) for name, tensor in load_file(GOLDEN.checkpoint).items()}, path)
    latents = GOLDEN.recorded["decode.latents"][:1]
    frames = load_engine(GOLDEN.config, path, CPU).decode(latents, 1)
    assert relative_error(frames, small_engine.decode(latents, 1)) <= tolerance


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's list of mapped files")
def test_weights_that_need_no_conversion_stay_mapped_to_the_file(path: Path) -> None:
    save_file({name: tensor.float() for name, tensor in load_file(GOLDEN.checkpoint).items()}, path)
    source = ModelSource(GOLDEN.config, path, load_config(GOLDEN.config), CPU)
    model = build_model(source)
    fill(model, source, lambda name, tensor: tensor)
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    mapped = [[int(end, 16) for end in line.split()[0].split("-")] for line in lines if line.endswith(str(path))]
    places = {name: tensor.data_ptr() for name, tensor in model.weights().items()}
    copied = [name for name, place in places.items() if not any(start <= place < end for start, end in mapped)]
    assert copied == []


# Mismatched files


def test_models_of_other_kinds_are_named(temporal: Expected, path: Path) -> None:
    image_model = {name: row for name, row in rows_of(temporal).items() if ".time_stack." not in name}
    image_model[f"{UNET}input_blocks.0.0.weight"] = ("F16", (320, 4, 3, 3))
    write_header(path, image_model)
    assert "an image model such as Stable Diffusion 1.5, 2 or XL (4 input channels" in refusal(path, temporal)
    write_header(path, {"down_blocks.0.resnets.0.conv1.weight": ("F16", (32, 8, 3, 3))})
    assert "one component of a model in diffusers' layout" in refusal(path, temporal)
    write_header(path, {"lora_unet_input_blocks_1_1_proj_in.lora_down.weight": ("F16", (4, 32))})
    assert "a LoRA, not a full model" in refusal(path, temporal)
    write_header(path, {"decoder.conv_in.weight": ("F16", (32, 4, 3, 3))})
    assert "(no UNet); choose svd.safetensors" in refusal(path, temporal)
    write_header(path, {})
    assert "(no UNet)" in refusal(path, temporal)


def test_files_without_the_frame_encoder_are_recognized(temporal: Expected, path: Path) -> None:
    rows = {n: row for n, row in rows_of(temporal).items() if not n.startswith("conditioner.embedders.3.")}
    write_header(path, rows)
    assert "lacks conditioner.embedders.3" in (message := refusal(path, temporal))
    assert "and the encoder of the first stage, which could replace it" in message


@pytest.mark.parametrize("name", ["tiny_sv3d_u", "tiny_sv3d_p"])
def test_the_place_of_the_frame_encoder_is_that_of_the_configuration(name: str, path: Path) -> None:
    expected = needs(name)
    rows = {n: row for n, row in rows_of(expected).items() if not n.startswith("conditioner.embedders.1.")}
    write_header(path, rows)
    assert "lacks conditioner.embedders.1, the encoder of the conditioning frame" in refusal(path, expected)


def test_the_two_kinds_of_decoders_are_distinguished(temporal: Expected, picture: Expected, path: Path) -> None:
    write_header(path, rows_of(picture))
    assert "has a decoder without temporal layers" in (message := refusal(path, temporal))
    assert "choose a version whose name ends in _image_decoder" in message
    write_header(path, rows_of(temporal))
    assert "has a temporal decoder; choose the version without _image_decoder" in refusal(path, picture)


def test_other_missing_tensors_are_counted_and_the_first_is_named(temporal: Expected, path: Path) -> None:
    gone = [f"{UNET}out.2.bias", f"{UNET}out.2.weight"]
    write_header(path, {name: row for name, row in rows_of(temporal).items() if name not in gone})
    message = refusal(path, temporal)
    assert f"lacks 2 of the {len(temporal)} tensors" in message
    assert f"in model.diffusion_model; the first is {gone[0]}" in message
    assert "choose the checkpoint for this configuration" in message


def test_shape_mismatches_are_reported_with_both_shapes(temporal: Expected, path: Path) -> None:
    name = f"{UNET}input_blocks.0.0.weight"
    write_header(path, {**rows_of(temporal), name: ("F16", (64, 8, 3, 3))})
    message = refusal(path, temporal)
    assert f"{name} is 64 x 8 x 3 x 3, expected 32 x 8 x 3 x 3" in message
    assert "choose the configuration for this file" in message
    scalar = f"{UNET}out.2.bias"
    write_header(path, {**rows_of(temporal), scalar: ("F16", ())})
    assert f"{scalar} is a scalar, expected 4" in refusal(path, temporal)


@pytest.mark.parametrize("kind", ["I64", "U8"])
def test_unsupported_formats_are_rejected(kind: str, temporal: Expected, path: Path) -> None:
    name = f"{UNET}out.2.bias"
    write_header(path, {**rows_of(temporal), name: (kind, (4,))})
    assert f"stores {name} as {kind}, which is not supported; save it as F32, F16 or BF16" in refusal(path, temporal)


def test_truncated_files_are_reported_with_their_sizes(temporal: Expected, path: Path) -> None:
    write_header(path, rows_of(temporal), missing_bytes=5)
    size = path.stat().st_size
    assert f"is incomplete: {size:,} of {size + 5:,} bytes; download it again" in refusal(path, temporal)


def test_missing_files_and_other_folders_are_refused(temporal: Expected, path: Path) -> None:
    assert "does not exist" in refusal(path, temporal)
    path.mkdir()
    assert "lacks unet/diffusion_pytorch_model.safetensors" in (message := refusal(path, temporal))
    assert "choose a folder with unet, vae and image_encoder" in message


def test_both_engines_give_the_same_error(path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint .*mine\.safetensors does not exist"):
        load_engine(GOLDEN.config, path, CPU)
