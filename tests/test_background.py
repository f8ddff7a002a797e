"""Background tasks: one per name, progress, cancellation and errors."""

import threading
import time
from pathlib import Path

import pytest

from img2vid.background import BackgroundTask, BackgroundTasks, OnProgress, TaskResult
from img2vid.errors import Cancelled, MediaError


def ended(tasks: BackgroundTasks, name: str = "import") -> BackgroundTask:
    deadline = time.monotonic() + 30
    while (task := tasks.get(name)) is None or task.active:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return task


def test_one_of_a_name_goes_on_at_a_time_and_others_beside_it() -> None:
    tasks, go = BackgroundTasks(), threading.Event()

    def work(on_progress: OnProgress) -> TaskResult:
        on_progress(1, 2)
        assert go.wait(30)
        return TaskResult("two videos", ("a line",), Path("a.zip"))

    assert tasks.start("import", work)
    assert not tasks.start("import", work)
    assert tasks.start("export", lambda on_progress: TaskResult("another"))
    assert ended(tasks, "export").outcome.text == "another"
    tasks.dismiss("import")  # not while it is active
    go.set()
    task = ended(tasks)
    assert (task.state, task.outcome) == ("done", TaskResult("two videos", ("a line",), Path("a.zip")))
    assert (task.done, task.total) == (1, 2)
    tasks.dismiss("import")
    assert tasks.get("import") is None
    assert tasks.start("import", work)
    ended(tasks)


def test_it_stops_when_asked_to() -> None:
    tasks, go = BackgroundTasks(), threading.Event()

    def work(on_progress: OnProgress) -> TaskResult:
        assert go.wait(30)
        try:
            on_progress(1, 5)
        except Cancelled as error:
            raise Cancelled("stopped; 1 video had been imported by then") from error
        raise AssertionError("nobody stopped it")

    tasks.start("import", work)
    tasks.cancel("import")
    go.set()
    task = ended(tasks)
    assert (task.state, task.outcome.text) == ("cancelled", "stopped; 1 video had been imported by then")


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (MediaError("the disk is full"), "the disk is full"),
        (ValueError("no such\nthing"), "unexpected error: ValueError, no such thing"),
    ],
)
def test_what_went_wrong_is_told_in_a_sentence(raised: Exception, text: str) -> None:
    tasks = BackgroundTasks()

    def work(on_progress: OnProgress) -> TaskResult:
        raise raised

    assert tasks.start("export", work)
    task = ended(tasks, "export")
    assert (task.state, task.outcome.text) == ("failed", text)
