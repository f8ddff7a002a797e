"""Looks that take time, made in the background: whoever asks gets what was seen last, at once."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Poller(Generic[T]):
    """One thing to look at; for any number of threads. `every`: seconds for which what was seen is new enough."""

    def __init__(self, look: Callable[[], T], every: float) -> None:
        self._look, self._every = look, every
        self._lock = threading.Lock()
        self._seen: T | None = None
        self._at = float("-inf")
        self._looking = False

    @property
    def is_polling(self) -> bool:
        """Whether somebody is looking just now."""
        with self._lock:
            return self._looking

    def last(self) -> T | None:
        """What was seen last, or None before the first look has ended; looks at nothing."""
        with self._lock:
            return self._seen

    def latest(self) -> T | None:
        """The same, and begins a new look where that has become old."""
        with self._lock:
            old = time.monotonic() - self._at > self._every
        if old:
            self.poll()
        return self.last()

    def poll(self) -> None:
        """Begins a look, unless one is on its way."""
        with self._lock:
            if self._looking:
                return
            self._looking = True
        # A daemon: the program does not wait for it when it ends.
        threading.Thread(target=self._run, name="img2vid watch", daemon=True).start()

    def _run(self) -> None:
        seen: T | None = None
        try:
            seen = self._look()
        except Exception:  # the outermost place of the thread
            log.exception("A look at the computer failed")
        with self._lock:
            self._seen = self._seen if seen is None else seen
            self._at, self._looking = time.monotonic(), False
