"""Background tasks that need no worker, such as imports and exports. They run in threads, independent of any page."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from img2vid.errors import Cancelled, Img2VidError

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]
"""Progress callback with the finished and the total count; raises Cancelled after the task was cancelled."""


@dataclass(frozen=True)
class TaskResult:
    """Result of a task as one sentence. `details` are lines about single files, `file` is the output file."""

    text: str
    details: tuple[str, ...] = ()
    file: Path | None = None


@dataclass(frozen=True)
class BackgroundTask:
    """Progress or result of a task."""

    state: Literal["running", "stopping", "done", "failed", "cancelled"] = "running"
    done: int = 0
    total: int = 0
    outcome: TaskResult = TaskResult("")

    @property
    def active(self) -> bool:
        """True until the task has ended."""
        return self.state in ("running", "stopping")


class BackgroundTasks:
    """Runs at most one task per name, each in its own thread. Thread-safe."""

    def __init__(self) -> None:
        self._tasks: dict[str, BackgroundTask] = {}
        self._lock = threading.Lock()

    def start(self, name: str, work: Callable[[OnProgress], TaskResult]) -> bool:
        """Start a task unless one with this name is active; return True if it was started."""
        with self._lock:
            previous = self._tasks.get(name)
            if previous is not None and previous.active:
                return False
            self._tasks[name] = BackgroundTask()
        # A daemon thread does not keep the program alive at exit.
        threading.Thread(target=self._run, args=(name, work), name=f"img2vid {name}", daemon=True).start()
        return True

    def get(self, name: str) -> BackgroundTask | None:
        """Return the task with this name, active or ended, or None."""
        with self._lock:
            return self._tasks.get(name)

    def cancel(self, name: str) -> None:
        """Cancel an active task; it stops after the current file."""
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

    def _run(self, name: str, work: Callable[[OnProgress], TaskResult]) -> None:
        try:
            outcome = work(lambda done, total: self._report(name, done, total))
            self._end(name, BackgroundTask("done", outcome=outcome))
        except Cancelled as error:
            self._end(name, BackgroundTask("cancelled", outcome=TaskResult(str(error))))
        except Img2VidError as error:
            self._end(name, BackgroundTask("failed", outcome=TaskResult(str(error))))
        except Exception as error:  # top level of the thread
            log.exception("%s failed", name)
            reason = " ".join(f"{type(error).__name__}, {error}".split())
            self._end(name, BackgroundTask("failed", outcome=TaskResult(f"unexpected error: {reason}")))

    def _report(self, name: str, done: int, total: int) -> None:
        with self._lock:
            task = self._tasks[name]
            if task.state == "stopping":
                raise Cancelled("stopped")
            self._tasks[name] = replace(task, done=done, total=total)

    def _end(self, name: str, task: BackgroundTask) -> None:
        with self._lock:
            last = self._tasks[name]
            self._tasks[name] = replace(task, done=last.done, total=last.total)
