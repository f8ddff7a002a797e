"""Sample and Cancel, and what is known before: the clip's length, the expected time and memory, gentle warnings."""

from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.errors import BadInput
from img2vid.inference import EngineChoice
from img2vid.jobs.job import Job, State
from img2vid.jobs.store import Store
from img2vid.settings import SampleSettings, check_provider
from img2vid.ui import formatting, peaks, resources
from img2vid.ui.sample.model import missing_checkpoint
from img2vid.ui.state import Note, PageState, after_entry, callback_state, report_errors, show_note
from img2vid.versions import ModelVersion

ACTIVE = (State.RUNNING, State.WAITING)


def start_box(page: PageState) -> None:
    """Draws the buttons with what stands in their way, and what the run will be."""
    store = resources.open_service().store
    settings, problem = _checked(page)
    going = cancellable_job(store)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Sample",
            key="sample",
            type="primary",
            icon=":material/movie:",
            disabled=bool(problem),
            on_click=after_entry(_sample),
        )
        st.button(
            "Cancel",
            key="cancel",
            disabled=going is None,
            on_click=_cancel,
        )
        st.caption(problem or (estimate(store, page.version, settings, page.tab.choice) if settings else ""))
    if page.note is not None and page.note.place == "sample":
        show_note(page.note)
    for warning in page.version.warnings(settings) if settings else []:
        st.caption(f":orange[:material/info:] {formatting.plain(warning)}")


def cancellable_job(store: Store) -> Job | None:
    """The job that Cancel is about: the one that has run longest, else the next to run."""
    running = store.jobs(states=[State.RUNNING])
    return running[-1] if running else next(iter(store.queue(1)), None)


def memory(store: Store, version: ModelVersion, settings: SampleSettings, choice: EngineChoice) -> str:
    """What such runs took; before the first one what the loaded model takes, or else the size of its file."""
    peak = peaks.expected_peak(store, settings, choice)
    if peak is not None:
        return formatting.size(peak)
    status = store.model()
    if status.state == "ready" and status.version == version.name and status.memory:
        return formatting.size(status.memory)
    path = version.checkpoint_path
    return "" if path is None else f"a model of {formatting.size(path.stat().st_size)}"


def estimate(store: Store, version: ModelVersion, settings: SampleSettings, choice: EngineChoice) -> str:
    """The clip's length, and time and memory as past runs on this machine suggest."""
    seconds = store.expected_seconds(settings, choice)
    parts = [formatting.length(settings)]
    parts.append("time known after the first run" if seconds is None else f"about {formatting.span(seconds)}")
    return ", ".join(filter(None, (*parts, memory(store, version, settings, choice))))


def _checked(page: PageState) -> tuple[SampleSettings | None, str]:
    """The settings where they fit together, and why Sample cannot be pressed, or nothing."""
    try:
        settings = page.settings()
        check_provider(settings, page.tab.choice.provider)
    except BadInput as error:
        return None, formatting.plain(formatting.sentence(error))
    if missing_checkpoint(page.version):
        return settings, f"The checkpoint of {formatting.plain(page.version.name)} is missing."
    if page.tab.picture is None:
        return settings, "Drop a picture into Input first."
    return settings, ""


def submit(page: PageState, settings: SampleSettings, choice: EngineChoice, picture: Path, name: str) -> None:
    """Puts a job into the queue, unless the very same is in it already, and shows what is newest from now on."""
    service = resources.open_service()
    folder = (page.tab.folder or paths.home() / settings.version).absolute()
    asked = (settings, choice, picture, folder)
    if any((job.settings, job.choice, job.picture, job.folder) == asked for job in service.store.jobs(states=ACTIVE)):
        page.note = Note("info", "This video is being made already; another seed gives another one.")
        return
    service.submit(settings, choice, picture.read_bytes(), name, picture.suffix, folder=folder)
    page.show("")


def _sample() -> None:
    page = callback_state()
    with report_errors(page):
        if page.tab.picture is None:
            raise BadInput("there is no input; drop a picture into Input first")
        submit(page, page.settings(), page.tab.choice, page.tab.picture.path, page.tab.picture.name)


def _cancel() -> None:
    page = callback_state()
    with report_errors(page):
        service = resources.open_service()
        job = cancellable_job(service.store)
        if job is not None:
            service.cancel(job.id)
            page.note = Note("info", f"{job.picture_name}, seed {job.settings.seed}: cancelled.")
