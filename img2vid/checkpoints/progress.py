"""How far reading or fetching a large file is: bytes, speed, time left."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["check", "download", "wait", "convert"]
"""Reading what is on the disk, fetching, waiting until the next attempt, writing in another number format."""

WINDOW = 10.0
"""Seconds over which the speed is taken."""
INTERVAL = 0.2
"""Seconds between two reports."""


@dataclass(frozen=True)
class Progress:
    """`done` of `total` bytes (0 where the total is not known), and bytes a second as of late."""

    stage: Stage
    done: int
    total: int
    speed: float = 0.0
    note: str = ""
    """Why it waits, in a sentence."""

    @property
    def seconds_left(self) -> float | None:
        """None where it cannot be told."""
        return (self.total - self.done) / self.speed if self.speed > 0 and self.total else None


OnProgress = Callable[[Progress], None]
"""Hears how far it is; raising Cancelled from it stops the work."""


def ignore(progress: Progress) -> None:
    """Hears nothing."""


class Meter:
    """Reports the bytes of one stage, a few times a second, with their speed."""

    def __init__(self, stage: Stage, on_progress: OnProgress, clock: Callable[[], float] = time.monotonic) -> None:
        self._stage: Stage = stage
        self._on_progress = on_progress
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._told: float | None = None

    def __call__(self, done: int, total: int) -> None:
        """`done` bytes of `total` are there; the last ones are always reported."""
        now = self._clock()
        if self._told is not None and now - self._told < INTERVAL and done != total:
            return
        self._told = now
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        speed = (done - before) / (now - since) if now > since else 0.0
        self._on_progress(Progress(self._stage, done, total, speed))
