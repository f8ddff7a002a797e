"""The grid of a sweep: clips that play in step between the labels of the axes, and the cell that is looked into."""

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
from img2vid.ui.state import PageState, callback_state, current, report_drawing_errors, report_errors
from img2vid.ui.sweeps import state
from img2vid.ui.sweeps.state import Sweep

SCOPE = "sweep_clips"
"""Key of the container with the clips."""
NARROWEST = 120
"""Pixels of a cell in width; where the window has less, the grid is moved sideways."""
FEW = 3
"""Columns that fill the page; where there are fewer, cells are no larger than with these."""
ROOM_FOR_LABELS = 0.45
"""Width of the labels of the rows, in cells."""


@dataclass(frozen=True)
class Cell:
    """What one cell has come to: its job, its video if that is there, and its values in words."""

    job: Job | None
    entry: Entry | None
    label: str

    @property
    def going_on(self) -> bool:
        """Whether its video is still to come."""
        return self.entry is None and self.job is not None and not self.job.state.ended


def cells_of(study: Study) -> list[Cell]:
    """What each cell of a sweep has come to, row by row."""
    studies = Studies(resources.open_service().store)
    names = [", ".join(label_of_value(*pair) for pair in point.items()) for point in points(study.axes)]
    return [Cell(*found) for found in zip(studies.jobs(study), studies.made(study), names, strict=True)]


def going_on(study: Study) -> list[Job]:
    """The jobs of a sweep that have not ended, each once."""
    found = Studies(resources.open_service().store).jobs(study)
    return list({job.id: job for job in found if job is not None and not job.state.ended}.values())


def snapshot(found: Sequence[Cell]) -> object:
    """What the grid was drawn from; when that changes, the page is drawn again."""
    return [(place.job and (place.job.id, place.job.state), place.entry and place.entry.number) for place in found]


def grid_box(page: PageState, what: Sweep, study: Study) -> None:
    """Draws how far it is, the player of all clips, the grid, downloads, and the cell that is looked into."""
    found = cells_of(study)
    page.seen = snapshot(found)
    with st.container(key="sweep_going"):
        if any(place.going_on for place in found):
            st.fragment(_going, run_every=BUSY)(study.id)
        else:
            _ended_line(study, found)
    made = [(place.label, place.entry) for place in found if place.entry is not None]
    with st.container(key="sweep_player"), report_drawing_errors("The player"):
        if made:
            known = [player.Playing(label, entry.settings.file_fps) for label, entry in made]
            player.controls(SCOPE, clips=known, align=what.align, on_align=_align)
    with st.container(key=SCOPE), report_drawing_errors("The grid"):
        _grid(what, study, found)
    if not made:
        return
    with st.container(key="sweep_downloads"), report_drawing_errors("The downloads"):
        _downloads(study, what.align)
    with st.container(key="sweep_opened"), report_drawing_errors("The cell"):
        if 0 <= what.open < len(found):
            _cell_box(found[what.open], what.open)
    with st.container(key="sweep_measured"):
        to_come = measuring.ask([entry for _, entry in made])
        st.fragment(_measured, run_every=BUSY if to_come else None)(study.id, looking=to_come)


def _going(study_id: str) -> None:
    """How far all of it is; looks every second."""
    with report_drawing_errors("What is going on"):
        page = current()
        service = resources.open_service()
        study = Studies(service.store).study(study_id)
        found = cells_of(study)
        if snapshot(found) != page.seen:
            st.rerun()
        done = sum(place.entry is not None for place in found)
        seconds = seconds_left(service.store, going_on(study), len(service.workers()))
        left = "time known after the first of its kind" if seconds is None else f"about {formatting.span(seconds)} left"
        st.progress(done / len(found), text=f"{done} of {len(found)} videos made · {left}")
        if trouble := service.status():
            st.caption(f":material/info: {formatting.plain(formatting.sentence(trouble))}")


def _ended_line(study: Study, found: Sequence[Cell]) -> None:
    """What became of it: how many are there, how many were there before, and how many are missing."""
    missing = sum(place.entry is None for place in found)
    reused = sum(cell.reused for cell in study.cells)
    parts = [f"{len(found) - missing} of {len(found)} videos of {formatting.plain(study.picture_name)}"]
    if reused:
        parts.append(f"{reused} of them were there before")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(" · ".join(parts))
        if missing:
            again = f"Run the {missing} missing again" if missing > 1 else "Run the missing one again"
            st.button(again, key="sweep_again", icon=":material/replay:", on_click=_again, args=(study.id,))


def _grid(what: Sweep, study: Study, found: Sequence[Cell]) -> None:
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
                _cell(study, found[index], index, opened=what.open == index)


def _widths(count: int, room: float) -> list[float]:
    """Of the labels, the cells, and what is left empty where there are few of them."""
    return [*([room] if room else []), *([1.0] * count), *([float(FEW - count)] if count < FEW else [])]


def _style(count: int, room: float) -> str:
    """Rows of a grid stay rows on a narrow window too, and what does not fit is reached by moving it sideways."""
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


