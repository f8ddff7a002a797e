"""Gallery entries: search, fingerprints, ratings, trash, and migration of older databases."""

import datetime
import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_videos import write_result
from other_settings import OTHER_VALUES

from img2vid import paths
from img2vid.errors import BadInput
from img2vid.gallery.entries import Entries, Entry, Filter
from img2vid.gallery.measurement import Measurement
from img2vid.jobs import database
from img2vid.jobs.job import State, one_video, result_to_text
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings

CHOICE = LoadOptions()
PHOTO = (paths.PROJECT / "assets" / "dogs.jpg").read_bytes()
MEASUREMENT = Measurement(30.5, 0.9, (1.0, 2.0), (0.5,), (10.0, 11.0, 12.0), (50.0, 50.0, 50.0))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "img2vid.sqlite")


def make(store: Store, name: str = "photo", **settings: Any) -> list[Entry]:
    """Add a finished job with its videos."""
    job = store.add(SampleSettings(**{"width": 64, "height": 64, **settings}), CHOICE, PHOTO, name, ".jpg")
    assert store.start(job.id)
    for index in range(job.settings.num_samples):
        store.record_result(job.id, write_result(job, job.settings.seed + index))
    store.finish(job.id, State.DONE)
    return Entries(store).find_by_job(job.id)


def numbers(entries: list[Entry]) -> list[int]:
    return [entry.number for entry in entries]


def test_every_video_of_a_job_is_an_entry_newest_first(store: Store) -> None:
    entries = Entries(store)
    assert (entries.find(), entries.count(), entries.versions(), entries.tags()) == ([], 0, [], [])
    first = make(store, "brook", seed=5, num_samples=3)
    (second,) = make(store, "dogs")
    assert numbers(entries.find()) == [second.number, *reversed(numbers(first))]
    assert entries.count() == 4
    assert [entry.settings.seed for entry in first] == [5, 6, 7]
    assert {entry.settings.num_samples for entry in first} == {1}
    assert numbers(entries.find(limit=2, offset=1)) == numbers(first)[:0:-1]
    assert entries.entry(second.number) == second
    assert (second.job.picture_name, second.imported, second.deleted, second.rating) == ("dogs", False, None, 0)
    with pytest.raises(BadInput, match="there is no video 99 in"):
        entries.entry(99)


def test_a_period_includes_its_first_and_its_last_day_and_every_entry_has_its_place(store: Store) -> None:
    entries, noon = Entries(store), datetime.datetime(2026, 3, 29, 12)  # the night before changes to summer time
    (first,) = make(store)
    last_second = noon.replace(hour=23, minute=59, second=59)
    moments = [noon.replace(hour=0), noon, noon, last_second, last_second + datetime.timedelta(seconds=1)]
    made = [
        entries.add_imported(
            first.result, first.settings, LoadOptions(), b"", "dogs", ".png", created=moment.timestamp()
        )
        for moment in moments
    ]
    day, one = noon.date(), datetime.timedelta(days=1)
    for wanted, found in (
        (Filter(since=day, until=day), made[:4]),
        (Filter(since=day + one, until=day + one), made[4:]),
        (Filter(until=day - one), []),
        (Filter(since=day), [*made, first]),
        (Filter(since=datetime.date.min, until=datetime.date.max), [*made, first]),
    ):
        assert numbers(entries.find(wanted)) == numbers(found)[::-1], wanted
        assert [entries.place(wanted, entry) for entry in reversed(found)] == list(range(len(found)))


def test_an_entry_has_the_settings_that_it_was_made_with(store: Store) -> None:
    (entry,) = make(store, decode_t=14)
    halved = {**entry.result.metadata, "settings": {**entry.result.metadata["settings"], "decode_t": 7}}
    assert replace(entry, result=replace(entry.result, metadata=halved)).settings.decode_t == 7
    for odd in ({"decode_t": -1}, {"steps_of_tomorrow": 3}):
        metadata = {"settings": {**entry.result.metadata["settings"], **odd}}
        assert replace(entry, result=replace(entry.result, metadata=metadata)).settings == entry.settings
    assert replace(entry, result=replace(entry.result, metadata={})).settings == entry.settings


