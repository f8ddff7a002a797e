"""Remaining time of several jobs, from their progress and the usual times of such videos."""

import time
from collections.abc import Sequence

from img2vid.jobs.job import Job, State
from img2vid.jobs.store import Store


def seconds_left(store: Store, jobs: Sequence[Job], workers: int = 1, now: float | None = None) -> float | None:
    """Return the seconds until all jobs have ended, including the jobs ahead of them in the queue; 0 if all have.

    jobs: current state. workers: number of parallel workers. None if unknown, as before the first video of a kind.
    """
    active = {job.id for job in jobs if not job.state.ended}
    if not active:
        return 0.0
    moment = time.time() if now is None else now
    ahead = store.jobs(limit=-1, states=(State.RUNNING,))
    queue = store.queue()
    last = max((place for place, job in enumerate(queue) if job.id in active), default=-1)
    times = [_running(store, job, moment) for job in ahead]
    times += [_whole(store, job) for job in queue[: last + 1]]
    known = [seconds for seconds in times if seconds is not None]
    if len(known) < len(times):
        return None
    return sum(known) / max(min(workers, len(times)), 1)


def _running(store: Store, job: Job, moment: float) -> float | None:
    event = store.progress(job.id)
    whole = _whole(store, job)
    left = None if event is None else event.by(moment).seconds_left
    return whole if left is None else left


def _whole(store: Store, job: Job) -> float | None:
    """Return the expected seconds of a job. Those of pictures are unknown."""
    return store.expected_seconds(job.settings, job.options) if job.kind == "video" else None
