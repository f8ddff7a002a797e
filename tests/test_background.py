"""Background tasks and pollers: one per name, progress, cancellation, errors and stale results."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from img2vid.background import BackgroundTask, BackgroundTasks, Count, OnProgress, Poller, TaskResult
from img2vid.errors import Cancelled, MediaError


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ended(tasks: BackgroundTasks[Count], name: str = "import") -> BackgroundTask[Count]:
    until(lambda: (task := tasks.get(name)) is not None and not task.active)
    task = tasks.get(name)
    assert task is not None
    return task


def test_one_of_a_name_goes_on_at_a_time_and_others_beside_it() -> None:
    tasks, go = BackgroundTasks[Count](), threading.Event()

    def work(on_progress: OnProgress) -> TaskResult:
        on_progress((1, 2))
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
    assert task.progress == (1, 2)
    tasks.dismiss("import")
    assert tasks.get("import") is None
    assert tasks.start("import", work)
    ended(tasks)


def test_it_stops_when_asked_to() -> None:
    tasks, go = BackgroundTasks[Count](), threading.Event()

    def work(on_progress: OnProgress) -> TaskResult:
        assert go.wait(30)
        try:
            on_progress((1, 5))
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
def test_an_error_is_reported_in_a_sentence(raised: Exception, text: str) -> None:
    tasks = BackgroundTasks[Count]()

    def work(on_progress: OnProgress) -> TaskResult:
        raise raised

    assert tasks.start("export", work)
    task = ended(tasks, "export")
    assert (task.state, task.outcome.text) == ("failed", text)


def test_readers_do_not_wait_and_one_poll_runs_at_a_time() -> None:
    go, looks = threading.Event(), list[int]()

    def look() -> int:
        looks.append(1)
        assert go.wait(30)
        return len(looks)

    watch = Poller(look, every=3600)
    assert watch.latest() is None and watch.latest() is None and watch.is_polling
    go.set()
    until(lambda: not watch.is_polling)
    assert (watch.latest(), watch.last(), len(looks)) == (1, 1, 1)
    watch.poll()
    until(lambda: watch.last() == 2)


def test_a_failing_poll_keeps_the_previous_result() -> None:
    answers: list[int] = [7]
    watch = Poller(lambda: answers.pop(), every=0)
    for _ in range(2):
        watch.poll()
        until(lambda: not watch.is_polling)
        assert watch.last() == 7
    assert not answers
