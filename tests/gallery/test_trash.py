"""Deleting and restoring: files are never lost or overwritten, and moves are atomic."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gallery_entries import add_entry, write_files

from img2vid import files, paths
from img2vid.errors import BadInput, Img2VidError, MediaError
from img2vid.file_lock import HomeLock
from img2vid.gallery import trash as module
from img2vid.gallery.entries import Entries, Entry, Filter
from img2vid.gallery.recovery import recover
from img2vid.gallery.trash import KEPT_SECONDS, Trash, files_of
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.settings_validation import make_settings


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "img2vid.sqlite")


def contents(entry: Entry) -> list[bytes]:
    return [path.read_bytes() for path in files_of(entry.result)]


def trashed(store: Store) -> list[Path]:
    folder = store.home / "trash"
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def test_what_is_deleted_is_gone_from_its_folder_and_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    entry = add_entry(store, tmp_path / "films")
    before, entries = contents(entry), Entries(store)
    Trash(store).put([entry.number])
    assert list((tmp_path / "films").iterdir()) == []
    assert entries.count() == 0 and entries.count(Filter(deleted=True)) == 1
    deleted = entries.entry(entry.number)
    assert deleted.deleted is not None and contents(deleted) == before
    (back,) = Trash(store).restore([entry.number])
    assert (back.result, back.deleted, contents(back)) == (entry.result, None, before)
    assert trashed(store) == []


def test_many_of_one_name_do_not_collide_in_the_trash(store: Store, tmp_path: Path) -> None:
    made = [add_entry(store, tmp_path / folder, seed=seed) for seed, folder in enumerate("abc")]
    before = [contents(entry) for entry in made]
    Trash(store).put([entry.number for entry in made])
    back = Trash(store).restore([entry.number for entry in made])
    assert [contents(entry) for entry in back] == before


def test_a_name_that_was_taken_since_is_left_to_who_took_it(store: Store, tmp_path: Path) -> None:
    entry = add_entry(store, tmp_path)
    before = contents(entry)
    Trash(store).put([entry.number])
    write_files(tmp_path, "dogs", seed=99)
    (tmp_path / "dogs_2.json").write_text("of somebody else")
    (back,) = Trash(store).restore([entry.number])
    assert back.result.video == tmp_path / "dogs_3.mp4" and contents(back) == before
    assert (tmp_path / "dogs_2.json").read_text() == "of somebody else"


def test_files_that_another_entry_names_stay(store: Store, tmp_path: Path) -> None:
    entry = add_entry(store, tmp_path)
    again = Entries(store).add_imported(entry.result, entry.settings, entry.job.options, b"x", "dogs", ".png")
    Trash(store).put([entry.number])
    assert contents(again) and trashed(store) == []
    Trash(store).purge([entry.number])
    assert [path.is_file() for path in files_of(again.result)] == [True] * 3


def test_files_of_an_imported_video_stay_and_what_was_added_for_it_goes(store: Store, tmp_path: Path) -> None:
    result = write_files(tmp_path / "theirs", "dogs")
    own = store.home / "stills" / "dogs.png"
    own.parent.mkdir(parents=True)
    result.still.rename(own)
    result = module.relocated(result, {result.still: own})
    settings = make_settings(result.metadata["settings"])
    entry = Entries(store).add_imported(result, settings, LoadOptions(), b"x", "dogs", ".png", imported=True)
    Trash(store).put([entry.number])
    assert result.video.is_file() and not own.exists()
    (back,) = Trash(store).restore([entry.number])
    assert own.is_file() and back.result == result


def test_a_video_whose_files_are_gone_can_be_deleted_and_forgotten(store: Store, tmp_path: Path) -> None:
    entry = add_entry(store, tmp_path)
    entry.result.video.unlink()
    Trash(store).put([entry.number])
    Trash(store).purge([entry.number])
    assert Entries(store).count(Filter(deleted=True)) == 0 and trashed(store) == []


def test_only_what_is_in_the_trash_is_deleted_for_good(store: Store, tmp_path: Path) -> None:
    entry, other = add_entry(store, tmp_path), add_entry(store, tmp_path, "cats")
    with pytest.raises(BadInput, match="delete it first"):
        Trash(store).purge([entry.number])
    Trash(store).put([entry.number])
    assert Trash(store).empty() == 1
    assert trashed(store) == [] and contents(other)
    with pytest.raises(BadInput):
        Entries(store).entry(entry.number)


def test_after_thirty_days_and_not_before_it_goes_for_good(store: Store, tmp_path: Path) -> None:
    entry = add_entry(store, tmp_path)
    Trash(store).put([entry.number])
    assert Trash(store).remove_expired(time.time() + KEPT_SECONDS - 60) == 0 and trashed(store)
    assert Trash(store).remove_expired(time.time() + KEPT_SECONDS + 60) == 1 and trashed(store) == []


def other_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a separate disk for every folder."""

    def refuse(source: Path, path: Path) -> None:
        if source.parent != path.parent:
            raise OSError(errno.EXDEV, "another disk", str(source))
        source.rename(path)

    monkeypatch.setattr(files, "_move_to_new", refuse)