def test_filters_narrow_what_is_found(store: Store) -> None:
    entries = Entries(store)
    (brook,), (dogs,), (other,) = (
        make(store, "Bach_50%"),
        make(store, "Dogs"),
        make(store, "dogs", version="svd_tiny_xt"),
    )
    entries.rate(dogs.number, 4)
    entries.annotate(dogs.number, "  the tail is GRÜN ")
    entries.tag(dogs.number, ["keep", " two  words ", "keep", ""])
    entries.tag(brook.number, ["keepsake"])
    wanted = {
        Filter(): [other, dogs, brook],
        Filter(versions=("svd_tiny",)): [dogs, brook],
        Filter(versions=("svd_tiny", "svd_tiny_xt")): [other, dogs, brook],
        Filter(least_rating=4): [dogs],
        Filter(least_rating=5): [],
        Filter(tags=("keep",)): [dogs],
        Filter(tags=("keep", "two words")): [dogs],
        Filter(text="dogs"): [other, dogs],
        Filter(text="grün DOGS"): [dogs],
        Filter(text="two words"): [dogs],
        Filter(text="tiny_xt"): [other],
        Filter(text="50%"): [brook],
        Filter(text="_"): [other, dogs, brook],
        Filter(text="'; DROP TABLE results"): [],
    }
    for which, found in wanted.items():
        assert numbers(entries.find(which)) == numbers(found), which
        assert entries.count(which) == len(found), which
    dogs = entries.entry(dogs.number)
    assert (dogs.rating, dogs.note, dogs.tags) == (4, "the tail is GRÜN", ("keep", "two words"))
    assert entries.tags() == ["keep", "keepsake", "two words"]
    assert entries.versions() == ["svd_tiny", "svd_tiny_xt"]


def test_what_cannot_be_said_about_a_video_is_refused(store: Store) -> None:
    entries = Entries(store)
    (entry,) = make(store)
    with pytest.raises(BadInput, match="a rating is a whole number from 0 to 5, got 6"):
        entries.rate(entry.number, 6)
    with pytest.raises(BadInput, match="there is no video 77"):
        entries.rate(77, 1)
    assert entries.entry(entry.number) == entry


def test_deleted_entries_are_in_the_trash_and_come_back(store: Store, tmp_path: Path) -> None:
    entries = Entries(store)
    one, two = make(store, seed=1, num_samples=2)
    moved = replace(one.result, video=tmp_path / "trash" / "1.mp4")
    entries.mark_deleted([one.number], {one.number: moved})
    assert numbers(entries.find()) == [two.number]
    assert numbers(entries.find(Filter(deleted=True))) == [one.number]
    assert (entries.count(), entries.count(Filter(deleted=True))) == (1, 1)
    assert entries.entry(one.number).result.video == moved.video
    job = store.job(one.job.id)
    assert [result.seed for result in job.results] == [2]
    assert job.made == 2  # a resumed job does not make it again
    entries.restore([one.number], {one.number: one.result})
    assert entries.find() == [two, one]


def test_forgotten_entries_are_gone_and_with_the_last_one_its_job(store: Store) -> None:
    entries = Entries(store)
    one, two = make(store, seed=1, num_samples=2)
    entries.remove([one.number])
    assert store.job(one.job.id).made == 1
    entries.remove([two.number, 1234])
    assert entries.count() == 0
    with pytest.raises(BadInput, match="there is no job"):
        store.job(one.job.id)


def test_a_running_job_stays_when_its_video_is_forgotten(store: Store) -> None:
    job = store.add(SampleSettings(num_samples=2), CHOICE, PHOTO, "photo", ".jpg")
    store.start(job.id)
    store.record_result(job.id, write_result(job, job.settings.seed))
    entries = Entries(store)
    entries.remove(numbers(entries.find()))
    assert store.job(job.id).state is State.RUNNING


def test_entries_are_found_by_the_place_of_their_video(store: Store) -> None:
    entries = Entries(store)
    (entry,) = make(store, 'ein Bär "im" Wald')
    (longer,) = make(store, seed=1)
    assert entries.naming(entry.result.video) == [entry]
    assert entries.naming(longer.result.video) == [longer]
    assert entries.naming(entry.result.video.with_suffix("")) == []


def test_a_measurement_is_made_once_and_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Entries(store)
    (entry,) = make(store)
    measured = entries.measured(entry)
    assert measured.measurement is not None and len(measured.measurement.motion) == 4
    assert entries.entry(entry.number) == measured
    monkeypatch.setattr("img2vid.gallery.entries.measure_result", lambda *_: pytest.fail("it was measured again"))
    assert entries.measured(measured) == measured