def _cell(study: Study, place: Cell, index: int, *, opened: bool) -> None:
    with st.container(key=f"sweep_body_{index}"):
        if place.entry is not None:
            st.video(place.entry.result.video, muted=True, alt=place.label)
        elif place.job is not None and place.job.state is State.RUNNING:
            st.fragment(_running, run_every=BUSY)(place.job.id)
        else:
            _in_its_place(place)
    values = " · ".join(label_of_value("version", value) for value in points(study.axes)[index].values())
    with st.container(key=f"sweep_open_box_{index}", horizontal_alignment="center"):
        st.button(
            formatting.plain(values),
            key=f"sweep_open_{index}",
            type="tertiary",
            icon=":material/expand_less:" if opened else ":material/expand_more:",
            disabled=place.entry is None,
            help=f"{formatting.plain(place.label)}: settings and measurements",
            on_click=_open,
            args=(-1 if opened else index,),
        )


def _running(job_id: str) -> None:
    """The cell that is being made: its picture so far."""
    with report_drawing_errors("The cell"):
        store = resources.open_service().store
        job = store.job(job_id)
        if job.state is State.RUNNING:
            running_box(store, job, several=False)


def _in_its_place(place: Cell) -> None:
    """What stands where a clip is missing."""
    job = place.job
    with st.container(border=True, height=110, vertical_alignment="center", horizontal_alignment="center"):
        if job is None or job.state is State.DONE:
            st.caption("The video is not there any more.", text_alignment="center")
        elif job.state is State.WAITING:
            st.caption(":material/schedule: Waits", text_alignment="center")
        elif job.state is State.CANCELLED:
            st.caption("Cancelled", text_alignment="center")
        else:
            text = formatting.plain(formatting.sentence(job.error or "it did not finish"))
            st.caption(f":red[:material/error: {text}]", text_alignment="center")


def _cell_box(place: Cell, index: int) -> None:
    """One cell, larger, with its settings and what it measures."""
    entry = place.entry
    if entry is None:
        return
    settings, result = entry.settings, entry.result
    with st.container(border=True):
        left, right = st.columns([1, 1], gap="medium")
        with left:
            looping_video(result.video, f"{place.label}, larger", "larger")
        with right:
            st.markdown(f"**{formatting.plain(place.label)}**")
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
                    help="The Sample page takes all settings of this video, and its picture.",
                    on_click=_use,
                    args=(index,),
                )
                st.button("Close", key="sweep_close", type="tertiary", on_click=_open, args=(-1,))
            st.markdown(_numbers(entry))
            with st.expander("All settings"):
                st.code("\n".join(f"{name} {value}" for name, value in settings.model_dump().items()), language=None)


def _numbers(entry: Entry) -> str:
    """What a video measures, as a table in Markdown; what is not known yet is left out."""
    known = [(quantity, quantity.value(entry)) for quantity in measured.QUANTITIES]
    rows = [f"| {one.heading} | {one.form % number} |" for one, number in known if number is not None]
    return "\n".join(["| Measured | |", "|---|---:|", *rows]) if rows else ""


def _downloads(study: Study, align: Align) -> None:
    offers = (
        ("Contact sheet", ".mp4", "video/mp4", partial(_video, study.id, align), "All clips in one video, labelled"),
        ("PNG", ".png", "image/png", partial(_still, study.id), "The middle frames of all clips in one picture"),
        ("CSV", ".csv", "text/csv", partial(_table, study.id), "What was measured, and all settings, as a table"),
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
                help=f"{help_text}; it is made when you press.",
                on_click="ignore",
            )


def sheet_of(study_id: str) -> tuple[Study, ContactSheet]:
    """A sweep as it stands."""
    studies = Studies(resources.open_service().store)
    study = studies.study(study_id)
    return study, sweep_sheet(study, studies.jobs(study), studies.made(study))


def _video(study_id: str, align: Align) -> bytes:
    return video_bytes(*sheet_of(study_id), align)


def _still(study_id: str) -> bytes:
    return still_bytes(sheet_of(study_id)[1])


def _table(study_id: str) -> bytes:
    """Measures first what was not measured yet."""
    _, sheet = sheet_of(study_id)
    entries = Entries(resources.open_service().store)
    made = [None if entry is None else entries.measured(entry) for entry in sheet.made]
    return replace(sheet, made=made).table().encode()


def _measured(study_id: str, *, looking: bool) -> None:
    """The table; looks every second as long as numbers are to come, and then no more."""
    with report_drawing_errors("What was measured"):
        study = Studies(resources.open_service().store).study(study_id)
        made = [(place.label, place.entry) for place in cells_of(study) if place.entry is not None]
        to_come = measuring.ask([entry for _, entry in made])
        if looking and not to_come:
            st.rerun()
        measured.table([label for label, _ in made], [entry for _, entry in made])
        if to_come:
            st.caption(":material/hourglass_empty: Being measured; the numbers appear here.")


def _align(align: Align) -> None:
    page = callback_state()
    state.keep(page, replace(state.sweep(page), align=align))


def _open(index: int) -> None:
    page = callback_state()
    with report_errors(page, "sweeps"):
        state.keep(page, replace(state.sweep(page), open=index))


def _again(study_id: str) -> None:
    with report_errors(callback_state(), "sweeps"):
        service = resources.open_service()
        studies = Studies(service.store)
        studies.rerun(service, studies.study(study_id))


def _use(index: int) -> None:
    page = callback_state()
    with report_errors(page, "sweeps"):
        study = Studies(resources.open_service().store).study(state.sweep(page).study)
        state.use(page, study, study.cells[index].settings)
