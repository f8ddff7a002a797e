"""Recovery of the job database, with every kind of damage: videos, annotations, trash, queue and studies come back."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from gallery_entries import add_entry

from img2vid.cli import main
from img2vid.errors import DamagedStore, Img2VidError, StoreError
from img2vid.file_lock import HomeLock
from img2vid.gallery import importing
from img2vid.gallery.entries import Entries, Filter
from img2vid.gallery.recovery import recover
from img2vid.gallery.trash import Trash
from img2vid.inference import LoadOptions
from img2vid.jobs.store import Store
from img2vid.settings import SampleSettings

VIDEOS = 16


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store with annotated videos in and outside the home, one in the trash, and a queued job."""
    home = tmp_path / "home"
    store = Store(home / "img2vid.sqlite")
    entries = Entries(store)
    for seed in range(VIDEOS):
        folder = home / "svd_tiny" if seed % 2 else tmp_path / "videos"
        number = add_entry(store, folder, f"dogs_{seed}", seed).number
        entries.rate(number, 1 + seed % 5)
        entries.annotate(number, f"note {seed} " + "long " * 100)  # several database pages
        entries.tag(number, [f"tag {seed}", "all"])
    Trash(store).put([entries.find_by_job(entries.find(limit=1)[0].job.id)[0].number])
    store.add(SampleSettings(seed=99), LoadOptions(), b"picture", "next", ".png")
    store.close()
    return store


def contents(store: Store) -> list[tuple[int, str, int, str, tuple[str, ...]]]:
    """Return seed, file name, rating, note and tags of all videos; those in the trash have another file name."""
    found = [*Entries(store).find(limit=-1), *Entries(store).find(Filter(deleted=True), limit=-1)]
    assert all(entry.result.video.is_file() for entry in found)
    names = {entry.number: "trash" if entry.deleted else entry.result.video.name for entry in found}
    return sorted((one.settings.seed, names[one.number], one.rating, one.note, one.tags) for one in found)


def not_a_database(path: Path) -> None:
    path.write_bytes(b"no database at all" * 500)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def missing(path: Path) -> None:
    path.unlink()


def half_written(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def damaged_pages(path: Path) -> None:
    with path.open("r+b") as file:
        for page in range(6, path.stat().st_size // 4096, 4):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)


def unreadable_rows(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE jobs SET settings = '{oops' WHERE number % 3 = 0 AND state = 'done'")
        db.execute("UPDATE results SET result = 'null', created = 1e300 WHERE number % 3 = 1")
        db.commit()


@pytest.mark.parametrize(
    ("damage", "keeps"),
    [(newer, "all"), (unreadable_rows, "annotations"), (damaged_pages, ""), (half_written, ""), (not_a_database, ""),
     (empty, ""), (missing, "")],
)  # fmt: skip
def test_all_videos_come_back(store: Store, damage: Callable[[Path], None], keeps: str) -> None:
    before, (queued,) = contents(store), store.queue()
    store.close()
    damage(store.path)
    original = store.path.read_bytes() if store.path.exists() else None
    result = recover(store, [store.home.parent / "videos"], lambda _: None)
    assert str(VIDEOS - 1) in result.text
    after = contents(store)
    assert [(seed, name) for seed, name, *_ in after] == [(seed, name) for seed, name, *_ in before]
    if keeps:
        assert after == before
        assert store.queue() == [queued]
    kept = list(store.home.glob("img2vid.2*.sqlite"))
    assert len(kept) == (0 if original is None else 1)
    assert all(path.name in result.text for path in kept)
    store.check()
    assert not store.unreadable
    add_entry(store, store.home, "new", 1000)
    assert contents(Store(store.path))[-1][0] == 1000


def test_annotations_on_readable_pages_of_a_damaged_file_come_back(store: Store) -> None:
    before = contents(store)
    store.close()
    with store.path.open("r+b") as file:  # one page in the middle of the notes
        data = file.read()
        file.seek(data.rindex(b"note 9 ") // 4096 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreError):
        store.check()
    recover(store, [store.home.parent / "videos"], lambda _: None)
    after = contents(store)
    assert len(after) == len(before)
    assert len(set(after) & set(before)) > VIDEOS // 2


def test_open_connections_see_the_rebuilt_database(store: Store) -> None:
    other = Store(store.path)
    assert Entries(other).count() == VIDEOS - 1
    unreadable_rows(store.path)
    recover(store, [], lambda _: None)
    assert len(Entries(other).find(limit=-1)) == VIDEOS - 1
    job = other.add(SampleSettings(), LoadOptions(), b"picture", "later", ".png")
    assert store.job(job.id) == job


def test_a_home_in_use_is_left_alone(store: Store) -> None:
    lock = HomeLock(store.home)
    assert lock.acquire()
    try:
        with pytest.raises(Img2VidError, match=r"another program uses .*; close the dashboard"):
            recover(store, [], lambda _: None)
    finally:
        lock.release()
    assert not list(store.home.glob("img2vid.2*.sqlite"))


def test_a_cancelled_recovery_changes_nothing(store: Store) -> None:
    def cancel(_: object) -> None:
        raise KeyboardInterrupt

    unreadable_rows(store.path)
    before = store.path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        recover(store, [], cancel)
    store.close()
    assert store.path.read_bytes() == before
    assert not list(store.home.glob(".*"))


def test_the_command_rebuilds_and_says_what_it_found(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMG2VID_HOME", str(store.home))
    not_a_database(store.path)
    (store.home / "foreign.mp4").write_bytes(b"no video")
    with pytest.raises(
        DamagedStore, match=r"file is not a database.*it is damaged, so rebuild it with `img2vid recover`"
    ):
        store.jobs()
    assert main.run(["recover", str(store.home.parent / "videos")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"the job database lists {VIDEOS - 1} videos again, {VIDEOS} from their own")
    assert lines[1].startswith(f"left out {store.home / 'foreign.mp4'}: ")
    assert main.run(["recover", str(store.home / "nowhere")]) == 2


def test_a_video_with_an_unexpected_error_is_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read = importing.read_metadata

    def fail(path: Path) -> object:
        if path.name == "dogs_3.mp4":
            raise OverflowError("odd")
        return read(path)

    monkeypatch.setattr(importing, "read_metadata", fail)
    missing(store.path)
    result = recover(store, [store.home.parent / "videos"], lambda count: None)
    assert len(contents(store)) == VIDEOS - 1
    assert len(result.details) == 1 and "dogs_3.mp4: failed with OverflowError: odd" in result.details[0]


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("database is locked", "in use by another program"),
        ("attempt to write a readonly database", "read-only"),
        ("unable to open database file", "permissions"),
        ("database or disk is full", "free some space"),
        ("database disk image is malformed", "damaged"),
        ("no such table: jobs", "damaged"),
    ],
)
def test_an_error_says_what_it_is(store: Store, message: str, advice: str) -> None:
    with pytest.raises(StoreError, match=f"{message}.*{advice}"), store.reading():
        raise sqlite3.OperationalError(message)
