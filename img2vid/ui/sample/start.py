"""Sample and Cancel buttons with the clip's length, the estimated time and memory, and warnings."""

from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.errors import BadInput, Img2VidError
from img2vid.files import reason
from img2vid.jobs.job import State
from img2vid.jobs.peaks import expected_peak
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings
from img2vid.settings_validation import check_provider
from img2vid.ui import formatting, resources
from img2vid.ui.sample.activity import cancellable_job
from img2vid.ui.sample.model import missing_checkpoint
from img2vid.ui.shared.seed import random_seed, randomizes
from img2vid.ui.state import Note, PageState, after_entry, callback, show_note
from img2vid.versions import ModelVersion

ACTIVE = (State.RUNNING, State.WAITING)


def start_box(page: PageState) -> None:
    """Draw the buttons with the estimate, or the reason why Sample is disabled."""
    store = resources.open_service().store
    settings, problem = _checked(page)
    active = cancellable_job(store)
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
            disabled=active is None,
            on_click=_cancel,
        )
        with st.container(gap="xxsmall"):
            _notes(page, _about(page, settings, problem))
            for warning in page.version.warnings(settings) if settings else []:
                st.caption(f":orange[:material/info:] {formatting.with_code(formatting.with_times(warning))}")


def _notes(page: PageState, text: str) -> None:
    """Draw a note, or else the text: one line in either case, so that notes do not move the buttons."""
    if page.note is not None and page.note.place == "sample":
        show_note(page, "sample")
    else:
        st.caption(text)


def _about(page: PageState, settings: SampleSettings | None, problem: str) -> str:
    """Return the problem, and what Sample makes: size, length and seed also if the sidebar is closed."""
    if settings is None:
        return problem
    seed = "random seed" if randomizes(page) else formatting.seed_range(settings.seed, settings.num_samples)
    made = f"{formatting.pixels(settings.width, settings.height)}, {settings.num_frames} frames, {seed}"
    return f"{problem} {made}." if problem else f"{made}, {estimate(resources.open_service().store, page, settings)}"


def memory(store: Store, version: ModelVersion, settings: SampleSettings, options: LoadOptions) -> str:
    """Return the peak memory of similar runs; before the first one, the loaded model's memory or its file size."""
    peak = expected_peak(store, settings, options)
    if peak is not None:
        return f"about {formatting.size(peak)} of memory"
    status = store.model()
    if status.state == "ready" and status.version == version.name and status.memory:
        return f"about {formatting.size(status.memory)} of memory"
    size = version.size_on_disk
    return f"{formatting.size(size)} model" if size else ""


def estimate(store: Store, page: PageState, settings: SampleSettings) -> str:
    """Return the clip's length, and time and memory estimated from past runs on this machine."""
    options, count = page.tab.options, max(len(page.tab.pictures), 1)
    seconds, length = store.expected_seconds(settings, options), formatting.length(settings)
    parts = (
        length if count == 1 else f"{count} images, {length} each",
        formatting.estimate(None if seconds is None else count * seconds, "to make"),
        memory(store, page.version, settings, options),
    )
    return ", ".join(filter(None, parts))


def _checked(page: PageState) -> tuple[SampleSettings | None, str]:
    """Return the settings, or None if incompatible, and the reason why Sample is disabled, or ""."""
    try:
        settings = page.settings()
        check_provider(settings, page.tab.options.provider)
    except BadInput as error:
        return None, formatting.message(error)
    if missing_checkpoint(page.version):
        return settings, "Install the model first."
    if page.tab.picture is None:
        return settings, "Add an image first."
    return settings, ""


def submit(page: PageState, settings: SampleSettings, options: LoadOptions, picture: Path, name: str) -> bool:
    """Queue a job, and show the newest result from now on. Return False, with a note, if an identical one is active."""
    service = resources.open_service()
    folder = (page.tab.folder or paths.home() / settings.version).absolute()
    request = (settings, options, picture, folder)
    if any(
        (job.settings, job.options, job.picture, job.folder) == request for job in service.store.jobs(states=ACTIVE)
    ):
        page.note = Note("info", "Already in the queue. Change the seed for a new video.")
        return False
    service.submit([(settings, options)], picture.read_bytes(), name, picture.suffix, folder=folder)
    page.show("")
    return True


@callback("sample")
def _sample(page: PageState) -> None:
    pictures = page.tab.pictures
    if not pictures:
        raise BadInput("there is no input; add an image first")
    if randomizes(page):
        page.set(seed=random_seed())
    settings, queued, problems = page.settings(), 0, list[str]()
    for picture in pictures:
        try:
            queued += submit(page, settings, page.tab.options, picture.path, picture.name)
        except (Img2VidError, OSError) as error:  # the others of a batch are queued
            if len(pictures) == 1:
                raise
            cause = f"cannot be read ({reason(error)})" if isinstance(error, OSError) else f"was left out: {error}"
            problems.append(f"'{picture.name}' {cause}")
    if problems:
        text = f"{queued} of {len(pictures)} queued. {formatting.sentence(problems[0])}"
        page.note = Note("error", text, "\n".join(problems) if len(problems) > 1 else "")
    elif 0 < queued < len(pictures):
        page.note = Note("info", f"{queued} of {len(pictures)} queued; the others are in the queue already.")


@callback("sample")
def _cancel(page: PageState) -> None:
    service = resources.open_service()
    job = cancellable_job(service.store)
    if job is not None:
        service.cancel(job.id)
        page.note = Note("info", f"{job.picture_name}, seed {job.seed}: cancelled.")
