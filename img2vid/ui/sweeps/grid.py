"""Grid of a sweep: synchronized clips with axis labels, and details of the open cell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st

from img2vid.gallery.contact_sheet import ContactSheet, still_bytes, sweep_sheet, video_bytes
from img2vid.gallery.entries import Entries, Entry
from img2vid.gallery.studies import Studies, Study
from img2vid.gallery.sweep_axes import label_of_value, labels, points
from img2vid.jobs.eta import seconds_left
from img2vid.jobs.job import Job, State
from img2vid.media.composites import Align
from img2vid.ui import formatting, resources
from img2vid.ui.sample.activity import BUSY, running_box
from img2vid.ui.shared import measured, measuring, player
from img2vid.ui.shared.looping_video import looping_video
from img2vid.ui.state import PageState, callback, current, report_drawing_errors
from img2vid.ui.sweeps import state
from img2vid.ui.sweeps.state import Sweep

SCOPE = "sweep_clips"
"""Key of the container with the clips."""
NARROWEST = 120
"""Minimum width of a cell in pixels; narrower windows scroll horizontally."""
FEW = 3
"""Columns that fill the page width; cells of smaller grids do not grow further."""
ROOM_FOR_LABELS = 0.45
"""Width of the row labels, relative to a cell."""


@dataclass(frozen=True)
class Cell:
    """State of a cell: its job, its video if made, and a label of its values."""

    job: Job | None
    entry: Entry | None
    label: str

    @property
    def going_on(self) -> bool:
        """True if the video is queued or being made."""
        return self.entry is None and self.job is not None and not self.job.state.ended


def cells_of(study: Study) -> list[Cell]:
    """Return the cells of a sweep, row by row."""
    studies = Studies(resources.open_service().store)
    names = [", ".join(label_of_value(*pair) for pair in point.items()) for point in points(study.axes)]
    return [Cell(*found) for found in zip(studies.jobs(study), studies.made(study), names, strict=True)]


def going_on(study: Study) -> list[Job]:
    """Return the unfinished jobs of a sweep, without duplicates."""
    found = Studies(resources.open_service().store).jobs(study)
    return list({job.id: job for job in found if job is not None and not job.state.ended}.values())


def snapshot(found: Sequence[Cell]) -> object:
    """Return the state the grid depends on; a change triggers a rerun."""
    return [(cell.job and (cell.job.id, cell.job.state), cell.entry and cell.entry.number) for cell in found]


def grid_box(page: PageState, sweep: Sweep, study: Study) -> None:
    """Draw progress, player controls, the grid, downloads, the open cell and the measurements."""
    found = cells_of(study)
    page.seen = snapshot(found)
    with st.container(key="sweep_going"):
        if any(cell.going_on for cell in found):
            st.fragment(_going, run_every=BUSY)(study.id)
        else:
            _ended_line(study, found)
    made = [(cell.label, cell.entry) for cell in found if cell.entry is not None]
    with st.container(key="sweep_player"), report_drawing_errors("The player"):
        if made:
            known = [player.Playing(label, entry.settings.file_fps) for label, entry in made]
            player.controls(SCOPE, clips=known, align=sweep.align, on_align=_align)
    with st.container(key=SCOPE), report_drawing_errors("The grid"):
        _grid(sweep, study, found)
    if not made:
        return
    with st.container(key="sweep_downloads"), report_drawing_errors("The downloads"):
        _downloads(study, sweep.align)
    with st.container(key="sweep_opened"), report_drawing_errors("The cell"):
        if 0 <= sweep.open < len(found):
            _cell_box(found[sweep.open], sweep.open)
    with st.container(key="sweep_measured"):
        pending = measuring.ask([entry for _, entry in made])
        st.fragment(_measured, run_every=BUSY if pending else None)(study.id, polling=pending)


def _going(study_id: str) -> None:
    """Draw the progress of the sweep, once per second."""
    with report_drawing_errors("The progress"):
        page = current()
        service = resources.open_service()
        study = Studies(service.store).study(study_id)
        found = cells_of(study)
        if snapshot(found) != page.seen:
            st.rerun()
        done = sum(cell.entry is not None for cell in found)
        seconds = seconds_left(service.store, going_on(study), len(service.workers()))
        left = "estimate available after the first run" if seconds is None else f"about {formatting.span(seconds)} left"
        st.progress(done / len(found), text=f"{done} of {len(found)} videos made · {left}")
        if status := service.status():
            st.caption(f":material/info: {formatting.plain(formatting.sentence(status))}")


def _ended_line(study: Study, found: Sequence[Cell]) -> None:
    """Draw the number of videos made and reused, and a button that reruns missing ones."""
    missing = sum(cell.entry is None for cell in found)
    reused = sum(cell.reused for cell in study.cells)
    parts = [f"{len(found) - missing} of {len(found)} videos of {formatting.plain(study.picture_name)}"]
    if reused:
        parts.append(f"{reused} reused")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(" · ".join(parts))
        if missing:
            again = f"Run {missing} missing videos" if missing > 1 else "Run 1 missing video"
            st.button(again, key="sweep_again", icon=":material/replay:", on_click=_again, args=(study.id,))


def _grid(sweep: Sweep, study: Study, found: Sequence[Cell]) -> None:
    across, *down = study.axes
    above, beside = labels(across), labels(down[0]) if down else [""]
    count = len(above)
    room = ROOM_FOR_LABELS if down else 0.0
    st.html(_style(count, room))
    _labels_above(above, room)
    for row, name in enumerate(beside):
        columns = st.columns(_widths(count, room), gap="xxsmall", vertical_alignment="center")
        if room:
            with columns[0]:
                st.markdown(f"**{formatting.plain(name)}**", text_alignment="right")
        for column in range(count):
            index = row * count + column
            cell = columns[column + bool(room)].container(key=f"sweep_cell_{index}", gap="xxsmall")
            with cell, report_drawing_errors(found[index].label):
                _cell(study, found[index], index, opened=sweep.open == index)


def _widths(count: int, room: float) -> list[float]:
    """Return relative widths of the row labels, the cells, and the empty rest of a small grid."""
    return [*([room] if room else []), *([1.0] * count), *([float(FEW - count)] if count < FEW else [])]


def _style(count: int, room: float) -> str:
    """Return CSS that keeps rows unwrapped in narrow windows and scrolls the grid horizontally."""
    scope = f".st-key-{SCOPE}"
    width = round(NARROWEST * sum(_widths(count, room)))
    return (
        f"<style>{scope} {{overflow-x: auto}} "
        f"{scope} [data-testid=stHorizontalBlock] {{flex-wrap: nowrap; min-width: {width}px}} "
        f"{scope} [data-testid=stColumn] {{min-width: 0}}</style>"
    )


def _labels_above(above: Sequence[str], room: float) -> None:
    columns = st.columns(_widths(len(above), room), gap="xxsmall", vertical_alignment="bottom")
    for index, name in enumerate(above):
        with columns[index + bool(room)]:
            st.markdown(f"**{formatting.plain(name)}**", text_alignment="center")


def _cell(study: Study, cell: Cell, index: int, *, opened: bool) -> None:
    with st.container(key=f"sweep_body_{index}"):
        if cell.entry is not None:
            st.video(cell.entry.result.video, muted=True, alt=cell.label)
        elif cell.job is not None and cell.job.state is State.RUNNING:
            st.fragment(_running, run_every=BUSY)(cell.job.id)
        else:
            _placeholder(cell)
    values = " · ".join(label_of_value("version", value) for value in points(study.axes)[index].values())
    with st.container(key=f"sweep_open_box_{index}", horizontal_alignment="center"):
        st.button(
            formatting.plain(values),
            key=f"sweep_open_{index}",
            type="tertiary",
            icon=":material/expand_less:" if opened else ":material/expand_more:",
            disabled=cell.entry is None,
            help=f"{formatting.plain(cell.label)}: settings and measurements",
            on_click=_open,
            args=(-1 if opened else index,),
        )


def _running(job_id: str) -> None:
    """Draw a running cell with its preview."""
    with report_drawing_errors("The cell"):
        store = resources.open_service().store
        job = store.job(job_id)
        if job.state is State.RUNNING:
            running_box(store, job, several=False)


def _placeholder(cell: Cell) -> None:
    """Draw the state of a cell without a clip."""
    job = cell.job
    with st.container(border=True, height=110, vertical_alignment="center", horizontal_alignment="center"):
        if job is None or job.state is State.DONE:
            st.caption("The video no longer exists.", text_alignment="center")
        elif job.state is State.WAITING:
            st.caption(":material/schedule: Queued", text_alignment="center")
        elif job.state is State.CANCELLED:
            st.caption("Cancelled", text_alignment="center")
        else:
            text = formatting.plain(formatting.sentence(job.error or "it did not finish"))
            st.caption(f":red[:material/error: {text}]", text_alignment="center")


def _cell_box(cell: Cell, index: int) -> None:
    """Draw an enlarged cell with its settings and measurements."""
    entry = cell.entry
    if entry is None:
        return
    settings, result = entry.settings, entry.result
    with st.container(border=True):
        left, right = st.columns([1, 1], gap="medium")
        with left:
            looping_video(result.video, f"{cell.label}, larger", "larger")
        with right:
            st.markdown(f"**{formatting.plain(cell.label)}**")
            size = f"{settings.num_frames} frames of {settings.width} x {settings.height} at {settings.file_fps:g} fps"
            facts = [formatting.plain(settings.version), size, f"seed {settings.seed}", f"{settings.num_steps} steps"]
            if result.seconds:
                facts.append(f"made in {formatting.span(result.seconds)}")
            st.caption(" · ".join(facts) + f"  \n{formatting.plain(str(result.video))}")
            with st.container(horizontal=True, gap="small"):
                st.button(
                    "Use these settings",
                    key="sweep_use",
                    icon=":material/tune:",
                    help="Copies the settings and the image of this video to the Sample page.",
                    on_click=_use,
                    args=(index,),
                )
                st.button("Close", key="sweep_close", type="tertiary", on_click=_open, args=(-1,))
            st.markdown(_numbers(entry))
            with st.expander("All settings"):
                st.code("\n".join(f"{name} {value}" for name, value in settings.model_dump().items()), language=None)


def _numbers(entry: Entry) -> str:
    """Return the known measurements as a Markdown table."""
    known = [(quantity, quantity.value(entry)) for quantity in measured.QUANTITIES]
    rows = [f"| {one.heading} | {one.form % number} |" for one, number in known if number is not None]
    return "\n".join(["| Measured | |", "|---|---:|", *rows]) if rows else ""


def _downloads(study: Study, align: Align) -> None:
    offers = (
        ("Contact sheet", ".mp4", "video/mp4", partial(_video, study.id, align), "All clips in one labeled video"),
        ("PNG", ".png", "image/png", partial(_still, study.id), "The middle frames of all clips in one image"),
        ("CSV", ".csv", "text/csv", partial(_table, study.id), "Measurements and all settings"),
    )
    name = f"{study.picture_name}_sweep_{'_'.join(axis.name for axis in study.axes)}"
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        for label, suffix, mime, make, help_text in offers:
            st.download_button(
                label,
                make,
                file_name=f"{name}{suffix}",
                mime=mime,
                key=f"sweep_download_{suffix[1:]}",
                icon=":material/download:",
                help=f"{help_text}. Created when you press the button.",
                on_click="ignore",
            )


def sheet_of(study_id: str) -> tuple[Study, ContactSheet]:
    """Return a sweep and its contact sheet in their current state."""
    studies = Studies(resources.open_service().store)
    study = studies.study(study_id)
    return study, sweep_sheet(study, studies.jobs(study), studies.made(study))


def _video(study_id: str, align: Align) -> bytes:
    return video_bytes(*sheet_of(study_id), align)


def _still(study_id: str) -> bytes:
    return still_bytes(sheet_of(study_id)[1])


def _table(study_id: str) -> bytes:
    """Return the CSV file, after measuring pending videos."""
    _, sheet = sheet_of(study_id)
    entries = Entries(resources.open_service().store)
    made = [None if entry is None else entries.measured(entry) for entry in sheet.made]
    return replace(sheet, made=made).table().encode()


def _measured(study_id: str, *, polling: bool) -> None:
    """Draw the measurements, polling every second until all are available."""
    with report_drawing_errors("The measurements"):
        study = Studies(resources.open_service().store).study(study_id)
        made = [(cell.label, cell.entry) for cell in cells_of(study) if cell.entry is not None]
        pending = measuring.ask([entry for _, entry in made])
        if polling and not pending:
            st.rerun()
        measured.table([label for label, _ in made], [entry for _, entry in made])
        if pending:
            st.caption(":material/hourglass_empty: Measuring. Results appear here.")


def _align(page: PageState, align: Align) -> None:
    state.keep(page, replace(state.sweep(page), align=align))


@callback("sweeps")
def _open(page: PageState, index: int) -> None:
    state.keep(page, replace(state.sweep(page), open=index))


@callback("sweeps")
def _again(_: PageState, study_id: str) -> None:
    service = resources.open_service()
    studies = Studies(service.store)
    studies.rerun(service, studies.study(study_id))


@callback("sweeps")
def _use(page: PageState, index: int) -> None:
    study = Studies(resources.open_service().store).study(state.sweep(page).study)
    state.use(page, study, study.cells[index].settings)
