"""Background downloads: one per version, cancellation, resuming and final messages."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from file_server import FileServer, hold_after, status

from img2vid.background import BackgroundTask
from img2vid.checkpoints.download import Timeouts
from img2vid.checkpoints.progress import Progress
from img2vid.checkpoints.tasks import CheckpointTasks
from img2vid.errors import BadInput
from img2vid.versions import ModelVersion

Make = Callable[..., Timeouts]
Task = BackgroundTask[Progress]
PATIENCE = 60.0
"""Seconds before a test gives up waiting; no test measures time."""


@pytest.fixture
def tasks(patience: Make) -> CheckpointTasks:
    return CheckpointTasks(patience(timeout=0.3))


def until(tasks: CheckpointTasks, name: str, condition: Callable[[Task], bool]) -> Task:
    deadline = time.monotonic() + PATIENCE
    while (task := tasks.get(name)) is None or not condition(task):
        assert time.monotonic() < deadline, task
        time.sleep(0.01)
    return task


def ended(task: Task) -> bool:
    return not task.active


def arriving(task: Task) -> bool:
    return task.progress is not None and task.progress.done > 0


def test_a_download_and_a_verification_end_with_a_sentence(
    tasks: CheckpointTasks, version: ModelVersion, server: FileServer
) -> None:
    assert tasks.get("svd_xt") is None and not tasks.active()
    tasks.download(version)
    task = until(tasks, "svd_xt", ended)
    assert (task.state, task.outcome.text) == ("done", "downloaded and verified; model.safetensors is ready to use")
    tasks.verify(version)
    task = until(tasks, "svd_xt", ended)
    assert task.state == "done" and task.outcome.text.endswith("SHA-256 matches")
    tasks.dismiss("svd_xt")
    assert tasks.get("svd_xt") is None


def test_a_failure_is_a_sentence(tasks: CheckpointTasks, version: ModelVersion, server: FileServer) -> None:
    server.script = [status(404)]
    tasks.download(version)
    task = until(tasks, "svd_xt", ended)
    assert task.state == "failed" and "was not found (HTTP 404)" in task.outcome.text


def test_a_second_press_begins_no_second_download(
    tasks: CheckpointTasks, version: ModelVersion, server: FileServer
) -> None:
    server.script = [hold_after(100_000)]
    tasks.download(version)
    until(tasks, "svd_xt", lambda task: bool(server.requests))
    tasks.download(version)
    tasks.verify(version)
    tasks.dismiss("svd_xt")
    assert tasks.active()
    assert tasks.get("svd_xt") is not None
    assert until(tasks, "svd_xt", ended).state == "done"
    assert server.ranges() == [None, "bytes=100000-"]


def test_a_cancelled_download_goes_on_where_it_was(
    tasks: CheckpointTasks, version: ModelVersion, server: FileServer, project: Path
) -> None:
    server.script = [hold_after(100_000)]
    tasks.download(version)
    until(tasks, "svd_xt", lambda task: bool(server.requests))
    tasks.cancel("svd_xt")
    assert until(tasks, "svd_xt", ended).state == "cancelled"
    assert not (project / "model.safetensors").exists()
    tasks.download(version)
    assert until(tasks, "svd_xt", ended).state == "done"
    tasks.cancel("svd_xt")
    assert tasks.get("svd_xt") is not None and not tasks.active()


def test_a_version_without_a_source_is_refused_at_once(tasks: CheckpointTasks, version: ModelVersion) -> None:
    with pytest.raises(BadInput, match="svd_xt has no download address"):
        tasks.download(version.model_copy(update={"source": "a friend"}))
    assert tasks.get("svd_xt") is None
