"""Saving of finished videos: one name for all files, atomic, never overwriting another file."""

from pathlib import Path

import pytest

from img2vid.errors import MediaError
from img2vid.jobs import save_results as module
from img2vid.jobs.save_results import save_files

FILES = {".mp4": b"video", ".png": b"still", ".json": b"{}", ".gif": b"animation"}


def test_files_lie_beside_each_other_under_a_free_name(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    first, second = save_files(FILES, folder, "clip"), save_files(FILES, folder, "clip")
    assert {suffix: path.name for suffix, path in first.items()} == {suffix: f"clip{suffix}" for suffix in FILES}
    assert {path.stem for path in second.values()} == {"clip_2"}
    for written in (first, second):
        assert {suffix: path.read_bytes() for suffix, path in written.items()} == FILES
    assert len(list(folder.iterdir())) == 8


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_stops_the_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr(module, "whole_file", fail)
    with pytest.raises(MediaError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        save_files(FILES, tmp_path, "clip")
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert str(caught.value) == f"nothing can be written to {tmp_path} (the disk is full)"
