"""Damage of the job database on the pages: the rows are named, the rest is shown, and a button rebuilds it."""

import sqlite3
import time
from contextlib import closing

import pytest
from driving import Open, said
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid.background import BackgroundTasks
from img2vid.gallery.entries import Entries
from img2vid.inference import LoadOptions
from img2vid.jobs.job import State
from img2vid.settings import SampleSettings
from img2vid.ui import resources

LABEL = "Rebuild from videos"


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> BackgroundTasks[tuple[int, int]]:
    tasks: BackgroundTasks[tuple[int, int]] = BackgroundTasks()
    monkeypatch.setattr(resources, "open_gallery_tasks", lambda: tasks)
    return tasks


def finished(service: FakeService, count: int) -> None:
    for seed in range(count):
        job = service.store.add(
            SampleSettings(seed=seed, num_frames=3, width=64, height=64), LoadOptions(), b"picture", "dogs", ".png"
        )
        service.finishes(job)


def run_sql(service: FakeService, query: str) -> None:
    service.store.close()
    with closing(sqlite3.connect(service.store.path)) as db:
        db.execute(query)
        db.commit()


def rebuild(page: AppTest, tasks: BackgroundTasks[tuple[int, int]]) -> None:
    next(button for button in page.button if button.label == LABEL).click().run()
    deadline = time.monotonic() + 60
    while (task := tasks.get("recovery")) is None or task.active:
        assert time.monotonic() < deadline, said(page.error)
        time.sleep(0.02)
    assert task.state == "done", task.outcome
    page.run()


def test_an_unreadable_row_is_named_and_the_rest_is_shown(
    open_page: Open, service: FakeService, tasks: BackgroundTasks[tuple[int, int]]
) -> None:
    finished(service, 3)
    run_sql(service, "UPDATE jobs SET settings = '{oops' WHERE number = 2")
    page = open_page()
    assert not page.error
    named = said(page.warning)
    assert "cannot be read" in named and "Job " in named
    assert [button.label for button in page.button].count(LABEL) == 1
    rebuild(page, tasks)
    assert not page.warning and not page.error
    assert len(Entries(service.store).find()) == 3
    assert len(service.store.jobs(states=[State.DONE])) == 3


def test_a_damaged_database_says_so_and_is_rebuilt(
    open_page: Open, service: FakeService, tasks: BackgroundTasks[tuple[int, int]]
) -> None:
    finished(service, 2)
    service.store.close()
    service.store.path.write_bytes(b"no database" * 1000)
    page = open_page()
    assert "it is damaged, so rebuild it" in said(page.warning)
    assert not page.error  # said once
    rebuild(page, tasks)
    assert not page.warning and not page.error
    assert len(Entries(service.store).find()) == 2


def test_a_rebuild_waits_for_a_running_job(
    open_page: Open, service: FakeService, tasks: BackgroundTasks[tuple[int, int]]
) -> None:
    finished(service, 2)
    service.begins(service.store.add(SampleSettings(), LoadOptions(), b"picture", "dogs", ".png"))
    run_sql(service, "UPDATE jobs SET settings = 'null' WHERE number = 1")
    page = open_page()
    assert next(button for button in page.button if button.label == LABEL).disabled
