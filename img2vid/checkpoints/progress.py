"""Progress of reading or downloading a large file: bytes, speed, time left."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["check", "download", "wait", "convert"]
"""Read from disk, download, wait for a retry, convert to another number format."""

WINDOW = 10.0
"""Seconds of the moving average of the speed."""
INTERVAL = 0.2
"""Seconds between two reports."""


@dataclass(frozen=True)
class Progress:
    """`done` of `total` bytes (0 if unknown), and the recent speed in bytes per second."""

    stage: Stage
    done: int
    total: int
    speed: float = 0.0
    note: str = ""
    """Reason for waiting, in a sentence."""

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds left, or None if unknown."""
        return (self.total - self.done) / self.speed if self.speed > 0 and self.total else None


OnProgress = Callable[[Progress], None]
"""Progress callback; raising Cancelled from it stops the work."""


def ignore(progress: Progress) -> None:
    """Ignore progress."""


class Meter:
    """Rate-limited progress reports of one stage, with the speed."""

    def __init__(self, stage: Stage, on_progress: OnProgress, clock: Callable[[], float] = time.monotonic) -> None:
        self._stage: Stage = stage
        self._on_progress = on_progress
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._reported: float | None = None

    def __call__(self, done: int, total: int) -> None:
        """Report `done` of `total` bytes. The final report is never dropped."""
        now = self._clock()
        if self._reported is not None and now - self._reported < INTERVAL and done != total:
            return
        self._reported = now
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        speed = (done - before) / (now - since) if now > since else 0.0
        self._on_progress(Progress(self._stage, done, total, speed))
