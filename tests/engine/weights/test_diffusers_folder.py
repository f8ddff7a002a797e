"""Models in diffusers' layout: every tensor has its place, and the outputs are those of diffusers itself."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import rows_of, write_header
from diffusers_models import DATA, STEMS, inputs, read_shapes, weights, write_config, write_folder
from golden_models import CPU, relative_error
from safetensors.torch import load_file, save_file
from torch import Tensor

from img2vid import paths
from img2vid.engine import ConditioningSettings, SamplerSettings, load_engine
from img2vid.engine.config import load_config
from img2vid.engine.interface import ModelSource
from img2vid.engine.model import SvdModel, build_meta
from img2vid.engine.nets.blocks import sinusoidal_embedding
from img2vid.engine.weights.checkpoint import build_model, fill
from img2vid.engine.weights.conversion import convert, size_of_copy
from img2vid.engine.weights.detect_config import fitting_config
from img2vid.engine.weights.stored import find_tensors
from img2vid.errors import CheckpointError

OUTPUTS = load_file(DATA / "outputs.safetensors")
SVD = paths.CONFIGS / "svd.yaml"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("svd_folder"))


def loaded(config: Path, checkpoint: Path, unet: Path | None = None) -> SvdModel:
    source = ModelSource(config, checkpoint, load_config(config), CPU, unet)
    model = build_model(source)
    fill(model, source, lambda name, tensor: tensor.float())
    return model


@torch.inference_mode()
def outputs(model: SvdModel) -> dict[str, Tensor]:
    given = inputs()
    clip: Any = model.conditioner.embedder("cond_frames_without_noise")
    embedded = [sinusoidal_embedding(number, 256) for number in given["numbers"].T]
    return {
        "network": model.network(
            given["x"],
            given["c_noise"].expand(3),
            context=given["context"].expand(3, -1, -1),
            vector=torch.cat(embedded, dim=1).expand(3, -1),
            num_frames=3,
        ),
        "decoded": model.first_stage_model.decode(given["latents"]),
        "encoded": model.conditioner.encode_frame(given["image"]),
        "embedding": clip.open_clip.model.visual(given["pixels"]),
    }


def test_a_folder_computes_what_diffusers_computes(config: Path, folder: Path) -> None:
    computed = outputs(loaded(config, folder))
    assert computed.keys() == OUTPUTS.keys()
    errors = {name: relative_error(tensor, OUTPUTS[name]) for name, tensor in computed.items()}
    assert max(errors.values()) < 1e-4, errors


def video(config: Path, checkpoint: Path, unet: Path | None = None) -> Tensor:
    engine = load_engine(config, checkpoint, CPU, unet=unet)
    image, noise = inputs()["image"].clamp(-1, 1), inputs()["latents"].repeat(1, 1, 2, 2)
    settings = ConditioningSettings(0.1, 3, fps=7, motion_bucket_id=90)
    pair = engine.condition(image, settings, cond_noise=torch.ones_like(image))
    return engine.decode(engine.sample(noise, *pair, SamplerSettings(num_steps=2)), 3)


def test_a_folder_and_its_copy_as_a_single_file_give_the_same_video(config: Path, tmp_path: Path) -> None:
    folder, single = write_folder(tmp_path / "half", ".fp16", torch.float16), tmp_path / "single.safetensors"
    with single.open("wb") as file:
        done = convert(folder, file, "fp16", config=config)
    assert done.bytes == single.stat().st_size == size_of_copy(folder, "fp16", config)
    assert done.changed == 0
    assert torch.equal(video(config, folder), video(config, single))


# Full size


def full_size(folder: Path, changed: Mapping[str, tuple[str, tuple[int, ...]]] | None = None) -> Path:
    """Write headers with the names and shapes of SVD's folder as diffusers saves it; `changed` replaces the UNet's."""
    for component, shapes in read_shapes("svd").items():
        (folder / component).mkdir(parents=True)
        rows = {name: ("F16", tuple(shape)) for name, shape in shapes.items()}
        rows = dict(changed) if component == "unet" and changed is not None else rows
        write_header(folder / component / f"{STEMS[component]}.fp16.safetensors", rows)
    return folder


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    model = build_meta(load_config(SVD), SVD.parent)
    model.drop_unused()
    return model.weights()


def test_every_tensor_of_the_full_size_folder_has_one_place(tmp_path: Path, expected: dict[str, Tensor]) -> None:
    found = find_tensors(full_size(tmp_path / "svd"), expected)
    assert {name: entry.shape for name, entry in found.items()} == {n: tuple(t.shape) for n, t in expected.items()}
    used = [source for entry in found.values() for source in entry.sources]
    assert len(used) == len(set(used)) == sum(map(len, read_shapes("svd").values()))


def test_the_configuration_of_a_folder_is_found(tmp_path: Path) -> None:
    configs = [paths.CONFIGS / f"{name}.yaml" for name in ("svd_tiny", "svd_image_decoder", "svd")]
    assert fitting_config(full_size(tmp_path / "svd"), configs) == SVD


def test_folders_of_other_models_are_refused_by_their_unet(tmp_path: Path, expected: dict[str, Tensor]) -> None:
    image_model = {"conv_in.weight": ("F16", (320, 4, 3, 3)), "down_blocks.0.resnets.0.conv1.weight": ("F16", (320,))}
    folder = full_size(tmp_path / "sdxl", image_model)
    with pytest.raises(
        CheckpointError, match=r"unet.*is an image model such as Stable Diffusion 1\.5, 2 or XL \(4 input"
    ):
        find_tensors(folder, expected)
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks unet/diffusion_pytorch_model\.safetensors \(or \.fp16"):
        find_tensors(folder, expected)


# Files of a folder


def test_shards_and_full_precision_are_found(folder: Path, tmp_path: Path, config: Path) -> None:
    sharded = write_folder(tmp_path / "sharded", ".fp16", torch.float16)
    tensors = weights("unet")
    names = sorted(tensors)
    for number, some in enumerate((names[:20], names[20:]), 1):
        file = sharded / "unet" / f"diffusion_pytorch_model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in some}, file)
        assert len(paths.component_files(sharded, "unet")) == number, "an incomplete set of shards is not used"
    shape = outputs(loaded(config, sharded))["network"]
    assert relative_error(shape, OUTPUTS["network"]) < 1e-4
    assert [path.parent.name for path in paths.weight_files(sharded)] == ["unet", "unet", "vae", "image_encoder"]
    assert paths.weight_files(tmp_path) == []


def test_nan_in_a_file_of_a_folder_is_found(tmp_path: Path, config: Path) -> None:
    folder = write_folder(tmp_path / "folder")
    tensors = weights("vae")
    tensors["encoder.conv_in.weight"].view(-1)[5] = float("nan")
    save_file(tensors, folder / "vae" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(
        CheckpointError, match=rf"{re.escape(str(folder))} is damaged: .*\.encoder\.conv_in\.weight contains NaN"
    ):
        loaded(config, folder)


# The UNet alone


@pytest.fixture
def base(config: Path, tmp_path: Path) -> Path:
    """Return a single file with other weights."""
    path = tmp_path / "base.safetensors"
    model = build_meta(load_config(config), config.parent)
    model.drop_unused()
    generator = torch.Generator().manual_seed(0)
    tensors = {
        n: torch.randn(t.shape, generator=generator) / max(1, t[0].numel()) ** 0.5 for n, t in model.weights().items()
    }
    save_file(tensors, path)
    return path


def test_a_unet_alone_replaces_that_of_the_base(config: Path, base: Path, folder: Path) -> None:
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    mixed, alone = outputs(loaded(config, base, unet)), outputs(loaded(config, base))
    assert relative_error(mixed["network"], OUTPUTS["network"]) < 1e-4
    assert relative_error(alone["network"], OUTPUTS["network"]) > 0.1
    assert all(torch.equal(mixed[name], alone[name]) for name in ("decoded", "encoded", "embedding"))


def test_a_base_and_its_unet_become_one_file(config: Path, base: Path, folder: Path, tmp_path: Path) -> None:
    unet, single = folder / "unet" / "diffusion_pytorch_model.safetensors", tmp_path / "single.safetensors"
    with single.open("wb") as file:
        convert(base, file, "bf16", config=config, unet=unet)
    tensors = load_file(single)
    assert torch.equal(
        tensors["model.diffusion_model.out.2.weight"], load_file(unet)["conv_out.weight"].to(torch.bfloat16)
    )


def test_a_unet_of_another_model_is_refused_with_both_shapes(tmp_path: Path, expected: dict[str, Tensor]) -> None:
    rows = {name: ("F16", tuple(shape)) for name, shape in read_shapes("svd")["unet"].items()}
    rows["add_embedding.linear_1.weight"] = ("F16", (1280, 256))
    unet, base = write_header(tmp_path / "unet.safetensors", rows), tmp_path / "base.safetensors"
    write_header(base, rows_of(expected))
    message = (
        rf"{re.escape(str(unet))} does not match .*: add_embedding\.linear_1\.weight is 1280 x 256, expected 1280 x 768"
    )
    with pytest.raises(CheckpointError, match=message):
        find_tensors(base, expected, unet)
    del rows["conv_out.bias"]
    write_header(unet, rows)
    with pytest.raises(
        CheckpointError,
        match=rf"{re.escape(str(unet))} lacks 1 of the .*the first is model\.diffusion_model\.out\.2\.bias",
    ):
        find_tensors(base, expected, unet)
    with pytest.raises(CheckpointError, match="is not the unet of Stable Video Diffusion in diffusers' layout"):
        find_tensors(base, expected, base)