def test_between_disks_files_are_copied_whole_and_then_removed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = add_entry(store, tmp_path / "films")
    before, changed = contents(entry), entry.result.video.stat().st_mtime_ns
    other_disk(monkeypatch)
    Trash(store).put([entry.number])
    assert list((tmp_path / "films").iterdir()) == []
    (back,) = Trash(store).restore([entry.number])
    assert contents(back) == before and back.result.video.stat().st_mtime_ns == changed


@pytest.mark.parametrize("fails_at", range(6))
def test_where_one_file_cannot_be_moved_all_stay(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """If one of the files of two videos cannot be moved, nothing is deleted or restored."""
    made = [add_entry(store, tmp_path, name) for name in ("a", "b")]
    numbers, before = [entry.number for entry in made], [contents(entry) for entry in made]
    moves: list[Path] = []

    def failing(source: Path, path: Path) -> None:
        if len(moves) == fails_at:
            moves.append(source)
            raise PermissionError(errno.EACCES, "in use", str(source))
        moves.append(source)
        files.move(source, path)

    monkeypatch.setattr(module, "move", failing)
    with pytest.raises(MediaError, match=r"nothing was deleted, because .* cannot be moved"):
        Trash(store).put(numbers)
    assert [contents(Entries(store).entry(number)) for number in numbers] == before
    assert Entries(store).count() == 2 and trashed(store) == []

    Trash(store).put(numbers)
    moves.clear()
    with pytest.raises(MediaError, match=r"nothing was restored, because '[ab]\.mp4' cannot be moved"):
        Trash(store).restore(numbers)
    assert [contents(Entries(store).entry(number)) for number in numbers] == before
    assert Entries(store).count(Filter(deleted=True)) == 2 and list(tmp_path.glob("*.mp4")) == []


KILLED = """
import os, sys
from pathlib import Path
from img2vid.gallery import trash
from img2vid.jobs.store import Store
from img2vid import files

left = [int(sys.argv[3])]

def move(source, path):
    if left[0] == 0:
        os._exit(9)
    left[0] -= 1
    files.move(source, path)

trash.move = move
getattr(trash.Trash(Store(Path(sys.argv[1]))), sys.argv[2])([1, 2])
"""


def killed(store: Store, what: str, after: int) -> None:
    """Let another process delete or restore both videos and exit after a number of files."""
    command = [sys.executable, "-c", KILLED, str(store.path), what, str(after)]
    environment = {**os.environ, "PYTHONPATH": str(paths.PROJECT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr


@pytest.mark.parametrize("after", [0, 2, 4])
def test_a_program_that_is_killed_half_way_leaves_nothing_half_done(store: Store, tmp_path: Path, after: int) -> None:
    made = [add_entry(store, tmp_path, name) for name in ("a", "b")]
    before = [contents(entry) for entry in made]
    killed(store, "put", after)
    Trash(store).remove_expired()
    assert [contents(Entries(store).entry(entry.number)) for entry in made] == before
    assert Entries(store).count() == 2 and trashed(store) == []

    Trash(store).put([1, 2])
    write_files(tmp_path, "a", seed=50)  # so that the first video is restored under another name
    killed(store, "restore", after)
    Trash(store).remove_expired()
    assert [contents(Entries(store).entry(entry.number)) for entry in made] == before
    assert Entries(store).count(Filter(deleted=True)) == 2
    assert [path.name for path in sorted(tmp_path.glob("*.mp4"))] == ["a.mp4"]
    assert [contents(entry) for entry in Trash(store).restore([1, 2])] == before


def test_a_deletion_is_completed_if_another_video_has_taken_the_name(store: Store, tmp_path: Path) -> None:
    made = [add_entry(store, tmp_path, name) for name in ("a", "b")]
    before = [contents(entry) for entry in made]
    killed(store, "put", 3)  # all files of the first video
    newer = add_entry(store, tmp_path, "a", seed=50)
    Trash(store).remove_expired()
    assert newer.result.video == made[0].result.video
    assert [contents(Entries(store).entry(entry.number)) for entry in made] == before
    assert [entry.number for entry in Entries(store).find(Filter(deleted=True))] == [1]
    (back,) = Trash(store).restore([1])
    assert back.result.video == tmp_path / "a_2.mp4" and contents(back) == before[0]


def test_a_video_that_a_player_holds_is_named_and_leaves_nothing_in_the_trash(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows neither the video nor a second link to it can be removed until the player closes it."""
    entry = add_entry(store, tmp_path, "beach")
    before, unlink = contents(entry), Path.unlink

    def held(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".mp4":
            raise PermissionError(errno.EACCES, "in use", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(files, "PATIENCE", 0.0)
    monkeypatch.setattr(Path, "unlink", held)
    with pytest.raises(MediaError, match=r"nothing was deleted, because 'beach.*\.mp4' cannot be moved: in use"):
        Trash(store).put([entry.number])
    assert contents(entry) == before
    monkeypatch.setattr(Path, "unlink", unlink)
    Trash(store).remove_expired()
    assert contents(entry) == before and trashed(store) == []


def test_a_file_that_was_in_use_when_it_was_purged_goes_at_the_next_start(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = add_entry(store, tmp_path)
    Trash(store).put([entry.number])
    monkeypatch.setattr(module, "remove_folder", lambda folder: None)  # pyright: ignore[reportUnknownLambdaType]
    Trash(store).purge([entry.number])
    assert trashed(store)
    monkeypatch.undo()
    Trash(store).remove_expired()
    assert trashed(store) == []


def test_another_store_in_the_same_home_keeps_deleted_videos(store: Store, tmp_path: Path) -> None:
    entry = add_entry(store, tmp_path)
    Trash(store).put([entry.number])
    store.close()
    store.path.rename(store.path.with_suffix(".old"))
    Trash(Store(store.path)).remove_expired()
    assert len(trashed(store)) == 4


def test_two_programs_do_not_delete_at_once(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = add_entry(store, tmp_path)
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    other = HomeLock(store.home, module.LOCK)
    assert other.acquire()
    with pytest.raises(Img2VidError, match="try again"):
        Trash(store).put([entry.number])
    other.release()
    Trash(store).put([entry.number])


@pytest.mark.parametrize(
    "where",
    [
        "[",
        '{"number": "x", "files": []}',
        '{"number": 1000000000000000000000, "files": ["/a"]}',
        '{"number": 9223372036854775808, "files": ["/a"]}',
        '{"number": -1, "files": [""]}',
        '{"number": 1, "files": ["a\\u0000b"], "deleted": 1e300}',
    ],
    ids=["cut", "text", "huge", "above SQLite's", "negative", "zero byte"],
)
def test_a_damaged_record_in_the_trash_leaves_the_others(store: Store, tmp_path: Path, where: str) -> None:
    """Regression: a number too large for SQLite ended the program's start and `img2vid recover`."""
    damaged, whole = (add_entry(store, tmp_path, name) for name in "ab")
    trash = Trash(store)
    trash.put([damaged.number, whole.number])
    folder = Entries(store).entry(damaged.number).result.video.parent
    (folder / module.WHERE).write_text(where, encoding="utf-8")
    trash.remove_expired()
    trash.restore_lost()
    trash.restore([whole.number])
    assert whole.result.video.is_file()
    assert recover(store, [tmp_path], lambda count: None).text.startswith("the job database lists ")
