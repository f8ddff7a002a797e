"""Sweeps page: one image, one or two varying settings, and the grid of the resulting videos."""

from functools import partial

import streamlit as st

from img2vid.errors import BadInput
from img2vid.gallery.studies import Outlook
from img2vid.gallery.sweep_axes import unused_settings
from img2vid.settings import SampleSettings
from img2vid.settings_validation import check_provider
from img2vid.ui import formatting, resources
from img2vid.ui.frame import draw_page
from img2vid.ui.shared.input_picture import input_box
from img2vid.ui.state import PageState, callback, report_drawing_errors
from img2vid.ui.studies.run_box import Plan, begin, run_box
from img2vid.ui.studies.study import sheet_of
from img2vid.ui.sweeps import state
from img2vid.ui.sweeps.axes import axes_box
from img2vid.ui.sweeps.grid import grid_box
from img2vid.ui.sweeps.state import PAGE, Sweep


def sweeps() -> None:
    """Draw the page. Slow work runs in the job service and in the measuring thread."""
    draw_page(_parts)


def _parts(page: PageState) -> None:
    sweep = state.sweep(page)
    sheet = sheet_of(page, sweep.study)
    with st.container(key="panes"):
        left, right = st.columns([10, 11], gap="medium")
    with left, st.container(key="input"), report_drawing_errors("Input"):
        input_box(page)
    with right:
        with st.container(key="axes"), report_drawing_errors("The axes"):
            axes_box(page, sweep)
        with st.container(key="sweep_run"), report_drawing_errors("Run"):
            run_box(page, _plan(page, sweep), sheet, _run, state.opened)
    with st.container(key="sweep_grid"), report_drawing_errors("The grid"):
        if sheet is not None:
            grid_box(page, sweep, sheet)


def _plan(page: PageState, sweep: Sweep) -> Plan:
    cells, problem = _checked(page, sweep)
    label = f"Run {len(cells)} videos" if len(cells) != 1 else "Run 1 video"
    unused = unused_settings(state.axes(sweep), cells) if cells else []
    about = [f":orange[:material/info:] {formatting.message(text)}" for text in unused]
    wanted = [(cell, page.tab.options) for cell in cells]
    return Plan("sweep", label, wanted, problem, partial(outlook_text, cells), [_common_settings(page, sweep), *about])


def _checked(page: PageState, sweep: Sweep) -> tuple[list[SampleSettings], str]:
    """Return the settings of the cells, empty if invalid, and the reason that Run is disabled, or ""."""
    try:
        cells = state.cells(page, sweep)
        for cell in cells:
            check_provider(cell, page.tab.options.provider)
    except BadInput as error:
        return [], formatting.sentence(error)
    for name in dict.fromkeys(cell.version for cell in cells):
        if page.versions[name].checkpoint_path is None and not resources.open_service().is_remote():
            return cells, f"{name} is not installed. Download it on the Models page."
    return cells, "" if page.tab.picture is not None else "Add an image first."


def outlook_text(cells: list[SampleSettings], found: Outlook) -> str:
    """Return a sentence with the number and length of the videos, those reused, and the time for the others."""
    lengths = sorted({cell.num_frames for cell in cells})
    frames = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    parts = [f"{len(cells)} {'video' if len(cells) == 1 else 'videos'} of {frames} frames"]
    if found.reused:
        parts.append(f"{found.reused} already made or queued")
    if found.to_make:
        parts.append(formatting.estimate(found.seconds, "to make"))
    return ", ".join(parts) + "."


def _common_settings(page: PageState, sweep: Sweep) -> str:
    """Return a line with the settings that all cells share."""
    controls = page.tab.controls
    facts = {
        "version": formatting.plain(controls["version"]),
        "width": formatting.pixels(controls["width"], controls["height"]),
        "num_steps": f"{controls['num_steps']} steps",
        "fps": f"{controls['fps']} fps",
        "motion_bucket_id": f"motion bucket id {controls['motion_bucket_id']}",
        "seed": f"seed {controls['seed']}",
    }
    common = [text for name, text in facts.items() if name not in sweep.names]
    return f"All other settings come from the Sample page: {', '.join(common)}, ..."


@callback("sweeps")
def _run(page: PageState) -> None:
    sweep = state.sweep(page)
    wanted = [(cell, page.tab.options) for cell in state.cells(page, sweep)]
    study = begin(page, "sweep", wanted, state.axes(sweep))
    page.keep(PAGE, study=study.id, open=-1)