def test_a_video_that_was_made_elsewhere_is_taken_in(store: Store, tmp_path: Path) -> None:
    entries = Entries(store)
    job = store.add(SampleSettings(**OTHER_VALUES), CHOICE, b"p", "x", ".png", tmp_path / "elsewhere")
    result = write_result(job, 9)
    settings = one_video(job.settings, 9)
    entry = entries.add_imported(result, settings, CHOICE, PHOTO, "../dogs", ".jpg", created=1000.0, imported=True)
    assert (entry.created, entry.imported, entry.settings, entry.result) == (1000.0, True, settings, result)
    assert (entry.job.state, entry.job.picture_name) == (State.DONE, "dogs")
    assert entry.job.picture.read_bytes() == PHOTO
    assert entry.job.id not in [job.id for job in store.jobs()]  # the Sample page shows only videos made here
    own = entries.add_imported(result, settings, CHOICE, PHOTO, "dogs", ".jpg")
    assert own.job.id in [job.id for job in store.jobs()]
    assert numbers(entries.find()) == [own.number, entry.number]


# Equal videos


def test_a_video_with_the_same_settings_is_found(store: Store) -> None:
    entries = Entries(store)
    first, second = make(store, seed=1, num_samples=2)
    wanted = one_video(first.job.settings, 2)
    picture = first.job.picture.name
    assert entries.same(wanted, CHOICE, picture) == second
    assert entries.same(wanted.model_copy(update={"seed": 3}), CHOICE, picture) is None
    entries.mark_deleted([second.number])
    assert entries.same(wanted, CHOICE, picture) is None
    entries.restore([second.number])
    second.result.video.unlink()
    assert entries.same(wanted, CHOICE, picture) is None


def test_a_video_older_than_its_checkpoint_does_not_count(
    store: Store, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "find_checkpoint", lambda name: random_checkpoint)
    (entry,) = make(store)
    entries, facts = Entries(store), random_checkpoint.stat()
    try:
        os.utime(random_checkpoint, (entry.created + 5, entry.created + 5))
        assert entries.same(entry.settings, CHOICE, entry.job.picture.name) is None
        os.utime(random_checkpoint, (entry.created - 5, entry.created - 5))
        assert entries.same(entry.settings, CHOICE, entry.job.picture.name) == entry
    finally:
        os.utime(random_checkpoint, (facts.st_atime, facts.st_mtime))


# Databases of version 1


def test_a_store_of_the_first_version_becomes_one_of_the_second(tmp_path: Path) -> None:
    path = tmp_path / "home" / "img2vid.sqlite"
    newer = Store(tmp_path / "newer" / "img2vid.sqlite")
    first, second = make(newer, "Dogs", seed=1, num_samples=2)
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.executescript(f"{database.SCHEMA_1} PRAGMA user_version = 1;")
        with newer.reading() as other:
            columns = [row[1] for row in db.execute("PRAGMA table_info(jobs)")]
            rows = other.execute(f"SELECT {', '.join(columns)} FROM jobs").fetchall()
        db.executemany(f"INSERT INTO jobs VALUES ({', '.join('?' for _ in columns)})", rows)
        for entry in (first, second):
            db.execute("INSERT INTO results (job, result) VALUES (?, ?)", (entry.job.id, result_to_text(entry.result)))
    db.close()
    store = Store(path)
    entries = Entries(store)
    found = entries.find(Filter(text="dogs", versions=("svd_tiny",)))
    assert [entry.result for entry in found] == [second.result, first.result]
    assert {entry.created for entry in found} == {newer.job(first.job.id).finished}
    assert entries.same(second.settings, CHOICE, second.job.picture.name) is not None
    store.close()
    assert len(Entries(Store(path)).find()) == 2


def test_a_change_of_version_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "img2vid.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(f"{database.SCHEMA_1} PRAGMA user_version = 1;")
    db.close()

    def fail(db: sqlite3.Connection) -> None:
        raise RuntimeError("the power failed")

    monkeypatch.setattr(database, "VERSIONS", (database.VERSIONS[0], (database.SCHEMA_2, fail)))
    with pytest.raises(RuntimeError, match="the power failed"):
        Store(path).jobs()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert "created" not in [row[1] for row in db.execute("PRAGMA table_info(results)")]
    db.close()
    monkeypatch.undo()
    assert Store(path).jobs() == []


def test_measurements_survive_being_written_down() -> None:
    assert Measurement.from_text(MEASUREMENT.to_text()) == MEASUREMENT
    single = Measurement(None, None, (), (), (3.0,), (4.0,))
    assert Measurement.from_text(single.to_text()) == single
    assert (single.mean_motion, single.mean_flicker, single.sharpness_drift, single.contrast_drift) == (0, 0, 0, 0)
    assert Measurement.from_text("") is None
    assert Measurement.from_text('{"psnr": 1.0}') is None
    assert (MEASUREMENT.mean_motion, MEASUREMENT.mean_flicker) == (1.5, 0.5)
    assert MEASUREMENT.sharpness_drift == pytest.approx(2 / 11)
