"""Checkpoint tasks whose progress a test sets."""

from typing import Any

from img2vid.background import BackgroundTask
from img2vid.checkpoints.progress import Progress
from img2vid.checkpoints.tasks import CheckpointTasks
from img2vid.versions import CheckpointRow

Task = BackgroundTask[Progress]


class FakeTasks(CheckpointTasks):
    """Fake tasks whose progress the test sets. calls: requests of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    def download(
        self, version: CheckpointRow, mirror: str | None = None, token: str | None = None, *, folder: bool = False
    ) -> None:
        self.calls.append(("download", version.name, mirror, token, *(["folder"] if folder else [])))
        self.put(version.name, Task())

    def verify(self, version: CheckpointRow) -> None:
        self.calls.append(("verify", version.name))
        self.put(version.name, Task())

    def put(self, name: str, task: Task) -> None:
        self._tasks[name] = task
