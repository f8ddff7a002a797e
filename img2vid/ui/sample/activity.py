"""Progress of running jobs, and the queue; fragments that poll the store every second while jobs exist."""

import time
from base64 import b64encode
from collections.abc import Callable

import streamlit as st

from img2vid.jobs.job import Job, State
from img2vid.jobs.store import Store
from img2vid.progress import Event
from img2vid.ui import formatting, resources
from img2vid.ui.shared.finished import notify_button
from img2vid.ui.state import PageState, callback, current, poll, report_drawing_errors

BUSY, IDLE = 1.0, 3.0
"""Polling intervals in seconds, with and without active jobs or model loads."""
LISTED = 20
"""Maximum number of queued jobs that are listed."""
SHARES = {
    "load": (0.0, 0.04),
    "prompt": (0.04, 0.06),
    "condition": (0.04, 0.06),
    "sample": (0.06, 0.85),
    "decode": (0.85, 0.98),
    "write": (0.98, 0.99),
}
"""Shares of a video's progress at the start and end of each stage; roughly those of its time."""


def pace(page: PageState) -> float:
    """Return the polling interval in seconds."""
    store = resources.open_service().store
    model = store.model()
    loading = model.state == "loading" or (model.wanted and model.version != model.wanted_version)
    return BUSY if loading or store.jobs(limit=1, states=[State.RUNNING, State.WAITING]) else IDLE


def snapshot(page: PageState) -> object:
    """Return the data that the rest of the page depends on; when it changes, the whole page reruns."""
    service = resources.open_service()
    store = service.store
    jobs = [(job.id, job.state, job.done, len(job.results)) for job in store.jobs(limit=30)]
    return jobs, page.version.checkpoint_path, store.model().state, service.is_remote()


def activity_box(page: PageState, seen: object) -> None:
    """Draw the fragment; `seen` is the snapshot from before the page was drawn."""
    poll("Activity", _activity, seen, lambda: snapshot(current()), pace(page))


def cancellable_job(store: Store) -> Job | None:
    """Return the job that Cancel applies to: the longest-running one, else the next in the queue."""
    running = store.jobs(states=[State.RUNNING])
    return running[-1] if running else next(iter(store.queue(1)), None)


def followed_job(page: PageState, store: Store) -> Job | None:
    """Return the job whose progress the result area shows, or None if the user selected a result."""
    return None if page.tab.shown else cancellable_job(store)


def progress_box(job: Job) -> None:
    """Draw the preview and the progress of a job in the result area."""
    st.fragment(_progress, run_every=BUSY)(job.id)


def _progress(job_id: str) -> None:
    with report_drawing_errors("The progress"):
        service = resources.open_service()
        job, event = service.store.job(job_id), service.store.progress(job_id)
        preview(job, event)
        with st.container(gap=None, key="progress"):
            st.markdown(formatting.about(job, bold=True))
            bar(job, event)
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                if job.id in service.store.to_cancel():
                    st.caption("Cancelling after this step...")
                else:
                    st.caption(_figures(event) if event else _reason_to_wait())
                notify_button()


def _reason_to_wait() -> str:
    return formatting.message(resources.open_service().status() or "")


def preview(job: Job, event: Event | None) -> None:
    """Draw the preview of a job, or its place until there is one."""
    if event is None or not event.preview:
        st.skeleton(height=120)
        return
    noun = "video" if job.kind == "video" else "picture"
    st.image(_data_url(event.preview), width="stretch", alt=f"Preview of the {noun} in progress")


def bar(job: Job, event: Event | None) -> None:
    """Draw the progress of a job over all its stages."""
    now = None if event is None else event.by(time.time())
    waits = "Queued" if job.state is State.WAITING else "Starting"
    st.progress(share(now) if now else 0.0, text=formatting.progress(now, job.kind) if now else waits)


def share(event: Event) -> float:
    """Return the completed share of a job, below 1."""
    start, end = SHARES.get(event.stage, (0.0, 0.0))
    done = min(event.step / event.total, 1.0) if event.total else 0.0
    return min((event.video - 1 + start + (end - start) * done) / event.videos, 0.99)


def _activity() -> None:
    page, service = current(), resources.open_service()
    store, followed = service.store, followed_job(page, service.store)
    next_job = cancellable_job(store)
    for job in reversed(store.jobs(states=[State.RUNNING])):
        if followed is None or job.id != followed.id:
            _running(store, job, can_follow=followed is None and next_job is not None and job.id == next_job.id)
    queue = store.queue()
    if queue and followed is None and (reason := _reason_to_wait()):
        st.caption(f":material/info: {reason}")
    if queue and (followed is None or [job.id for job in queue] != [followed.id]):
        _queue(queue)


def _running(store: Store, job: Job, *, can_follow: bool) -> None:
    """Draw a running job that the result area does not show."""
    with st.container(gap=None, key=f"running_{job.id}"):
        st.markdown(formatting.about(job))
        bar(job, store.progress(job.id))
        with st.container(horizontal=True, gap="small"):
            if can_follow:
                _small("Show", f"follow_{job.id}", False, _follow)
            if job.id in store.to_cancel():
                st.caption("Cancelling after this step...")
            else:
                _small("Cancel this one", f"stop_{job.id}", False, _stop, job.id)


def _data_url(preview: bytes) -> str:
    """Return the GIF as a data URL: a media file may be replaced before the browser requests it."""
    return f"data:image/gif;base64,{b64encode(preview).decode()}"


def _figures(event: Event) -> str:
    event = event.by(time.time())
    parts = [f"{formatting.span(event.elapsed)} elapsed"]
    if event.sigma is not None:
        parts.append(f"noise level {event.sigma:.3g}")
    if event.memory:
        parts.append(f"{formatting.size(event.memory)} in use")
    return " · ".join(parts)


def _queue(queue: list[Job]) -> None:
    with st.expander(f"Queue: {len(queue)} waiting", expanded=True, key="queue"):
        for place, job in enumerate(queue[:LISTED]):
            last = place + 1 == len(queue)
            with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key=f"waiting_{job.id}"):
                st.markdown(f"{place + 1}\\. {formatting.about(job)}", width="stretch")
                _small("Up", f"up_{job.id}", place == 0, _move, job.id, place - 1)
                _small("Down", f"down_{job.id}", last, _move, job.id, place + 1)
                _small("Remove", f"remove_{job.id}", False, _stop, job.id)
        if len(queue) > LISTED:
            st.caption(f"and {len(queue) - LISTED} more")
        _small("Clear queue", "empty_queue", False, _clear)


def _small(label: str, key: str, disabled: bool, act: Callable[..., None], *args: object) -> None:
    st.button(label, key=key, type="tertiary", disabled=disabled, on_click=act, args=args)


@callback("sample")
def _move(_: PageState, job_id: str, place: int) -> None:
    resources.open_service().move(job_id, place)


@callback("sample")
def _follow(page: PageState) -> None:
    page.show("")


@callback("sample")
def _stop(_: PageState, job_id: str) -> None:
    resources.open_service().cancel(job_id)


@callback("sample")
def _clear(_: PageState) -> None:
    resources.open_service().clear_queue()
