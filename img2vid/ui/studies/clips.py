"""Clips of a study: progress, player, downloads and measurements."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from img2vid.gallery.contact_sheet import ContactSheet
from img2vid.gallery.entries import Entry
from img2vid.gallery.studies import Study, active_jobs
from img2vid.jobs.eta import seconds_left
from img2vid.jobs.job import Job, State
from img2vid.media.composites import Align
from img2vid.ui import formatting, resources
from img2vid.ui.sample import activity
from img2vid.ui.sample.activity import BUSY
from img2vid.ui.shared import measured, measuring, player
from img2vid.ui.shared.downloads import Offer, download_buttons
from img2vid.ui.state import PageState, callback, current, poll, report_drawing_errors
from img2vid.ui.studies.study import PAGES, current_sheet, studies

_WHEN = "Created when you press the button."
Plots = Callable[[PageState, Sequence[str], Sequence[Entry]], None]


def _snapshot(sheet: ContactSheet) -> object:
    """Return the data that the clips are drawn from; when it changes, the page reruns."""
    return [(one.job and (one.job.id, one.job.state), one.entry and one.entry.number) for one in sheet.cells]


def progress_box(page: PageState, sheet: ContactSheet) -> None:
    """Poll the study every second until all jobs have ended, and draw the progress of a sweep and the worker status."""
    study_id = sheet.study.id
    if active_jobs(sheet.cells):
        poll(
            "The progress",
            partial(_progress, study_id),
            _snapshot(sheet),
            lambda: _snapshot(current_sheet(current(), study_id)),
            BUSY,
        )


def _progress(study_id: str) -> None:
    page, service = current(), resources.open_service()
    sheet = current_sheet(page, study_id)
    if sheet.study.axes:
        done, count = len(sheet.made), len(sheet.cells)
        seconds = seconds_left(service.store, active_jobs(sheet.cells), len(service.workers()))
        st.progress(done / count, text=f"{done} of {count} videos made · {formatting.estimate(seconds, 'left')}")
    if status := service.status():
        st.caption(f":material/info: {formatting.message(status)}")


def job_box(job: Job) -> None:
    """Draw the progress of a running job, or the place of a waiting one in the queue, and poll it every second."""
    st.fragment(_job, run_every=BUSY)(job.id)


def _job(job_id: str) -> None:
    with report_drawing_errors("The progress"):
        store = resources.open_service().store
        job = store.job(job_id)
        if job.state is State.RUNNING:
            event = store.progress(job.id)
            with st.container(key=f"running_{job.id}"):  # labels around it say which job it is
                activity.bar(job, event)
                activity.preview(job, event)
        elif job.state is State.WAITING:
            queue = [other.id for other in store.queue()]
            ahead = queue.index(job_id) if job_id in queue else 0
            st.progress(0.0, text=f"Queued, {ahead} ahead" if ahead else "Queued, next to run")
            st.skeleton(height=120)


def ended_text(job: Job | None) -> str:
    """Return the reason why there is no video although the job has ended, as Markdown."""
    if job is None or job.state is State.DONE:
        return "The video no longer exists."
    if job.state is State.CANCELLED:
        return "Cancelled."
    return formatting.message(job.error or "it did not finish")


def again_button(study: Study, label: str, key: str) -> None:
    """Draw a button that reruns what failed, was cancelled or is gone."""
    on_click = callback(PAGES[study.kind].area)(_again)
    st.button(label, key=key, icon=":material/replay:", on_click=on_click, args=(study.id,))


def _again(_: PageState, study_id: str) -> None:
    studies().rerun(resources.open_service(), studies().study(study_id))


def player_box(sheet: ContactSheet, align: Align, *, difference: bool = False) -> None:
    """Draw the player of the clips, which are in the container with the key `KIND_clips`."""
    kind, made = sheet.study.kind, sheet.made
    with st.container(key=f"{kind}_player"), report_drawing_errors("The player"):
        if made:
            player.controls(f"{kind}_clips", made, PAGES[kind].area, align, difference=difference and len(made) > 1)


def downloads_box(sheet: ContactSheet, align: Align) -> None:
    """Draw the downloads of the finished clips."""
    axes = "".join(f"_{axis.name}" for axis in sheet.study.axes)
    stem = f"{sheet.study.picture_name}_{sheet.study.kind}{axes}"
    with report_drawing_errors("The downloads"):
        download_buttons(offers(sheet, align), stem, f"{sheet.study.kind}_downloads")


def offers(sheet: ContactSheet, align: Align) -> dict[str, Offer]:
    """Return the downloads by button label. Those of a comparison leave out columns without a video."""
    shown = replace(sheet if sheet.study.axes else sheet.finished(), align=align)
    table = Offer(".csv", "text/csv", partial(_table, shown), f"Measurements and all settings. {_WHEN}")
    if sheet.study.axes:
        video = Offer(".mp4", "video/mp4", shown.video, f"All clips in one labeled video. {_WHEN}")
        still = Offer(".png", "image/png", shown.still, f"The middle frames of all clips in one image. {_WHEN}")
        return {"Contact sheet": video, "PNG": still, "CSV": table}
    row = f"All clips side by side in one video with labels, aligned as in the player. {_WHEN}"
    wipe = f"Both clips in one frame with a moving dividing line, aligned as in the player. {_WHEN}"
    found: dict[str, Offer] = {}
    if len(shown.cells) > 1:
        found["Side by side"] = Offer("_side_by_side.mp4", "video/mp4", shown.video, row)
    if len(shown.cells) == 2:
        found["Wipe"] = Offer("_wipe.mp4", "video/mp4", replace(shown, wipe=True).video, wipe)
    return {**found, "CSV": table}


def _table(sheet: ContactSheet) -> bytes:
    """Return the CSV file, after measuring pending videos."""
    return replace(sheet, cells=[studies().measured(one.cell) for one in sheet.cells]).table().encode()


def measured_box(sheet: ContactSheet, plots: Plots | None = None) -> None:
    """Draw the measurements of the finished clips, and poll them every second until all are known."""
    with st.container(key=f"{sheet.study.kind}_measured"):
        pending = _pending(sheet.study.id)
        poll(
            "The measurements",
            partial(_measured, sheet.study.id, plots),
            pending,
            partial(_pending, sheet.study.id),
            BUSY if pending else None,
        )


def _pending(study_id: str) -> bool:
    return measuring.ask([entry for _, entry in current_sheet(current(), study_id).made])


def _measured(study_id: str, plots: Plots | None) -> None:
    page = current()
    made = current_sheet(page, study_id).made
    labels, entries = [label for label, _ in made], [entry for _, entry in made]
    pending = measuring.ask(entries)
    measured.table(labels, entries)
    if pending:
        st.caption(":material/hourglass_empty: Measuring. Results appear here.")
    if plots is not None and any(entry.measurement is not None for entry in entries):
        plots(page, labels, entries)
