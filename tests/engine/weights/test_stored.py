"""Forms of checkpoint other than Stability's single file: found by their content, and computing the same."""

from pathlib import Path

import pytest
import torch
from checkpoint_files import rows_of, saved_by_comfyui, write_header
from golden_models import CPU, golden_model, relative_error
from safetensors.torch import load_file, save_file

from img2vid import paths
from img2vid.engine import ConditioningSettings, load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.config import load_config
from img2vid.engine.model import build_meta
from img2vid.engine.weights.stored import find_tensors, read_stored
from img2vid.errors import CheckpointError

GOLDEN = golden_model("tiny_svd")


def native(path: Path, spare: NativeEngine | None = None) -> NativeEngine:
    engine = load_engine(GOLDEN.config, path, CPU, spare=None if spare is None else spare.parts)
    assert isinstance(engine, NativeEngine)
    return engine


# Files saved by ComfyUI


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    path = tmp_path / "comfyui.safetensors"
    save_file(saved_by_comfyui(load_file(GOLDEN.checkpoint)), path)
    return path


def test_a_file_of_comfyui_encodes_with_the_first_stage(comfyui: Path, small_engine: NativeEngine) -> None:
    engine = native(comfyui)
    image = GOLDEN.recorded["image"]
    settings, noise = ConditioningSettings(0.0, 2, fps=7, motion_bucket_id=90), torch.zeros_like(image)
    cond, _ = engine.condition(image, settings, cond_noise=noise)
    moments = GOLDEN.recorded["encode.first_stage"]
    assert relative_error(cond.concat[:1], moments.chunk(2, dim=1)[0]) < 1e-4
    whole, _ = small_engine.condition(image, settings, cond_noise=noise)
    assert torch.equal(cond.crossattn, whole.crossattn)
    assert torch.equal(cond.vector, whole.vector)
    networks = [one.denoiser.network.state_dict() for one in (engine, small_engine)]
    assert networks[0].keys() == networks[1].keys()
    assert all(torch.equal(tensor, networks[1][name]) for name, tensor in networks[0].items())


def test_switching_to_a_file_of_comfyui_keeps_clip_alone(comfyui: Path, small_engine: NativeEngine) -> None:
    engine = native(comfyui, small_engine)
    same = [
        engine.model.conditioner.embedder(key) is small_engine.model.conditioner.embedder(key)
        for key in ("cond_frames_without_noise", "cond_frames")
    ]
    assert same == [True, False]


def test_a_full_size_file_of_comfyui_has_everything(tmp_path: Path) -> None:
    config = paths.CONFIGS / "svd.yaml"
    model = build_meta(load_config(config), config.parent)
    rows = saved_by_comfyui(
        {name: tensor for name, tensor in model.weights().items() if ".model.visual." in name or name[:2] != "co"}
    )
    model.drop_unused()
    path = write_header(tmp_path / "comfyui.safetensors", rows_of(rows))
    found = find_tensors(path, model.weights())
    assert {name: entry.shape for name, entry in found.items()} == {
        n: tuple(t.shape) for n, t in model.weights().items()
    }
    joined = [name for name, entry in found.items() if not entry.is_mapped]
    assert len(joined) == 2 * 32 + 1 + 2, "in_proj of each block of CLIP, its projection, and the identity"


def test_the_identity_replaces_a_convolution(comfyui: Path) -> None:
    model = build_meta(load_config(GOLDEN.config), GOLDEN.config.parent)
    model.drop_unused()
    found = find_tensors(comfyui, model.weights())
    name = "conditioner.embedders.3.encoder.quant_conv."
    read = dict(read_stored({one: found[one] for one in (f"{name}weight", f"{name}bias")}))
    assert torch.equal(read[f"{name}weight"][:, :, 0, 0], torch.eye(8))
    assert not read[f"{name}bias"].any()


def test_a_part_of_the_frame_encoder_is_not_replaced(tmp_path: Path) -> None:
    weights = load_file(GOLDEN.checkpoint)
    del weights["conditioner.embedders.3.encoder.encoder.conv_in.weight"]
    save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(
        CheckpointError, match=r"lacks conditioner\.embedders\.3, the encoder of the conditioning frame"
    ):
        native(tmp_path / "part.safetensors")
