"""Clips of a comparison side by side: finished ones play in step, the others show their progress."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st

from img2vid.gallery.csv_export import as_csv, csv_row
from img2vid.gallery.entries import Entry
from img2vid.gallery.studies import Studies, Study
from img2vid.jobs.job import Job, State
from img2vid.media.composites import Align
from img2vid.ui import formatting, resources
from img2vid.ui.compare import state
from img2vid.ui.compare.state import Comparison
from img2vid.ui.sample.activity import BUSY, running_box
from img2vid.ui.shared import measured, measuring, player
from img2vid.ui.shared.composites import Form, composite_of
from img2vid.ui.state import PageState, callback, current, report_drawing_errors

SCOPE = "compare_clips"
"""Key of the container of the clips."""
FORMS: tuple[tuple[Form, str], ...] = (
    ("side by side", "All clips side by side in one video with labels"),
    ("wipe", "Both clips in one frame with a moving dividing line"),
)


@dataclass(frozen=True)
class Clip:
    """State of a column: its job, its video if it exists, and its label."""

    job: Job | None
    entry: Entry | None
    label: str
    about: tuple[str, ...]
    reused: bool

    @property
    def is_active(self) -> bool:
        """True while the video is queued or being made."""
        return self.entry is None and self.job is not None and not self.job.state.ended


def clips_of(page: PageState, study: Study) -> list[Clip]:
    """Return the clip of each column of a study."""
    studies = Studies(resources.open_service().store)
    runs = [state.facts(cell.settings, cell.choice) for cell in study.cells]
    names = state.labels(runs, page.versions)
    about = [[state.fact_text(name, run[name]) for name in state.differing(runs[0], run)] for run in runs]
    found = zip(studies.jobs(study), studies.made(study), names, about, study.cells, strict=True)
    return [Clip(job, entry, label, tuple(texts), cell.reused) for job, entry, label, texts, cell in found]


def snapshot(found: Sequence[Clip]) -> object:
    """Return the data that the clips were drawn from; when it changes, the page reruns."""
    return [(place.job and (place.job.id, place.job.state), place.entry and place.entry.number) for place in found]


def clips_box(page: PageState, comparison: Comparison, study: Study) -> None:
    """Draw the clips, the player, the downloads and the measurements."""
    found = clips_of(page, study)
    page.seen = snapshot(found)
    active = [index for index, place in enumerate(found) if place.is_active]
    with st.container(key=SCOPE):
        for index, (column, place) in enumerate(zip(st.columns(len(found), gap="small"), found, strict=True)):
            with column, st.container(key=f"clip_{index}"), report_drawing_errors(f"Column {index + 1}"):
                _clip(study, index, place, first=active[:1] == [index])
    made = [(place.label, place.entry) for place in found if place.entry is not None]
    if not made:
        return
    labels, entries = [label for label, _ in made], [entry for _, entry in made]
    with st.container(key="compare_player"), report_drawing_errors("The player"):
        known = [player.Playing(label, entry.settings.file_fps) for label, entry in made]
        player.controls(SCOPE, difference=len(made) > 1, clips=known, align=comparison.align, on_align=_align)
    with st.container(key="compare_downloads"), report_drawing_errors("The downloads"):
        if len(made) > 1:
            _downloads(study, comparison, labels, entries)
    with st.container(key="compare_measured"):
        pending = measuring.ask(entries)
        st.fragment(_measured, run_every=BUSY if pending else None)(study.id, polling=pending)


def _clip(study: Study, index: int, place: Clip, *, first: bool) -> None:
    settings = study.cells[index].settings
    facts = f"{settings.num_frames} frames of {settings.width} x {settings.height} at {settings.file_fps:g} fps"
    with st.container(gap="xxsmall"):
        st.markdown(f"**{formatting.plain(place.label)}**")
        st.caption(f"{facts} · seed {settings.seed}")
    with st.container(key=f"clip_body_{index}"):
        if place.entry is not None:
            video = place.entry.result.video
            # No autoplay: the player starts the clips, and Streamlit autoplays only one of two identical videos.
            st.video(video, muted=True, alt=place.label)
            if place.job is not None and place.job.notice:
                st.info(formatting.plain(formatting.sentence(place.job.notice)))
        elif place.is_active:
            st.fragment(_coming, run_every=BUSY)(study.id, index, first=first)
        else:
            _ended(study, index, place.job)
    with st.container(key=f"clip_about_{index}", gap="xsmall"):
        if index and place.about:
            badges = " ".join(f":primary-badge[{formatting.plain(text)}]" for text in place.about)
            st.markdown(f"Differs from column 1: {badges}")
        if place.entry is not None:
            prefix = "Reused: " if place.reused else ""
            st.caption(f"{prefix}{formatting.plain(place.entry.result.video.name)}")


def _coming(study_id: str, index: int, *, first: bool) -> None:
    """Poll the progress of a column every second and rerun the page when any clip ends.

    The first active column also shows the worker status.
    """
    with report_drawing_errors("The progress"):
        page = current()
        service = resources.open_service()
        study = Studies(service.store).study(study_id)
        found = clips_of(page, study)
        if snapshot(found) != page.seen:
            st.rerun()
        job = found[index].job
        if job is not None and job.state is State.RUNNING:
            running_box(service.store, job, several=False)
        elif job is not None:
            _waiting(job, [other.id for other in service.store.queue()])
        status = service.status() if first else None
        if status:
            st.caption(f":material/info: {formatting.plain(formatting.sentence(status))}")


def _waiting(job: Job, queue: Sequence[str]) -> None:
    ahead = queue.index(job.id) if job.id in queue else 0
    st.progress(0.0, text=f"Queued, {ahead} ahead" if ahead else "Queued, next to run")
    st.skeleton(height=120)


def _ended(study: Study, index: int, job: Job | None) -> None:
    """Draw a column whose job ended without a video."""
    if job is None or job.state is State.DONE:
        st.warning("The video no longer exists.")
    elif job.state is State.CANCELLED:
        st.info("Cancelled.")
    else:
        text = formatting.plain(formatting.sentence(job.error or "it did not finish"))
        (st.warning if job.state is State.INTERRUPTED else st.error)(text)
    again = f"compare_again_{index}"
    st.button("Run again", key=again, icon=":material/replay:", on_click=_again, args=(study.id,))
    if job is not None and job.details:
        with st.expander("Details"):
            st.code(job.details, language=None, wrap_lines=True)


def _downloads(study: Study, comparison: Comparison, labels: list[str], entries: list[Entry]) -> None:
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        for form, help_text in FORMS:
            if form == "wipe" and len(entries) != 2:
                continue
            st.download_button(
                form.capitalize(),
                partial(composite_of, labels, entries, form, comparison.align),
                file_name=f"{study.picture_name}_compare_{form.replace(' ', '_')}.mp4",
                mime="video/mp4",
                key=f"composite_{form.replace(' ', '_')}",
                icon=":material/download:",
                help=f"{help_text}, aligned as in the player. Created when you press the button.",
                on_click="ignore",
            )


def _measured(study_id: str, *, polling: bool) -> None:
    """Draw the table and the plots, polling every second while measurements are pending."""
    with report_drawing_errors("The measurements"):
        page = current()
        study = Studies(resources.open_service().store).study(study_id)
        made = [(place.label, place.entry) for place in clips_of(page, study) if place.entry is not None]
        labels, entries = [label for label, _ in made], [entry for _, entry in made]
        pending = measuring.ask(entries)
        if polling and not pending:
            st.rerun()
        measured.table(labels, entries)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            _csv(study, labels, entries)
            if pending:
                st.caption(":material/hourglass_empty: Measuring. Results appear here.")
        if any(entry.measurement is not None for entry in entries):
            axis = state.comparison(page).axis
            measured.plots(labels, entries, key="compare_plots", axis=axis, on_axis=_axis)


def _csv(study: Study, labels: list[str], entries: list[Entry]) -> None:
    st.download_button(
        "CSV",
        partial(csv_of, labels, entries),
        file_name=f"{study.picture_name}_compare.csv",
        mime="text/csv",
        key="compare_csv",
        icon=":material/download:",
        help="The table as a spreadsheet file, with all settings",
        on_click="ignore",
    )


def csv_of(labels: Sequence[str], entries: Sequence[Entry]) -> str:
    """Return the measurements as CSV, one row per clip."""
    return as_csv([csv_row({"column": label}, entry) for label, entry in zip(labels, entries, strict=True)])


@callback("compare")
def _again(_: PageState, study_id: str) -> None:
    service = resources.open_service()
    studies = Studies(service.store)
    studies.rerun(service, studies.study(study_id))


def _align(page: PageState, align: Align) -> None:
    state.keep(page, replace(state.comparison(page), align=align))


def _axis(page: PageState, axis: measured.Axis) -> None:
    state.keep(page, replace(state.comparison(page), axis=axis))
