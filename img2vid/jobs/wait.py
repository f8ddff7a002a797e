"""Jobs for programs that wait for them: the command line gives its jobs to the service of its home and follows them."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from img2vid import errors, paths
from img2vid.errors import BadInput, Img2VidError
from img2vid.file_lock import is_held
from img2vid.jobs.cluster import scheduler_address
from img2vid.jobs.job import Job, State, StoredResult
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.progress import Event, OnEvent

POLL = 0.1
GIVE_UP = 30.0
"""Seconds for which a scheduler may not answer."""
LEAVE = 10.0
"""Seconds for which cancelled jobs are waited for."""


def service_is_running() -> bool:
    """Whether jobs belong to a service: one is active for this home, or the user has named a scheduler."""
    return scheduler_address() is not None or is_held(paths.home())


@contextmanager
def reserve_service() -> Generator[JobService, None, None]:
    """A service of this process for the block; it takes over where no other one is active.

    What it runs for others when the block ends is left to the next service.
    """
    service = JobService(Store())
    service.start()
    try:
        yield service
    finally:
        service.stop(put_back=True)


@contextmanager
def cancelling(service: JobService, jobs: Sequence[Job]) -> Generator[None, None, None]:
    """Whatever ends the block before its time, such as Ctrl-C, cancels the jobs."""
    try:
        yield
    except BaseException:
        for job in jobs:
            service.cancel(job.id)
        deadline = time.monotonic() + LEAVE
        while time.monotonic() < deadline and not all(service.store.job(job.id).state.ended for job in jobs):
            time.sleep(POLL)
        raise


def wait_for_job(service: JobService, job: Job, on_event: OnEvent, on_result: Callable[[StoredResult], None]) -> Job:
    """Waits until a job is done and returns it as it is then; `on_result` gets each video as soon as it is there.

    A job whose service went away goes on, once. `on_event` hears how far it is, with the stage "wait" before it begins.
    Raises BadInput or another Img2VidError where it failed, and where no cluster can be reached.
    """
    told = 0
    interrupted = False
    failing_since: float | None = None
    while True:
        job = service.store.job(job.id)
        for result in job.results[told:]:
            on_result(result)
        told = len(job.results)
        if job.state is State.DONE:
            return job
        if job.state is State.INTERRUPTED and not interrupted:
            interrupted = True
            service.store.requeue(job.id)
        elif job.state.ended:
            raise error_of(job)
        _report(service, job, on_event)
        failing_since = (failing_since or time.monotonic()) if service.failure() else None
        if failing_since is not None and time.monotonic() - failing_since > GIVE_UP:
            raise Img2VidError(service.failure() or "")
        time.sleep(POLL)


def wait_for_jobs(service: JobService, jobs: Sequence[Job], on_look: Callable[[Sequence[Job]], None]) -> list[Job]:
    """Waits until all jobs have ended, however they do, and returns them as they are then; `error_of` says what failed.

    A job whose service went away goes on, once. `on_look` sees all jobs as they are, again and again. Raises
    Img2VidError where no cluster can be reached.
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
        on_look(now)
        if all(job.state.ended for job in now):
            return now
        failing_since = (failing_since or time.monotonic()) if service.failure() else None
        if failing_since is not None and time.monotonic() - failing_since > GIVE_UP:
            raise Img2VidError(service.failure() or "")
        time.sleep(POLL)


def _report(service: JobService, job: Job, on_event: OnEvent) -> None:
    progress = service.store.progress(job.id)
    if progress is None:
        on_event(Event("wait", 0, 1, 0.0))
    else:
        on_event(
            Event(
                progress.stage,
                progress.step,
                progress.total,
                progress.elapsed,
                progress.seconds_left,
                progress.sigma,
            )
        )


def error_of(job: Job) -> Img2VidError:
    """The error that ended a job, of the kind that it had on the worker as far as exit codes go."""
    if job.state is State.CANCELLED:
        return Img2VidError("the job was cancelled")
    kind = getattr(errors, job.error_type, None)
    if isinstance(kind, type) and issubclass(kind, BadInput):
        return BadInput(job.error)
    return Img2VidError(job.error)
