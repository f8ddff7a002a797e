"""SV3D from picture to files: the camera path reaches the network, the metadata and the poses."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from sv3d_model import object_picture, small_row, small_version

from img2vid import inference, pipeline
from img2vid.cli import main
from img2vid.errors import ConfigError
from img2vid.inference import LoadedModel
from img2vid.media.exports import POSES, frames_as_zip, write_frames
from img2vid.media.pictures import load_picture
from img2vid.media.videos import read_frames, read_metadata
from img2vid.options import LoadOptions
from img2vid.orbit import DISTANCE, Orbit, dynamic, level, path_of
from img2vid.progress import Result
from img2vid.versions import ModelVersion

CPU = LoadOptions(device="cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["sv3d_u", "sv3d_p"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return inference.load(small_version(request.param), CPU)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "object.png"
    object_picture().save(path)
    return path


def made(model: LoadedModel, picture: Path, folder: Path, **changes: Any) -> Result:
    settings = model.version.settings(changes)
    (result,) = pipeline.run(model, load_picture(picture), settings, folder, name="object")
    return result


def test_the_angles_change_the_video_of_a_posed_model_alone(model: LoadedModel, picture: Path, tmp_path: Path) -> None:
    base, other, again = (
        read_frames(made(model, picture, tmp_path, elevation=elevation).video) for elevation in (5, 60, 5)
    )
    assert np.array_equal(base, again)
    assert np.array_equal(base, other) == (model.version.orbit == "level")


def test_the_metadata_hold_the_camera_path_and_the_outline(model: LoadedModel, picture: Path, tmp_path: Path) -> None:
    result = made(model, picture, tmp_path, elevation=20, trajectory="dynamic", seed=3)
    t = model.version.num_frames
    path = level(t, 20) if model.version.orbit == "level" else dynamic(t, 20, 3)
    metadata = read_metadata(result.video)
    assert path_of(result.metadata) == path_of(metadata) == path
    assert metadata["object_outline"] == "transparency"
    assert metadata["settings"]["trajectory"] == "dynamic"


def test_frames_and_poses_are_written_into_a_folder_or_a_zip(model: LoadedModel, picture: Path, tmp_path: Path) -> None:
    result = made(model, picture, tmp_path)
    path, frames = path_of(result.metadata), read_frames(result.video)
    assert path is not None
    folder = write_frames(result.video, path)
    assert folder == tmp_path / f"{result.video.stem}_frames"
    poses = json.loads((folder / POSES).read_text(encoding="utf-8"))
    assert (poses["w"], poses["h"]) == (64, 64)
    for frame, row, pose in zip(frames, poses["frames"], path.poses(), strict=True):
        assert np.array_equal(np.asarray(Image.open(folder / row["file_path"])), frame)
        assert np.allclose(row["transform_matrix"], pose)
        assert np.linalg.norm(np.array(row["transform_matrix"])[:3, 3]) == pytest.approx(DISTANCE)
    with zipfile.ZipFile(io.BytesIO(frames_as_zip(result.video, path))) as archive:
        assert sorted(archive.namelist()) == sorted(file.name for file in folder.iterdir())
        assert archive.read(POSES) == (folder / POSES).read_bytes()
    assert write_frames(result.video, path).name == f"{folder.name}_2"
    assert not list(tmp_path.glob(".*.part"))


def test_videos_without_a_path_have_no_poses(model: LoadedModel, picture: Path, tmp_path: Path) -> None:
    result = made(model, picture, tmp_path)
    for path in (None, Orbit((0.0,), (0.0,))):  # of another length
        with zipfile.ZipFile(io.BytesIO(frames_as_zip(result.video, path))) as archive:
            assert POSES not in archive.namelist()


@pytest.mark.parametrize(
    "metadata",
    [1, {}, {"elevations": [1], "azimuths": []}, {"elevations": 1}, {"elevations": ["x"], "azimuths": [1]},
     {"elevations": [1e999], "azimuths": [1]}],
)  # fmt: skip
def test_damaged_paths_in_metadata_are_ignored(metadata: object) -> None:
    assert path_of({"camera_path": metadata}) is None
    assert path_of({}) is None


def test_a_row_must_agree_with_the_embedders_of_its_configuration() -> None:
    row = {**small_row("sv3d_p"), "orbit": "level"}
    with pytest.raises(
        ConfigError, match=r"^the row of mine says orbit level, but .* has embedders of cond_aug, polar"
    ):
        inference.load(ModelVersion.model_validate({"name": "mine", **row}), CPU)


@pytest.mark.parametrize("as_file", [False, True])
def test_the_command_line_takes_angles_and_writes_frames(
    as_file: bool,
    picture: Path,
    tmp_path: Path,
    configs: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    configs(yaml.safe_dump({"sv3d_p": small_row("sv3d_p")}))
    angles = "0,-10,20,30,40,50"
    if as_file:
        (tmp_path / "angles.txt").write_text(angles.replace(",", "\n"), encoding="utf-8")
    given = str(tmp_path / "angles.txt") if as_file else angles
    command = ["sample", str(picture), "--version", "sv3d_p", "--device", "cpu", "--frames", "--json", "--out"]
    assert main.run([*command, str(tmp_path / "out"), f"--elevations={given}", "--azimuths=0 60 120 180 240 300"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["camera_path"] == {
        "elevations": [0, -10, 20, 30, 40, 50],
        "azimuths": [60, 120, 180, 240, 300, 0],
    }
    poses = json.loads((Path(row["frames"]) / POSES).read_text(encoding="utf-8"))
    assert [frame["elevation"] for frame in poses["frames"]] == [0, -10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("1,2", "elevations must have one number for each of 6 views, got 2"),
        ("1,2,3,4,5,91", "elevations must be numbers from -90 to 90, one for each view, got '1,2,3,4,5,91'"),
        ("none.txt", "one for each view, or a text file of them; the file 'none.txt' cannot be read (No such file"),
    ],
)
def test_wrong_angles_are_refused_in_a_sentence(
    given: str, sentence: str, picture: Path, tmp_path: Path, configs: Any, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    configs(yaml.safe_dump({"sv3d_p": small_row("sv3d_p")}))
    assert main.run(["sample", str(picture), "--version", "sv3d_p", f"--elevations={given}"]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
