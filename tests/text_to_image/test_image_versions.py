"""Image models: shipped rows, fine-tunes in the checkpoint folders, and sizes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from img2vid import paths
from img2vid.errors import BadInput, CheckpointError, ConfigError
from img2vid.text_to_image.versions import find_any, find_image_version, load_image_versions

BASE = "sd_xl_base_1.0"


def write_header(path: Path, names: list[str], channels: int = 4) -> None:
    """Write a checkpoint of empty tensors, of which only the names and shapes count."""
    shape = {name: [2, channels, 0] for name in names}
    rows = {name: {"dtype": "F16", "shape": shape[name], "data_offsets": [0, 0]} for name in names}
    header = json.dumps(rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header)


SDXL = [
    "model.diffusion_model.input_blocks.0.0.weight",
    "model.diffusion_model.label_emb.0.0.weight",
    "first_stage_model.decoder.conv_in.weight",
    "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
    "conditioner.embedders.1.model.positional_embedding",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(tmp_path))
    return tmp_path


def test_the_shipped_models_are_complete() -> None:
    rows = load_image_versions()
    assert [*rows][:3] == [BASE, "sdxl_lightning_4step", "sd_xl_turbo_1.0"]
    for row in [*rows.values()][:3]:
        assert row.config_path.is_file()
        assert row.is_on_hub and row.bytes and row.licence
    assert (rows["sdxl_lightning_4step"].steps, rows["sdxl_lightning_4step"].guidance) == (4, 1)
    assert rows["sd_xl_turbo_1.0"].sampler == "euler_ancestral"
    assert rows[BASE].offer() == "6.9 GB, license: CreativeML Open RAIL++-M"


def test_a_missing_checkpoint_is_named_with_its_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "user_folder", lambda: folder)
    monkeypatch.setattr(paths, "PROJECT", folder)
    with pytest.raises(CheckpointError, match=r"download it with `img2vid models download sd_xl_base_1\.0`.*6\.94 GB"):
        find_image_version(BASE).require_checkpoint()


@pytest.mark.parametrize(
    ("name", "like"),
    [("juggernautXL_v9", BASE), ("dreamshaperXL_lightning", "sdxl_lightning_4step"), ("Turbo_mix", "sd_xl_turbo_1.0")],
)
def test_every_sdxl_file_is_a_model_with_the_defaults_of_its_kind(folder: Path, name: str, like: str) -> None:
    write_header(folder / f"{name}.safetensors", SDXL)
    found, kind = find_image_version(name), find_image_version(like)
    for field in ("config", "pixels", "steps", "guidance", "sampler", "spacing"):
        assert getattr(found, field) == getattr(kind, field)
    assert found.checkpoint_path == folder / f"{name}.safetensors"
    assert (found.bytes, found.sha256, found.source) == (None, None, "your file")


def test_a_configuration_beside_a_fine_tune_is_its_own(folder: Path) -> None:
    write_header(folder / "vpred.safetensors", SDXL)
    shutil.copy(paths.CONFIGS / "sdxl.yaml", folder / "vpred.yaml")
    assert find_image_version("vpred").config_path == folder / "vpred.yaml"


def test_other_files_are_no_image_models(folder: Path) -> None:
    write_header(folder / "refiner.safetensors", SDXL[:-1])
    write_header(folder / "inpainting.safetensors", SDXL, channels=9)
    write_header(folder / "sd15.safetensors", SDXL[:1])
    (folder / "copying.safetensors").write_bytes(b"\0" * 20)
    assert {"refiner", "inpainting", "sd15", "copying", "svd_tiny"}.isdisjoint(load_image_versions())


def test_a_changed_file_is_read_again(folder: Path) -> None:
    path = folder / "mine.safetensors"
    path.write_bytes(b"\0")
    assert "mine" not in load_image_versions()
    write_header(path, SDXL)
    assert "mine" in load_image_versions()


def test_unknown_names_and_wrong_rows_are_refused(configs: Callable[..., Path]) -> None:
    with pytest.raises(BadInput, match="there is no image model 'sdx'; choose one of sd_xl_base_1"):
        find_image_version("sdx")
    assert find_any(BASE).kind == "image"
    assert find_any("svd").kind == "video"
    folder = configs()
    (folder / "image_versions.yaml").write_text("mine:\n  steps: 0\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"image_versions\.yaml, mine\."):
        load_image_versions()


@pytest.mark.parametrize(
    ("model", "video", "size"),
    [
        (BASE, (1024, 576), (1024, 576)),
        (BASE, (160, 96), (960, 576)),
        (BASE, (576, 576), (1152, 1152)),
        (BASE, (1000, 900), (1000, 904)),
        (BASE, (2048, 64), (2048, 64)),
        ("sd_xl_turbo_1.0", (160, 96), (480, 288)),
        ("sd_xl_turbo_1.0", (1024, 576), (1024, 576)),
    ],
)
def test_the_size_follows_the_videos(model: str, video: tuple[int, int], size: tuple[int, int]) -> None:
    assert find_image_version(model).size_for(*video) == size
