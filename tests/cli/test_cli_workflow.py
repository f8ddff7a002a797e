"""The command `img2vid export-workflow`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from img2vid.cli import main
from img2vid.comfyui.files import workflow_of_file
from img2vid.media.videos import write_video
from img2vid.text_to_image.settings import ImageSettings
from img2vid.text_to_image.workflow import image_of_workflow
from img2vid.versions import find_version

SETTINGS = find_version("svd").settings({"num_steps": 12, "seed": 4, "block_cache": 2})
CHECKSUM = "ab" * 32


def video(folder: Path, metadata: dict[str, Any]) -> Path:
    return write_video(folder / "a.mp4", [np.zeros((16, 16, 3), np.uint8)], fps=6, metadata=metadata)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    metadata = {"picture": "dogs", "picture_sha256": CHECKSUM, "settings": SETTINGS.model_dump()}
    return video(tmp_path, metadata)


def test_both_forms_give_the_settings_back(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["export-workflow", str(made)]) == 0
    out, err = capsys.readouterr()
    written = [made.with_name(f"a_comfyui{end}.json") for end in ("", "_api")]
    assert out.splitlines() == [str(path) for path in written]
    for path in written:
        assert workflow_of_file(path.read_bytes(), path.name).settings == SETTINGS.model_dump()
    assert "Without a counterpart in ComfyUI: block_cache 2." in err
    assert "ComfyUI needs svd.safetensors in models/checkpoints and dogs.png in input" in err


def test_the_picture_has_the_suffix_of_the_stored_one(made: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "home" / "inputs"
    inputs.mkdir(parents=True)
    (inputs / f"{CHECKSUM}.jpg").touch()
    assert main.run(["export-workflow", str(made), "--out", str(tmp_path / "flows")]) == 0
    nodes = json.loads((tmp_path / "flows" / "a_comfyui_api.json").read_text(encoding="utf-8")).values()
    assert [row["inputs"]["image"] for row in nodes if row["class_type"] == "LoadImage"] == ["dogs.jpg"]


def test_a_video_from_words_has_the_nodes_of_its_picture(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = ImageSettings(prompt="a lighthouse", negative_prompt="text", seed=5, steps=25)
    metadata = {"picture": "a", "settings": SETTINGS.model_dump(), "image": image.model_dump()}
    path = write_video(made.with_name("b.mp4"), [np.zeros((16, 16, 3), np.uint8)], fps=6, metadata=metadata)
    assert main.run(["export-workflow", str(path)]) == 0
    out, err = capsys.readouterr()
    for written in map(Path, out.splitlines()):
        found = workflow_of_file(written.read_bytes(), written.name)
        assert found.prompt is not None
        assert (found.settings, image_of_workflow(found.prompt)) == (SETTINGS.model_dump(), (image, []))
    assert "ComfyUI needs svd.safetensors and sd_xl_base_1.0.safetensors in models/checkpoints\n" in err


def test_an_unusable_video_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = video(tmp_path, {"title": "x"})
    for path, expected in ((tmp_path / "none.mp4", "there is no video"), (foreign, "'a.mp4' has no img2vid settings")):
        assert main.run(["export-workflow", str(path)]) == 2
        assert expected in capsys.readouterr().err


def test_a_failed_write_leaves_no_file(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made.parent / "flows"
    (folder / "a_comfyui_api.json").mkdir(parents=True)
    assert main.run(["export-workflow", str(made), "--out", str(folder)]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["a_comfyui_api.json"]
