"""Grid of a sweep: synchronized clips with axis labels, and details of the open cell."""

from collections.abc import Sequence

import streamlit as st

from img2vid.gallery.contact_sheet import ContactSheet
from img2vid.gallery.entries import Entry
from img2vid.gallery.studies import CellStatus
from img2vid.gallery.sweep_axes import cell_names
from img2vid.jobs.job import State
from img2vid.ui import formatting
from img2vid.ui.shared import measured
from img2vid.ui.shared.media import autoplaying_video
from img2vid.ui.state import PageState, callback, report_drawing_errors
from img2vid.ui.studies import clips
from img2vid.ui.studies.study import studies
from img2vid.ui.sweeps import state
from img2vid.ui.sweeps.state import PAGE, Sweep

SCOPE = "sweep_clips"
"""Key of the container with the clips."""
NARROWEST = 120
"""Minimum width of a cell in pixels; narrower windows scroll horizontally."""
FEW = 3
"""Columns that fill the page width; cells of smaller grids do not grow further."""
ROOM_FOR_LABELS = 0.45
"""Width of the row labels, relative to a cell."""


def grid_box(page: PageState, sweep: Sweep, sheet: ContactSheet) -> None:
    """Draw progress, player controls, the grid, downloads, the open cell and the measurements."""
    with st.container(key="sweep_going"):
        clips.progress_box(page, sheet)
        if not any(cell.is_active for cell in sheet.cells):
            _ended_line(sheet)
    clips.player_box(sheet, sweep.align)
    with st.container(key=SCOPE), report_drawing_errors("The grid"):
        _grid(sweep, sheet)
    if not sheet.made:
        return
    clips.downloads_box(sheet, sweep.align)
    with st.container(key="sweep_opened"), report_drawing_errors("The cell"):
        if 0 <= sweep.open < len(sheet.cells):
            _cell_box(sheet, sweep.open)
    clips.measured_box(sheet)


def _ended_line(sheet: ContactSheet) -> None:
    """Draw the number of videos made and reused, and a button that reruns missing ones."""
    study, count = sheet.study, len(sheet.cells)
    missing = count - len(sheet.made)
    reused = sum(cell.reused for cell in study.cells)
    parts = [f"{count - missing} of {count} videos of {formatting.plain(study.picture_name)}"]
    if reused:
        parts.append(f"{reused} reused")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(" · ".join(parts))
        if missing:
            label = f"Run {missing} missing videos" if missing > 1 else "Run 1 missing video"
            clips.again_button(study, label, "sweep_again")


def _grid(sweep: Sweep, sheet: ContactSheet) -> None:
    values = cell_names(sheet.study.axes, " · ")
    count = len(sheet.columns)
    room = ROOM_FOR_LABELS if len(sheet.study.axes) > 1 else 0.0
    st.html(_style(count, room))
    _labels_above(sheet.columns, room)
    for row, name in enumerate(sheet.rows):
        columns = st.columns(_widths(count, room), gap="xxsmall", vertical_alignment="center")
        if room:
            with columns[0]:
                st.markdown(f"**{formatting.plain(name)}**", text_alignment="right")
        for column in range(count):
            index = row * count + column
            cell = columns[column + bool(room)].container(key=f"sweep_cell_{index}", gap="xxsmall")
            with cell, report_drawing_errors(sheet.names[index]):
                _cell(sheet.cells[index], index, sheet.names[index], values[index], opened=sweep.open == index)


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


def _cell(cell: CellStatus, index: int, name: str, values: str, *, opened: bool) -> None:
    with st.container(key=f"sweep_body_{index}"):
        if cell.entry is not None:
            st.video(cell.entry.result.video, muted=True, alt=name)
        elif cell.job is not None and cell.job.state is State.RUNNING:
            clips.job_box(cell.job)
        else:
            _placeholder(cell)
    with st.container(key=f"sweep_open_box_{index}", horizontal_alignment="center"):
        st.button(
            formatting.plain(values),
            key=f"sweep_open_{index}",
            type="tertiary",
            icon=":material/expand_less:" if opened else ":material/expand_more:",
            disabled=cell.entry is None,
            help=f"{formatting.plain(name)}: settings and measurements",
            on_click=_open,
            args=(-1 if opened else index,),
        )


def _placeholder(cell: CellStatus) -> None:
    """Draw the state of a cell without a clip."""
    if cell.is_active:
        text = ":material/schedule: Queued"
    else:
        text = clips.ended_text(cell.job)
        if cell.job is not None and cell.job.state in (State.FAILED, State.INTERRUPTED):
            text = f":red[:material/error: {text}]"
    with st.container(border=True, height=110, vertical_alignment="center", horizontal_alignment="center"):
        st.caption(text, text_alignment="center")


def _cell_box(sheet: ContactSheet, index: int) -> None:
    """Draw an enlarged cell with its settings and measurements."""
    entry, name = sheet.cells[index].entry, sheet.names[index]
    if entry is None:
        return
    settings, result = entry.settings, entry.result
    with st.container(border=True):
        left, right = st.columns([1, 1], gap="medium")
        with left:
            autoplaying_video(result.video, f"{name}, larger")
        with right:
            st.markdown(f"**{formatting.plain(name)}**")
            facts = [formatting.plain(settings.version), formatting.dimensions(settings), f"seed {settings.seed}"]
            facts.append(f"{settings.num_steps} steps")
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


@callback("sweeps")
def _open(page: PageState, index: int) -> None:
    page.keep(PAGE, open=index)


@callback("sweeps")
def _use(page: PageState, index: int) -> None:
    study = studies().study(state.sweep(page).study)
    state.use(page, study, study.cells[index].settings)
