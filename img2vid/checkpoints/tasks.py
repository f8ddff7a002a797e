"""Downloads and verifications that go on in the background, whoever looks at them or does not."""

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
    """What is done to a version's checkpoint, and how far it is or what came of it."""

    kind: Literal["download", "verify"]
    state: State = "running"
    progress: Progress | None = None
    text: str = ""
    """When it has ended: what it came to, in a sentence."""

    @property
    def active(self) -> bool:
        """Whether it still goes on."""
        return self.state in ("running", "stopping")


class Tasks:
    """At most one task for each version, each in a thread of its own; for any number of threads to share.

    They end with the program. A download that was cut off goes on from what has arrived when it is started again.
    """

    def __init__(self, patience: Timeouts | None = None) -> None:
        self._patience = patience
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()

    def download(self, version: ModelVersion, mirror: str | None = None, token: str | None = None) -> None:
        """Begins to fetch a version's checkpoint. Raises BadInput where it has no source."""
        source = find_source(version, mirror=mirror, token=token)

        def work(on_progress: OnProgress) -> str:
            path = download(version, source, on_progress, self._patience)
            return f"all of it has arrived; {path.name} is checked and ready"

        self._start(version.name, Task("download"), work)

    def verify(self, version: ModelVersion) -> None:
        """Begins to read a version's checkpoint."""
        self._start(version.name, Task("verify"), lambda on_progress: verify(version, on_progress).sentence())

    def cancel(self, name: str) -> None:
        """Asks a version's task to stop; it does so as soon as it has the next bytes."""
        with self._lock:
            task = self._tasks.get(name)
            if task is not None and task.active:
                self._tasks[name] = replace(task, state="stopping")

    def get(self, name: str) -> Task | None:
        """A version's task, the last one where it has ended."""
        with self._lock:
            return self._tasks.get(name)

    def dismiss(self, name: str) -> None:
        """Says no more about a task that has ended."""
        with self._lock:
            task = self._tasks.get(name)
            if task is not None and not task.active:
                del self._tasks[name]

    def active(self) -> bool:
        """Whether any goes on."""
        with self._lock:
            return any(task.active for task in self._tasks.values())

    def _start(self, name: str, task: Task, work: Callable[[OnProgress], str]) -> None:
        with self._lock:
            there = self._tasks.get(name)
            if there is not None and there.active:
                return
            self._tasks[name] = task
        # A daemon: the program does not wait for it when it ends.
        threading.Thread(target=self._run, args=(name, work), name=f"{task.kind} {name}", daemon=True).start()

    def _run(self, name: str, work: Callable[[OnProgress], str]) -> None:
        try:
            self._end(name, "done", work(lambda progress: self._report(name, progress)))
        except Cancelled:
            self._end(name, "cancelled", "")
        except Img2VidError as error:
            self._end(name, "failed", str(error))
        except Exception as error:  # the outermost place of the thread
            log.exception("The task of %s failed", name)
            self._end(name, "failed", f"something unforeseen happened: {type(error).__name__}, {error}")

    def _report(self, name: str, progress: Progress) -> None:
        with self._lock:
            task = self._tasks[name]
            if task.state == "stopping":
                raise Cancelled("stopped")
            self._tasks[name] = replace(task, progress=progress)

    def _end(self, name: str, state: State, text: str) -> None:
        with self._lock:
            self._tasks[name] = replace(self._tasks[name], state=state, text=text)
