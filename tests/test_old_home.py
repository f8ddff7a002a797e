"""A home of an earlier version with jobs, gallery, study, trash, latents and a tab still works.

tests/data/old_home.zip was recorded with svd_tiny before modules and classes were renamed. Names on disk, tables,
settings and metadata are those of that version.
"""

import io
import json
import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import pytest

from img2vid import paths
from img2vid.gallery.entries import Entries, Filter
from img2vid.gallery.studies import Studies
from img2vid.gallery.trash import Trash
from img2vid.jobs.job import State
from img2vid.jobs.latent_cache import LatentCache, unpack
from img2vid.jobs.store import Store
from img2vid.media.videos import read_frames, read_metadata
from img2vid.settings import SampleSettings
from img2vid.ui import tabs
from img2vid.versions import load_versions

RECORDED = "/old/home"
"""Folder in which the home was recorded; absolute paths in it start with this."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    home = tmp_path / "home"
    with zipfile.ZipFile(Path(__file__).parent / "data" / "old_home.zip") as archive:
        archive.extractall(home)
    moved = home.as_posix()
    for path in home.glob("trash/*/where.json"):
        path.write_text(path.read_text(encoding="utf-8").replace(RECORDED, moved), encoding="utf-8")
    with sqlite3.connect(home / "img2vid.sqlite") as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for column in [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[2] == "TEXT"]:
                db.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (RECORDED, moved))
    db.close()
    monkeypatch.setenv("IMG2VID_HOME", str(home))
    return Store(home / "img2vid.sqlite")


def test_jobs_and_their_results_are_read(store: Store) -> None:
    done = store.jobs(states=[State.DONE])
    assert sorted(job.settings.seed for job in done) == [1, 2, 3, 3]
    assert all(job.options.precision == "fp32" and job.picture.is_file() for job in done)
    (waiting,) = store.queue()
    assert (waiting.settings.seed, waiting.settings.motion_bucket_id) == (9, 120)
    assert store.expected_seconds(waiting.settings, waiting.options) is not None


def test_the_gallery_shows_ratings_notes_tags_and_measurements(store: Store) -> None:
    entries = Entries(store)
    newest, *others = entries.find(Filter(), 10)
    assert len(others) == 2
    assert (newest.rating, newest.note, newest.tags) == (4, "the petals move", ("flower",))
    assert newest.measurement is not None and newest.measurement.mean_motion > 0
    assert entries.measured(newest) == newest
    frames = read_frames(newest.result.video)
    assert frames.shape == (4, 64, 64, 3)
    assert newest.settings == SampleSettings(**read_metadata(newest.result.video)["settings"])


def test_a_study_finds_its_videos(store: Store) -> None:
    (study,) = Studies(store).studies("sweep")
    assert [(axis.name, axis.values) for axis in study.axes] == [("motion_bucket_id", (20, 120))]
    assert [cell.settings.motion_bucket_id for cell in study.cells] == [20, 120]
    assert all(store.job(cell.job).state is State.DONE for cell in study.cells)


def test_a_deleted_video_is_restored(store: Store) -> None:
    entries = Entries(store)
    (deleted,) = entries.find(Filter(deleted=True), 10)
    Trash(store).restore([deleted.number])
    restored = entries.entry(deleted.number)
    assert restored.result.video == store.home / "dandelion_svd_tiny_seed1.mp4"
    assert len(read_frames(restored.result.video)) == 4
    assert json.loads(restored.result.sidecar.read_text(encoding="utf-8"))["settings"]["seed"] == 1


def test_kept_latents_are_found(store: Store) -> None:
    latents = unpack(LatentCache(store.home).get("0123abcd"), "a checkpoint")
    assert latents is not None
    np.testing.assert_allclose(latents, np.arange(1024, dtype=np.float32).reshape(4, 4, 8, 8) / 100, rtol=1e-3)
    assert io.BytesIO(LatentCache(store.home).get("0123abcd")).read(2) == b"PK"


def test_a_tab_has_its_controls(store: Store) -> None:
    assert paths.home() == store.home
    tab = tabs.read("0123456789ab", load_versions())
    assert tab is not None
    assert (tab.controls["seed"], tab.controls["motion_bucket_id"]) == (77, 42)
