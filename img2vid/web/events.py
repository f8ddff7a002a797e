"""Progress of a job as server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from img2vid.errors import Img2VidError
from img2vid.jobs.job import Job
from img2vid.jobs.store import Store
from img2vid.web.messages import JobView, Problem, Progress

POLL = 0.2
"""Seconds between two reads of the store."""
KEEP_ALIVE = 15.0
"""Seconds after which a comment is sent, so that neither side closes the connection as idle."""


async def progress_events(store: Store, job_id: str) -> AsyncIterator[str]:
    """Yield an event "progress" for each change of a job, and at its end an event "end" with the job.

    If the store fails, the last event is "problem".
    """
    last: Progress | None = None
    silent = 0.0
    while True:
        try:
            job, now = await run_in_threadpool(_read, store, job_id)
        except Img2VidError as error:
            yield _event("problem", Problem(detail=str(error)).model_dump_json())
            return
        if now != last:
            last, silent = now, 0.0
            yield _event("progress", now.model_dump_json())
        if job.state.ended:
            yield _event("end", JobView.of(job).model_dump_json())
            return
        if silent >= KEEP_ALIVE:
            silent = 0.0
            yield ": still running\n\n"
        await asyncio.sleep(POLL)
        silent += POLL


def _read(store: Store, job_id: str) -> tuple[Job, Progress]:
    job = store.job(job_id)
    return job, Progress.of(job, None if job.state.ended else store.progress(job_id))


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
