"""Waiting for jobs: the command line submits jobs to the service of its home and follows their progress."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from img2vid import errors, paths
from img2vid.errors import BadInput, Img2VidError
from img2vid.file_lock import is_held
from img2vid.jobs.cluster import ClusterError, scheduler_address
from img2vid.jobs.job import Job, State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.progress import Event, OnEvent, Result

POLL = 0.1
GIVE_UP = 30.0
"""Seconds of failure after which waiting ends with an error."""
CANCEL_TIMEOUT = 10.0
"""Seconds to wait for cancelled jobs to end."""


def service_is_running() -> bool:
    """Return True if a service is active for this home or the user has set a scheduler."""
    return scheduler_address() is not None or is_held(paths.home())


@contextmanager
def reserve_service() -> Generator[JobService, None, None]:
    """Yield a service of this process that becomes active if no other is.

    Jobs still running at the end of the block return to the queue for the next service.
    """
    service = JobService(Store())
    service.start()
    try:
        yield service
    finally:
        service.stop(requeue=True)


@contextmanager
def cancelling(service: JobService, jobs: Sequence[Job]) -> Generator[None, None, None]:
    """Cancel the jobs if an exception, such as Ctrl-C, ends the block."""
    try:
        yield
    except BaseException:
        for job in jobs:
            service.cancel(job.id)
        deadline = time.monotonic() + CANCEL_TIMEOUT
        while time.monotonic() < deadline and not all(service.store.job(job.id).state.ended for job in jobs):
            time.sleep(POLL)
        raise


def wait_for_job(service: JobService, job: Job, on_event: OnEvent, on_result: Callable[[Result], None]) -> Job:
    """Wait until a job is done and return it. `on_result` is called with each video as soon as it is finished.

    An interrupted job is requeued once. `on_event` receives progress, with the stage "wait" before the job starts.
    Raise BadInput or another Img2VidError if the job failed, ClusterError if no cluster can be reached.
    """
    reported = 0

    def poll(jobs: Sequence[Job]) -> None:
        nonlocal reported
        for result in jobs[0].results[reported:]:
            on_result(result)
        reported = len(jobs[0].results)
        if not jobs[0].state.ended:
            on_event(service.store.progress(job.id) or Event("wait", 0, 1))

    (ended,) = wait_for_jobs(service, [job], poll)
    if ended.state is not State.DONE:
        raise error_of(ended)
    return ended


def wait_for_jobs(service: JobService, jobs: Sequence[Job], on_poll: Callable[[Sequence[Job]], None]) -> list[Job]:
    """Wait until all jobs have ended, in whatever state, and return them. See `error_of` for failed ones.

    An interrupted job is requeued once. `on_poll` is called with the current jobs at every poll. Raise ClusterError
    if no cluster can be reached.
    """
    interrupted: set[str] = set()
    failing_since: float | None = None
    while True:
        now = [service.store.job(job.id) for job in jobs]
        for job in now:
            if job.state is State.INTERRUPTED and job.id not in interrupted:
                interrupted.add(job.id)
                service.store.requeue(job.id)
        now = [service.store.job(job.id) if job.id in interrupted else job for job in now]
        on_poll(now)
        if all(job.state.ended for job in now):
            return now
        failing_since = (failing_since or time.monotonic()) if service.failure() else None
        if failing_since is not None and time.monotonic() - failing_since > GIVE_UP:
            raise ClusterError(service.failure() or "")
        time.sleep(POLL)


def error_of(job: Job) -> Img2VidError:
    """Return the error that ended a job: BadInput if it was one on the worker, else Img2VidError."""
    if job.state is State.CANCELLED:
        return Img2VidError("the job was cancelled")
    kind = getattr(errors, job.error_type, None)
    if isinstance(kind, type) and issubclass(kind, BadInput):
        return BadInput(job.error)
    return Img2VidError(job.error)
