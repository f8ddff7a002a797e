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
class Outcome:
    """What came of it, in a sentence; `details` are lines about single files, `file` what was made."""

    text: str
    details: tuple[str, ...] = ()
    file: Path | None = None


@dataclass(frozen=True)
class Chore:
    """How far it is, or what came of it."""

    state: Literal["running", "stopping", "done", "failed", "cancelled"] = "running"
    done: int = 0
    total: int = 0
    outcome: Outcome = Outcome("")

    @property
    def active(self) -> bool:
        """Whether it still goes on."""
        return self.state in ("running", "stopping")


class Chores:
    """At most one chore of each name at a time, each in a thread of its own; for any number of threads to share."""

    def __init__(self) -> None:
        self._chores: dict[str, Chore] = {}
        self._lock = threading.Lock()

    def start(self, name: str, work: Callable[[OnProgress], Outcome]) -> bool:
        """Begins it, unless one of that name goes on; returns whether it began."""
        with self._lock:
            there = self._chores.get(name)
            if there is not None and there.active:
                return False
            self._chores[name] = Chore()
        # A daemon: the program does not wait for it when it ends.
        threading.Thread(target=self._run, args=(name, work), name=f"img2vid {name}", daemon=True).start()
        return True

    def of(self, name: str) -> Chore | None:
        """The chore of that name, the last one where it has ended."""
        with self._lock:
            return self._chores.get(name)

    def cancel(self, name: str) -> None:
        """Asks it to stop, which it does after the file at hand."""
        with self._lock:
            chore = self._chores.get(name)
            if chore is not None and chore.active:
                self._chores[name] = replace(chore, state="stopping")

    def forget(self, name: str) -> None:
        """Says no more about one that has ended."""
        with self._lock:
            chore = self._chores.get(name)
            if chore is not None and not chore.active:
                del self._chores[name]

    def _run(self, name: str, work: Callable[[OnProgress], Outcome]) -> None:
        try:
            outcome = work(lambda done, total: self._report(name, done, total))
            self._end(name, Chore("done", outcome=outcome))
        except Cancelled as error:
            self._end(name, Chore("cancelled", outcome=Outcome(str(error))))
        except Img2VidError as error:
            self._end(name, Chore("failed", outcome=Outcome(str(error))))
        except Exception as error:  # the outermost place of the thread
            log.exception("%s failed", name)
            reason = " ".join(f"{type(error).__name__}, {error}".split())
            self._end(name, Chore("failed", outcome=Outcome(f"something unforeseen happened: {reason}")))

    def _report(self, name: str, done: int, total: int) -> None:
        with self._lock:
            chore = self._chores[name]
            if chore.state == "stopping":
                raise Cancelled("stopped")
            self._chores[name] = replace(chore, done=done, total=total)

    def _end(self, name: str, chore: Chore) -> None:
        with self._lock:
            last = self._chores[name]
            self._chores[name] = replace(chore, done=last.done, total=last.total)
