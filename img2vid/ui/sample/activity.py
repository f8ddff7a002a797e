"""Running jobs with a live preview, and the queue; a fragment that polls the store every second while jobs exist."""

import time
from base64 import b64encode
from collections.abc import Callable

import streamlit as st

from img2vid.jobs.job import Job, State
from img2vid.jobs.store import Store
from img2vid.progress import Event
from img2vid.ui import formatting, resources
from img2vid.ui.state import PageState, callback, current, poll

BUSY, IDLE = 1.0, 3.0
"""Polling intervals in seconds, with and without active jobs or model loads."""
LISTED = 20
"""Maximum number of queued jobs that are listed."""


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


def activity_box(page: PageState) -> None:
    """Draw the fragment."""
    poll("Activity", _activity, snapshot(page), lambda: snapshot(current()), pace(page))


def _activity() -> None:
    service = resources.open_service()
    running = list(reversed(service.store.jobs(states=[State.RUNNING])))
    queue = service.store.queue()
    status = service.status() if running or queue else None
    if status:
        st.caption(f":material/info: {formatting.plain(formatting.sentence(status))}")
    for job in running:
        running_box(service.store, job, several=len(running) > 1)
    if queue:
        _queue(queue)
    if running or queue:
        st.space("small")


def running_box(store: Store, job: Job, *, several: bool) -> None:
    """Draw the progress of a running job, with its own cancel button if there are several."""
    event = store.progress(job.id)
    with st.container(border=True, key=f"running_{job.id}"):
        st.markdown(formatting.about(job, bold=True))
        if event is None:
            st.progress(0.0, text="Starting")
            st.skeleton(height=120)
        else:
            event = event.by(time.time())
            share = min(event.step / event.total, 1.0) if event.total else 0.0
            st.progress(share, text=formatting.progress(event, job.kind))
            if event.preview:
                noun = "video" if job.kind == "video" else "picture"
                st.image(_data_url(event.preview), width="stretch", alt=f"Preview of the {noun} in progress")
            st.caption(_figures(event))
        if job.id in store.to_cancel():
            st.caption("Cancelling after this step...")
        elif several:
            st.button("Cancel this one", key=f"stop_{job.id}", on_click=_stop, args=(job.id,))


def _data_url(preview: bytes) -> str:
    """Return the GIF as a data URL: a media file may be replaced before the browser requests it."""
    return f"data:image/gif;base64,{b64encode(preview).decode()}"


def _figures(event: Event) -> str:
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
def _stop(_: PageState, job_id: str) -> None:
    resources.open_service().cancel(job_id)


@callback("sample")
def _clear(_: PageState) -> None:
    resources.open_service().clear_queue()
