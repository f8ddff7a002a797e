"""Files that are deleted with a version, and files that must be kept."""

import os
import shutil
from pathlib import Path

import pytest

from img2vid.checkpoints.download import broken_of, part_of
from img2vid.checkpoints.removing import plan_removal, remove
from img2vid.errors import BadInput
from img2vid.file_lock import HomeLock
from img2vid.files import is_read_only
from img2vid.versions import ModelVersion, find_version


def test_the_file_and_what_is_left_of_downloads_go(version: ModelVersion, project: Path) -> None:
    file = project / "model.safetensors"
    mine = (file, part_of(file), broken_of(file))
    for path in (*mine, project / "other.safetensors"):
        path.write_bytes(b"x")
    removal = plan_removal(version)
    assert removal.files == mine and not removal.row
    assert all(str(path) in removal.sentence() for path in mine)
    remove(removal)
    assert [path.name for path in project.iterdir() if path.suffix != ".lock"] == ["other.safetensors"]


def test_what_is_being_downloaded_stays(version: ModelVersion, project: Path) -> None:
    part = part_of(project / "model.safetensors")
    part.write_bytes(b"x")
    removal = plan_removal(version)
    lock = HomeLock(project, ".model.safetensors.lock")
    assert lock.acquire()
    with pytest.raises(BadInput, match="another process is already downloading"):
        remove(removal)
    assert part.is_file()
    lock.release()
    remove(removal)
    assert not part.exists()


def test_a_file_outside_of_the_checkpoint_folders_is_not_ours(version: ModelVersion, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"x")
    with pytest.raises(BadInput, match="svd_xt is not installed, so there is nothing to remove"):
        plan_removal(version.model_copy(update={"checkpoint": str(own)}))


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a right of their own")
def test_a_link_in_the_folder_is_removed_and_what_it_leads_to_stays(
    version: ModelVersion, project: Path, tmp_path: Path
) -> None:
    """A checkpoint folder may link to another program's files; only the link may be deleted."""
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"x")
    (project / "model.safetensors").symlink_to(own)
    remove(plan_removal(version))
    assert own.is_file() and not (project / "model.safetensors").exists()


def test_a_read_only_file_is_named_as_such_and_deleted(
    version: ModelVersion, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses to delete it until the mark is cleared."""
    file = project / "model.safetensors"
    file.touch(0o444)
    removal = plan_removal(version)
    assert "marked read-only" in removal.sentence()
    unlink = Path.unlink

    def refuses_read_only(path: Path, missing_ok: bool = False) -> None:
        assert not is_read_only(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuses_read_only)
    remove(removal)
    assert not file.exists()


def test_bundled_models_are_removed_only_on_request(project: Path) -> None:
    shutil.copy(__file__, project / "svd_tiny.safetensors")
    with pytest.raises(BadInput, match="svd_tiny comes with img2vid; pass --shipped"):
        plan_removal(find_version("svd_tiny"))
    remove(plan_removal(find_version("svd_tiny"), shipped=True))
    assert not (project / "svd_tiny.safetensors").exists()
