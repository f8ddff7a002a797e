"""Progress events of a run, and the clock that times its stages."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Event:
    """Progress of a run. Stages are load, condition, sample, decode and write.

    `step` of `total` steps of this stage are done. elapsed and seconds_left count within the stage; seconds_left is
    None until it is known. sigma and preview, (T, h, w, 3) at the latents' size, are set while sampling. notice
    describes a deviation from the request in one sentence; with step 0 it restarts the stage.
    """

    stage: str
    step: int
    total: int
    elapsed: float
    seconds_left: float | None = None
    sigma: float | None = None
    preview: NDArray[np.uint8] | None = None
    notice: str = ""


OnEvent = Callable[[Event], None]


class StageClock:
    """Sends events with times counted within each stage."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._stage = ""
        self._started = 0.0

    def report(
        self,
        stage: str,
        step: int,
        total: int,
        *,
        sigma: float | None = None,
        preview: NDArray[np.uint8] | None = None,
        notice: str = "",
    ) -> None:
        """Send an event. An exception raised by its receiver stops the run."""
        now = time.monotonic()
        if stage != self._stage or (notice and step == 0):
            self._stage, self._started = stage, now
        elapsed = now - self._started
        left = elapsed / step * (total - step) if step else None
        self._on_event(Event(stage, step, total, elapsed, left, sigma, preview, notice))


def ignore(event: Event) -> None:
    """Ignore an event."""
