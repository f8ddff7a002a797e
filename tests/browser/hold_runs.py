"""Dask preload for the workers of a test's dashboard: holds a run at a step until the test releases it.

The file `hold` in the dashboard's home contains a stage and a step. A run that has reported that step, or a later one
of the stage, waits until the file is deleted or the run is cancelled.
"""

import os
import time
from pathlib import Path
from typing import Any

from img2vid.errors import Cancelled
from img2vid.jobs.worker import Reporter
from img2vid.progress import Event


def dask_setup(worker: Any) -> None:
    """Patch the worker's reporter; Dask calls this when a worker starts."""
    hold = Path(os.environ["IMG2VID_HOME"]) / "hold"
    report = Reporter.__call__

    def report_and_wait(self: Reporter, event: Event) -> None:
        if _is_held(hold, event):
            self._sent = float("-inf")  # disables the rate limit of events
        report(self, event)
        while _is_held(hold, event):
            if not self._wanted():
                raise Cancelled("stopped")
            time.sleep(0.02)

    Reporter.__call__ = report_and_wait


def _is_held(hold: Path, event: Event) -> bool:
    try:
        stage, step = hold.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return False
    return event.stage == stage and event.step >= int(step)
