"""Where a run is, told on the way: events of stages, and the clock that times them."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Event:
    """Where a run is. Stages are load, condition, sample, decode and write.

    step of total are done in this stage; elapsed and seconds_left belong to this stage, seconds_left is None until it
    can be told. sigma and preview, (T, h, w, 3) at the latents' size, come while sampling. notice tells in a sentence
    what goes otherwise than asked for; with step 0 the stage begins anew.
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
    """Makes events whose times are counted within each stage."""

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
        """Sends an event; an exception raised by its receiver stops the run."""
        now = time.monotonic()
        if stage != self._stage or (notice and step == 0):
            self._stage, self._started = stage, now
        elapsed = now - self._started
        left = elapsed / step * (total - step) if step else None
        self._on_event(Event(stage, step, total, elapsed, left, sigma, preview, notice))


def ignore(event: Event) -> None:
    """Receives events and does nothing."""
