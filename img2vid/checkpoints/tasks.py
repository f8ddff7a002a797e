"""Background downloads and verifications, independent of any page."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from img2vid.checkpoints.download import Timeouts, download
from img2vid.checkpoints.progress import OnProgress, Progress
from img2vid.checkpoints.sources import find_source
from img2vid.checkpoints.verify import verify
from img2vid.errors import Cancelled, Img2VidError
from img2vid.versions import ModelVersion

log = logging.getLogger(__name__)

State = Literal["running", "stopping", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class Task:
    """A download or verification of a version's checkpoint, with its progress or outcome."""

    kind: Literal["download", "verify"]
    state: State = "running"
    progress: Progress | None = None
    text: str = ""
    """Outcome in a sentence, once ended."""

    @property
    def active(self) -> bool:
        """Return True while the task runs."""
        return self.state in ("running", "stopping")


class Tasks:
    """Thread-safe registry of at most one background task per version.

    Tasks end with the process. An interrupted download resumes when it is started again.
    """

    def __init__(self, patience: Timeouts | None = None) -> None:
        self._patience = patience
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()

    def download(self, version: ModelVersion, mirror: str | None = None, token: str | None = None) -> None:
        """Start to download a version's checkpoint. Raise BadInput if it has no source."""
        source = find_source(version, mirror=mirror, token=token)

        def work(on_progress: OnProgress) -> str:
            path = download(version, source, on_progress, self._patience)
            return f"downloaded and verified; {path.name} is ready to use"

        self._start(version.name, Task("download"), work)

    def verify(self, version: ModelVersion) -> None:
        """Start to verify a version's checkpoint."""
        self._start(version.name, Task("verify"), lambda on_progress: verify(version, on_progress).sentence())

    def cancel(self, name: str) -> None:
        """Request cancellation of a version's task; it stops at its next progress report."""
        with self._lock:
            task = self._tasks.get(name)
            if task is not None and task.active:
                self._tasks[name] = replace(task, state="stopping")

    def get(self, name: str) -> Task | None:
        """Return the current or last task of a version, or None."""
        with self._lock:
            return self._tasks.get(name)

    def dismiss(self, name: str) -> None:
        """Forget a task that has ended."""
        with self._lock:
            task = self._tasks.get(name)
            if task is not None and not task.active:
                del self._tasks[name]

    def active(self) -> bool:
        """Return True if any task runs."""
        with self._lock:
            return any(task.active for task in self._tasks.values())

    def _start(self, name: str, task: Task, work: Callable[[OnProgress], str]) -> None:
        with self._lock:
            current = self._tasks.get(name)
            if current is not None and current.active:
                return
            self._tasks[name] = task
        # A daemon thread does not keep the process alive.
        threading.Thread(target=self._run, args=(name, work), name=f"{task.kind} {name}", daemon=True).start()

    def _run(self, name: str, work: Callable[[OnProgress], str]) -> None:
        try:
            self._end(name, "done", work(lambda progress: self._report(name, progress)))
        except Cancelled:
            self._end(name, "cancelled", "")
        except Img2VidError as error:
            self._end(name, "failed", str(error))
        except Exception as error:  # the outermost handler of the thread
            log.exception("The task of %s failed", name)
            self._end(name, "failed", f"unexpected error: {type(error).__name__}, {error}")

    def _report(self, name: str, progress: Progress) -> None:
        with self._lock:
            task = self._tasks[name]
            if task.state == "stopping":
                raise Cancelled("stopped")
            self._tasks[name] = replace(task, progress=progress)

    def _end(self, name: str, state: State, text: str) -> None:
        with self._lock:
            self._tasks[name] = replace(self._tasks[name], state=state, text=text)
