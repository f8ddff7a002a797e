"""Background work that needs no worker: tasks and pollers in daemon threads, independent of any page."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Literal, TypeVar

from img2vid.errors import Cancelled, Img2VidError

log = logging.getLogger(__name__)

P = TypeVar("P")
T = TypeVar("T")

Count = tuple[int, int]
"""Progress as the finished and the total count."""
OnProgress = Callable[[Count], None]
"""Progress callback; raises Cancelled after the task was cancelled."""


@dataclass(frozen=True)
class TaskResult:
    """Result of a task as one sentence. `details` are lines about single files, `file` is the output file."""

    text: str = ""
    details: tuple[str, ...] = ()
    file: Path | None = None


@dataclass(frozen=True)
class BackgroundTask(Generic[P]):
    """Progress or result of a task."""

    state: Literal["running", "stopping", "done", "failed", "cancelled"] = "running"
    progress: P | None = None
    outcome: TaskResult = TaskResult()

    @property
    def active(self) -> bool:
        """True until the task has ended."""
        return self.state in ("running", "stopping")


class BackgroundTasks(Generic[P]):
    """Runs at most one task per name, each in its own thread. Thread-safe. P: type of the progress."""

    def __init__(self) -> None:
        self._tasks: dict[str, BackgroundTask[P]] = {}
        self._lock = threading.Lock()

    def start(self, name: str, work: Callable[[Callable[[P], None]], TaskResult]) -> bool:
        """Start a task unless one with this name is active; return True if it was started."""
        with self._lock:
            previous = self._tasks.get(name)
            if previous is not None and previous.active:
                return False
            self._tasks[name] = BackgroundTask()
        # A daemon thread does not keep the program alive at exit.
        threading.Thread(target=self._run, args=(name, work), name=f"img2vid {name}", daemon=True).start()
        return True

    def get(self, name: str) -> BackgroundTask[P] | None:
        """Return the task with this name, active or ended, or None."""
        with self._lock:
            return self._tasks.get(name)

    def active(self) -> bool:
        """Return True if any task is active."""
        with self._lock:
            return any(task.active for task in self._tasks.values())

    def cancel(self, name: str) -> None:
        """Cancel an active task; it stops at its next progress report."""
        with self._lock:
            task = self._tasks.get(name)
            if task is not None and task.active:
                self._tasks[name] = replace(task, state="stopping")

    def dismiss(self, name: str) -> None:
        """Remove an ended task."""
        with self._lock:
            task = self._tasks.get(name)
            if task is not None and not task.active:
                del self._tasks[name]

    def _run(self, name: str, work: Callable[[Callable[[P], None]], TaskResult]) -> None:
        try:
            ended = BackgroundTask[P]("done", outcome=work(lambda progress: self._report(name, progress)))
        except Cancelled as error:
            ended = BackgroundTask[P]("cancelled", outcome=TaskResult(str(error)))
        except Img2VidError as error:
            log.warning("%s failed: %s", name, error)
            ended = BackgroundTask[P]("failed", outcome=TaskResult(str(error)))
        except Exception as error:  # top level of the thread
            log.exception("%s failed", name)
            reason = " ".join(f"{type(error).__name__}, {error}".split())
            ended = BackgroundTask[P]("failed", outcome=TaskResult(f"unexpected error: {reason}"))
        with self._lock:
            self._tasks[name] = replace(ended, progress=self._tasks[name].progress)

    def _report(self, name: str, progress: P) -> None:
        with self._lock:
            task = self._tasks[name]
            if task.state == "stopping":
                raise Cancelled("stopped")
            self._tasks[name] = replace(task, progress=progress)


class Poller(Generic[T]):
    """Background poll of a slow check `look`; readers get the latest result at once.

    `every`: seconds until a result is stale. A failed poll keeps the previous result. Thread-safe.
    """

    def __init__(self, look: Callable[[], T], every: float) -> None:
        self._look, self._every = look, every
        self._tasks: BackgroundTasks[None] = BackgroundTasks()
        self._seen: T | None = None
        self._at = float("-inf")

    @property
    def is_polling(self) -> bool:
        """True while a poll is running."""
        return self._tasks.active()

    def last(self) -> T | None:
        """Return the latest result, or None before the first poll ends. Never starts a poll."""
        return self._seen

    def latest(self) -> T | None:
        """Return the latest result and start a poll if it is stale."""
        if time.monotonic() - self._at > self._every:
            self.poll()
        return self._seen

    def poll(self) -> None:
        """Start a poll unless one is running."""
        self._tasks.start("poll", lambda _: self._work())

    def _work(self) -> TaskResult:
        try:
            self._seen = self._look()
        finally:
            self._at = time.monotonic()
        return TaskResult()
