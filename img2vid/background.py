"""Work that takes a while and needs no worker: an import, an export. It goes on in threads, whoever looks or not."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from img2vid.errors import Cancelled, Img2VidError

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]
"""Hears how many of how many are done; raises Cancelled where nobody wants the rest."""


@dataclass(frozen=True)
class TaskResult:
    """What came of it, in a sentence; `details` are lines about single files, `file` what was made."""

    text: str
    details: tuple[str, ...] = ()
    file: Path | None = None


@dataclass(frozen=True)
class BackgroundTask:
    """How far it is, or what came of it."""

    state: Literal["running", "stopping", "done", "failed", "cancelled"] = "running"
    done: int = 0
    total: int = 0
    outcome: TaskResult = TaskResult("")

    @property
    def active(self) -> bool:
        """Whether it still goes on."""
        return self.state in ("running", "stopping")


class BackgroundTasks:
    """At most one task of each name at a time, each in a thread of its own; for any number of threads to share."""

    def __init__(self) -> None:
        self._chores: dict[str, BackgroundTask] = {}
        self._lock = threading.Lock()

    def start(self, name: str, work: Callable[[OnProgress], TaskResult]) -> bool:
        """Begins it, unless one of that name goes on; returns whether it began."""
        with self._lock:
            there = self._chores.get(name)
            if there is not None and there.active:
                return False
            self._chores[name] = BackgroundTask()
        # A daemon: the program does not wait for it when it ends.
        threading.Thread(target=self._run, args=(name, work), name=f"img2vid {name}", daemon=True).start()
        return True

    def get(self, name: str) -> BackgroundTask | None:
        """The task of that name, the last one where it has ended."""
        with self._lock:
            return self._chores.get(name)

    def cancel(self, name: str) -> None:
        """Asks it to stop, which it does after the file at hand."""
        with self._lock:
            task = self._chores.get(name)
            if task is not None and task.active:
                self._chores[name] = replace(task, state="stopping")

    def dismiss(self, name: str) -> None:
        """Says no more about one that has ended."""
        with self._lock:
            task = self._chores.get(name)
            if task is not None and not task.active:
                del self._chores[name]

    def _run(self, name: str, work: Callable[[OnProgress], TaskResult]) -> None:
        try:
            outcome = work(lambda done, total: self._report(name, done, total))
            self._end(name, BackgroundTask("done", outcome=outcome))
        except Cancelled as error:
            self._end(name, BackgroundTask("cancelled", outcome=TaskResult(str(error))))
        except Img2VidError as error:
            self._end(name, BackgroundTask("failed", outcome=TaskResult(str(error))))
        except Exception as error:  # the outermost place of the thread
            log.exception("%s failed", name)
            reason = " ".join(f"{type(error).__name__}, {error}".split())
            self._end(name, BackgroundTask("failed", outcome=TaskResult(f"something unforeseen happened: {reason}")))

    def _report(self, name: str, done: int, total: int) -> None:
        with self._lock:
            task = self._chores[name]
            if task.state == "stopping":
                raise Cancelled("stopped")
            self._chores[name] = replace(task, done=done, total=total)

    def _end(self, name: str, task: BackgroundTask) -> None:
        with self._lock:
            last = self._chores[name]
            self._chores[name] = replace(task, done=last.done, total=last.total)
