"""Atomic file writes under unique names."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from img2vid.files import publish, temporary_file, whole_file


def _publish_text(path: Path, text: str) -> Path:
    with temporary_file(path.parent) as part:
        part.write_text(text, encoding="utf-8")
        return publish(part, path)


def test_whole_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "settings.json"
    for text in ("old", "new"):
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_interrupted_file_leaves_the_older_one_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "settings.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(error), whole_file(path) as part:
        part.write_text("half of the n", encoding="utf-8")
        raise error
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    """Regression: temporary files are readable only by their owner, but videos must follow the umask."""
    usual = tmp_path / "usual"
    usual.touch()
    path = _publish_text(tmp_path / "video.mp4", "x")
    assert path.stat().st_mode == usual.stat().st_mode


def test_published_files_are_numbered_where_the_name_is_taken(tmp_path: Path) -> None:
    names = [_publish_text(tmp_path / "a.b.mp4", str(index)).name for index in range(3)]
    assert names == ["a.b.mp4", "a.b_2.mp4", "a.b_3.mp4"]
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in names] == ["0", "1", "2"]


def test_a_name_whose_companion_exists_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "video.json").touch()
    with temporary_file(tmp_path) as part:
        assert publish(part, tmp_path / "video.mp4", companions=(".json",)).name == "video_2.mp4"


def test_eight_writers_at_once_get_eight_names(tmp_path: Path) -> None:
    together = Barrier(8)

    def write(number: int) -> list[Path]:
        together.wait()
        return [_publish_text(tmp_path / "video.mp4", f"{number}.{index}") for index in range(5)]

    with ThreadPoolExecutor(8) as pool:
        paths = [path for written in pool.map(write, range(8)) for path in written]
    assert len(set(paths)) == 40
    assert sorted(path.read_text(encoding="utf-8") for path in paths) == sorted(
        f"{number}.{index}" for number in range(8) for index in range(5)
    )
    assert set(tmp_path.iterdir()) == set(paths)


def test_publishing_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """exFAT drives and some network shares have no hard links."""

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert [_publish_text(tmp_path / "video.mp4", text).name for text in "ab"] == ["video.mp4", "video_2.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["video.mp4", "video_2.mp4"]
