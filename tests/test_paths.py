"""Home, checkpoint folders and writable folders."""

import os
from pathlib import Path

import pytest

from img2vid import paths
from img2vid.errors import BadInput


def test_the_project_folder_holds_what_the_program_reads() -> None:
    assert (paths.PROJECT / "pyproject.toml").is_file()
    assert (paths.CONFIGS / "versions.yaml").is_file()


@pytest.mark.parametrize("value", [None, ""])
def test_the_home_is_outputs_in_the_project(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("IMG2VID_HOME", raising=False)
    else:
        monkeypatch.setenv("IMG2VID_HOME", value)
    assert paths.home() == paths.PROJECT / "outputs"


def test_the_home_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "my videos"))
    assert paths.home() == (tmp_path / "my videos").resolve()
    assert list(tmp_path.iterdir()) == [], "asking for the home must not make it"


def test_the_home_is_told_apart_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMG2VID_HOME", "videos")
    home = paths.home()
    monkeypatch.chdir(tmp_path.parent)
    assert home == (tmp_path / "videos").resolve()


def test_a_tilde_means_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_HOME", "~/videos")
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", "~/models")
    assert paths.home() == (Path.home() / "videos").resolve()
    assert paths.checkpoint_folders()[1] == Path.home() / "models"


def test_without_the_variable_checkpoints_are_looked_for_in_one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMG2VID_CHECKPOINTS", raising=False)
    assert paths.checkpoint_folders() == [paths.PROJECT / "checkpoints"]


def test_the_first_folder_that_has_a_checkpoint_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, first, second = tmp_path / "project" / "checkpoints", tmp_path / "first", tmp_path / "second"
    for folder, names in ((own, "a"), (first, "ab"), (second, "abc")):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
    (own / "c").mkdir()  # a folder with that name is not a checkpoint
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "project")
    # An empty part, as after a trailing separator, must not mean the working folder.
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", os.pathsep.join([str(first), "", str(second), ""]))
    assert paths.checkpoint_folders() == [own, first, second]
    found = [paths.find_checkpoint(name) for name in "abcd"]
    assert found == [own / "a", first / "b", second / "c", None]


def test_a_folder_that_can_be_made_is_fit_to_write_to(tmp_path: Path) -> None:
    paths.require_writable(tmp_path)
    paths.require_writable(tmp_path / "new" / "newer")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInput, match=r"nothing can be written to the folder '.*file.*'; choose another one"):
            paths.require_writable(folder)


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 0)() == 0, reason="such users write everywhere")
def test_a_locked_folder_is_no_folder_to_write_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BadInput, match="nothing can be written"):
        paths.require_writable(tmp_path / "videos")
