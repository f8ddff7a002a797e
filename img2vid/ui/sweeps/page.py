"""Sweeps page: one image, one or two varying settings, and the grid of the resulting videos."""

from dataclasses import replace

import streamlit as st

from img2vid.errors import BadInput
from img2vid.gallery.studies import Outlook, Studies, Study
from img2vid.gallery.sweep_axes import unused_settings
from img2vid.settings import SampleSettings, check_provider
from img2vid.ui import formatting, resources
from img2vid.ui.shared.history import history_box, study_of
from img2vid.ui.shared.input_picture import input_box
from img2vid.ui.state import PageState, after_entry, callback, current, report_drawing_errors, show_note
from img2vid.ui.sweeps import state
from img2vid.ui.sweeps.axes import axes_box
from img2vid.ui.sweeps.grid import going_on, grid_box
from img2vid.ui.sweeps.state import Sweep


def sweeps() -> None:
    """Draw the page. Slow work runs in the job service and in the measuring thread."""
    with report_drawing_errors("The page"):
        page = current()
        workers = st.container(key="sweeps_trouble")
        _parts(page)
        with workers, report_drawing_errors("The worker status"):
            resources.start()


def _parts(page: PageState) -> None:
    sweep = state.sweep(page)
    study = study_of(sweep.study)
    left, right = st.columns([10, 11], gap="medium")
    with left, st.container(key="input"), report_drawing_errors("Input"):
        input_box(page)
    with right:
        with st.container(key="axes"), report_drawing_errors("The axes"):
            axes_box(page, sweep)
        with st.container(key="sweep_run"), report_drawing_errors("Run"):
            _run_box(page, sweep, study)
    with st.container(key="sweep_grid"), report_drawing_errors("The grid"):
        if study is not None:
            grid_box(page, sweep, study)


def _run_box(page: PageState, sweep: Sweep, study: Study | None) -> None:
    """Draw Run and Cancel all, the estimate, the common settings and earlier sweeps."""
    cells, problem = _checked(page, sweep)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            f"Run {len(cells)} videos" if len(cells) != 1 else "Run 1 video",
            key="sweep_start",
            type="primary",
            icon=":material/grid_on:",
            disabled=bool(problem),
            on_click=after_entry(_run),
        )
        idle = study is None or not going_on(study)
        st.button("Cancel all", key="sweep_cancel", disabled=idle, on_click=_cancel)
    st.caption(problem or outlook_text(cells, _outlook(page, cells)))
    st.caption(_common_settings(page, sweep))
    if page.note is not None and page.note.place == "sweeps":
        show_note(page.note)
    for sentence in unused_settings(state.axes(sweep), cells) if cells else []:
        st.caption(f":orange[:material/info:] {formatting.plain(formatting.sentence(sentence))}")
    if study is not None and cells and not _is_current(page, study, cells):
        st.caption(":orange[:material/info:] These clips use older settings. Run to update.")
    with report_drawing_errors("Earlier sweeps"):
        history_box("Earlier sweeps", "sweep", sweep.study, title, _open)


def _checked(page: PageState, sweep: Sweep) -> tuple[list[SampleSettings], str]:
    """Return the settings of the cells, empty if invalid, and the reason that Run is disabled, or ""."""
    try:
        cells = state.cells(page, sweep)
        for cell in cells:
            check_provider(cell, page.tab.choice.provider)
    except BadInput as error:
        return [], formatting.plain(formatting.sentence(error))
    for name in dict.fromkeys(cell.version for cell in cells):
        if page.versions[name].checkpoint_path is None and not resources.open_service().is_remote():
            return cells, f"{formatting.plain(name)} is not installed. Download it on the Models page."
    if page.tab.picture is None:
        return cells, "Add an image first."
    return cells, ""


def _outlook(page: PageState, cells: list[SampleSettings]) -> Outlook:
    assert page.tab.picture is not None
    wanted = [(cell, page.tab.choice) for cell in cells]
    return Studies(resources.open_service().store).outlook(wanted, page.tab.picture.file)


def outlook_text(cells: list[SampleSettings], found: Outlook) -> str:
    """Return a sentence with the number and length of the videos, those reused, and the time for the others."""
    lengths = sorted({cell.num_frames for cell in cells})
    frames = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    parts = [f"{len(cells)} {'video' if len(cells) == 1 else 'videos'} of {frames} frames"]
    if found.reused:
        parts.append(f"{found.reused} already made or queued")
    if found.to_make:
        parts.append(
            "estimate available after the first run"
            if found.seconds is None
            else f"about {formatting.span(found.seconds)} to make"
        )
    return ", ".join(parts) + "."


def _common_settings(page: PageState, sweep: Sweep) -> str:
    """Return a line with the settings that all cells share."""
    controls = page.tab.controls
    facts = {
        "version": formatting.plain(controls["version"]),
        "width": f"{controls['width']} x {controls['height']}",
        "num_steps": f"{controls['num_steps']} steps",
        "fps": f"{controls['fps']} fps",
        "motion_bucket_id": f"motion bucket id {controls['motion_bucket_id']}",
        "seed": f"seed {controls['seed']}",
    }
    common = [text for name, text in facts.items() if name not in sweep.names]
    return f"All other settings come from the Sample page: {', '.join(common)}, ..."


def _is_current(page: PageState, study: Study, cells: list[SampleSettings]) -> bool:
    """Return whether the study has the settings and the input that Run would use."""
    picture = page.tab.picture
    same = [cell.settings for cell in study.cells] == cells
    return same and picture is not None and picture.file == study.picture.name


def title(study: Study) -> str:
    """Return the name of a sweep in lists, such as "motion_bucket_id x seed, 9 videos"."""
    return f"{' x '.join(axis.name for axis in study.axes)}, {len(study.cells)} videos"


@callback("sweeps")
def _run(page: PageState) -> None:
    picture = page.tab.picture
    if picture is None:
        raise BadInput("there is no input; add an image first")
    sweep = state.sweep(page)
    axes, cells = state.axes(sweep), state.cells(page, sweep)
    service = resources.open_service()
    wanted = [(cell, page.tab.choice) for cell in cells]
    data, suffix = picture.path.read_bytes(), picture.path.suffix
    study = Studies(service.store).begin(service, "sweep", wanted, data, picture.name, suffix, page.tab.folder, axes)
    state.keep(page, replace(sweep, study=study.id, open=-1))


@callback("sweeps")
def _cancel(page: PageState) -> None:
    service = resources.open_service()
    study = study_of(state.sweep(page).study)
    for job in going_on(study) if study is not None else []:
        service.cancel(job.id)


@callback("sweeps")
def _open(page: PageState, study_id: str) -> None:
    state.opened(page, Studies(resources.open_service().store).study(study_id))
