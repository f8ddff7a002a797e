"""The API of a service that runs nothing, with jobs in each state."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from made_videos import write_result

from img2vid import paths
from img2vid.jobs.job import Job, State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings
from img2vid.web.api import create_app

PHOTO = paths.PROJECT / "assets" / "dandelion.jpg"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    return Store()


@pytest.fixture
def app(store: Store) -> FastAPI:
    return create_app(JobService(store))


@pytest.fixture
def job(store: Store) -> Job:
    """Return a waiting job."""
    return store.add(SampleSettings(), LoadOptions(), PHOTO.read_bytes(), "dandelion", ".jpg")


@pytest.fixture
def done(store: Store) -> Job:
    """Return a job with a video."""
    made = store.add(SampleSettings(seed=5), LoadOptions(), PHOTO.read_bytes(), "dandelion", ".jpg")
    store.start(made.id)
    store.record_result(made.id, write_result(made, 5))
    store.finish(made.id, State.DONE)
    return store.job(made.id)
