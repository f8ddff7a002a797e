"""Background polling of slow checks; readers get the latest result at once."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Poller(Generic[T]):
    """Thread-safe background poll of `look`. `every`: seconds until a result is stale."""

    def __init__(self, look: Callable[[], T], every: float) -> None:
        self._look, self._every = look, every
        self._lock = threading.Lock()
        self._seen: T | None = None
        self._at = float("-inf")
        self._looking = False

    @property
    def is_polling(self) -> bool:
        """True while a poll is running."""
        with self._lock:
            return self._looking

    def last(self) -> T | None:
        """Return the latest result, or None before the first poll ends. Never starts a poll."""
        with self._lock:
            return self._seen

    def latest(self) -> T | None:
        """Return the latest result and start a poll if it is stale."""
        with self._lock:
            old = time.monotonic() - self._at > self._every
        if old:
            self.poll()
        return self.last()

    def poll(self) -> None:
        """Start a poll unless one is running."""
        with self._lock:
            if self._looking:
                return
            self._looking = True
        # A daemon thread does not delay the end of the program.
        threading.Thread(target=self._run, name="img2vid watch", daemon=True).start()

    def _run(self) -> None:
        seen: T | None = None
        try:
            seen = self._look()
        except Exception:  # outermost handler of the thread
            log.exception("A background poll failed")
        with self._lock:
            self._seen = self._seen if seen is None else seen
            self._at, self._looking = time.monotonic(), False
