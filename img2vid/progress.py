"""Reports of a run: progress events and finished videos. Both are stored, so their fields are validated."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
"""Configuration of dataclasses that are read from rows: wrong types raise ValidationError."""
LONGEST = 1e9
Duration = Annotated[float, Field(ge=0, le=LONGEST)]
"""Seconds."""


@dataclass(frozen=True, config=STRICT)
class Result:
    """Finished video: its file, first frame, settings, animation if requested, and how it was made.

    seconds: without loading the model, 0 if unknown. metadata: contains the settings that were used. memory: peak bytes
    in use while it was made, 0 if unknown. notice: deviations from the request, such as a retry, or empty.
    """

    video: Path
    still: Path
    sidecar: Path
    animation: Path | None
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    seconds: Duration
    metadata: dict[str, Any]
    memory: int = 0
    notice: str = ""


@dataclass(frozen=True, config={**STRICT, "arbitrary_types_allowed": True})
class Event:
    """Progress of a run. Stages are load, condition, sample, decode and write.

    `step` of `total` steps of this stage are done. elapsed and seconds_left count within the stage, in a job's progress
    from the job's start and to its end; seconds_left stays None until known. sigma and frames, (T, h, w, 3) at the
    latents' size, are set while sampling. notice describes a deviation from the request in one sentence; with step 0 it
    restarts the stage.

    The last five leave a worker's process instead of `frames`: memory in use in bytes, on the GPU if there is one;
    preview, an animated GIF of the frames, or empty; the number of the current `video` of `videos`; and the time at
    which the service got the event, 0 if unknown.
    """

    stage: str
    step: int
    total: int
    elapsed: Duration = 0.0
    seconds_left: Duration | None = None
    sigma: float | None = None
    notice: str = ""
    frames: NDArray[np.uint8] | None = None
    memory: int = 0
    preview: bytes = b""
    video: int = 1
    videos: int = 1
    received: float = 0.0

    def by(self, now: float) -> "Event":
        """Return the event with its times advanced to `now`, as steps of large models take long."""
        since = min(max(now - self.received, 0.0), LONGEST) if self.received else 0.0
        left = None if self.seconds_left is None else max(self.seconds_left - since, 0.0)
        return replace(self, elapsed=min(self.elapsed + since, LONGEST), seconds_left=left)


OnEvent = Callable[[Event], None]


class StageClock:
    """Sends events with times counted within each stage."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._stage = ""
        self._started = 0.0
        self.notices: list[str] = []

    def report(
        self,
        stage: str,
        step: int,
        total: int,
        *,
        sigma: float | None = None,
        frames: NDArray[np.uint8] | None = None,
        notice: str = "",
    ) -> None:
        """Send an event. An exception raised by its receiver stops the run."""
        now = time.monotonic()
        if notice:
            self.notices.append(notice)
        if stage != self._stage or (notice and step == 0):
            self._stage, self._started = stage, now
        elapsed = now - self._started
        left = min(elapsed / step * (total - step), LONGEST) if step else None
        self._on_event(Event(stage, step, total, elapsed, left, sigma, notice, frames))


def ignore(event: Event) -> None:
    """Ignore an event."""
