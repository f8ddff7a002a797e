"""The Sweeps page: one picture, one or two settings that vary, and the grid of all videos that come of it."""

from dataclasses import replace

import streamlit as st

from img2vid.errors import BadInput
from img2vid.gallery.studies import Outlook, Studies, Study
from img2vid.gallery.sweep_axes import unused_settings
from img2vid.settings import SampleSettings, check_provider
from img2vid.ui import formatting, resources
from img2vid.ui.shared.history import history_box, study_of
from img2vid.ui.shared.input_picture import input_box
from img2vid.ui.state import (
    PageState,
    after_entry,
    callback_state,
    current,
    report_drawing_errors,
    report_errors,
    show_note,
)
from img2vid.ui.sweeps import state
from img2vid.ui.sweeps.axes import axes_box
from img2vid.ui.sweeps.grid import going_on, grid_box
from img2vid.ui.sweeps.state import Sweep


def sweeps() -> None:
    """Draws the page; nothing here takes long, for all work is the service's and the measurer's."""
    with report_drawing_errors("The page"):
        page = current()
        trouble = st.container(key="sweeps_trouble")
        _parts(page)
        with trouble, report_drawing_errors("The workers' state"):
            resources.start()


def _parts(page: PageState) -> None:
    what = state.sweep(page)
    study = study_of(what.study)
    left, right = st.columns([10, 11], gap="medium")
    with left, st.container(key="input"), report_drawing_errors("Input"):
        input_box(page)
    with right:
        with st.container(key="axes"), report_drawing_errors("The axes"):
            axes_box(page, what)
        with st.container(key="sweep_run"), report_drawing_errors("Run"):
            _run_box(page, what, study)
    with st.container(key="sweep_grid"), report_drawing_errors("The grid"):
        if study is not None:
            grid_box(page, what, study)


def _run_box(page: PageState, what: Sweep, study: Study | None) -> None:
    """What all cells have in common, Run and Cancel all, and what is known before."""
    cells, problem = _checked(page, what)
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
    st.caption(_rest(page, what))
    if page.note is not None and page.note.place == "sweeps":
        show_note(page.note)
    for sentence in unused_settings(state.axes(what), cells) if cells else []:
        st.caption(f":orange[:material/info:] {formatting.plain(formatting.sentence(sentence))}")
    if study is not None and cells and not _is_of(page, study, cells):
        st.caption(":orange[:material/info:] The grid below was made with other settings; Run makes another one.")
    with report_drawing_errors("Earlier sweeps"):
        history_box("Earlier sweeps", "sweep", what.study, title, _open)


def _checked(page: PageState, what: Sweep) -> tuple[list[SampleSettings], str]:
    """The settings of the cells where they fit together, and why Run cannot be pressed, or nothing."""
    try:
        cells = state.cells(page, what)
        for cell in cells:
            check_provider(cell, page.tab.choice.provider)
    except BadInput as error:
        return [], formatting.plain(formatting.sentence(error))
    for name in dict.fromkeys(cell.version for cell in cells):
        if page.versions[name].checkpoint_path is None and not resources.open_service().is_remote():
            return cells, f"The checkpoint of {formatting.plain(name)} is missing; the Models page downloads it."
    if page.tab.picture is None:
        return cells, "Drop a picture into Input first."
    return cells, ""


def _outlook(page: PageState, cells: list[SampleSettings]) -> Outlook:
    assert page.tab.picture is not None
    wanted = [(cell, page.tab.choice) for cell in cells]
    return Studies(resources.open_service().store).outlook(wanted, page.tab.picture.file)


def outlook_text(cells: list[SampleSettings], found: Outlook) -> str:
    """A plain sentence: how many videos of what length, how many are there, how long the others take."""
    lengths = sorted({cell.num_frames for cell in cells})
    frames = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    parts = [f"{len(cells)} {'video' if len(cells) == 1 else 'videos'} of {frames} frames"]
    if found.reused:
        parts.append(f"{found.reused} {'is' if found.reused == 1 else 'are'} there already or being made")
    if found.to_make:
        parts.append(
            "time known after the first run" if found.seconds is None else f"about {formatting.span(found.seconds)}"
        )
    return ", ".join(parts) + "."


def _rest(page: PageState, what: Sweep) -> str:
    """The settings that all cells have in common, in a line."""
    controls = page.tab.controls
    facts = {
        "version": formatting.plain(controls["version"]),
        "width": f"{controls['width']} x {controls['height']}",
        "num_steps": f"{controls['num_steps']} steps",
        "fps": f"{controls['fps']} fps",
        "motion_bucket_id": f"motion bucket id {controls['motion_bucket_id']}",
        "seed": f"seed {controls['seed']}",
    }
    common = [text for name, text in facts.items() if name not in what.names]
    return f"All else as on the Sample page: {', '.join(common)}, ..."


def _is_of(page: PageState, study: Study, cells: list[SampleSettings]) -> bool:
    """Whether the grid that is looked at is what Run would make."""
    picture = page.tab.picture
    same = [cell.settings for cell in study.cells] == cells
    return same and picture is not None and picture.file == study.picture.name


def title(study: Study) -> str:
    """What a sweep is called in a list: "motion_bucket_id x seed, 9 videos"."""
    return f"{' x '.join(axis.name for axis in study.axes)}, {len(study.cells)} videos"


def _run() -> None:
    page = callback_state()
    with report_errors(page, "sweeps"):
        picture = page.tab.picture
        if picture is None:
            raise BadInput("there is no input; drop a picture into Input first")
        what = state.sweep(page)
        axes, cells = state.axes(what), state.cells(page, what)
        service = resources.open_service()
        wanted = [(cell, page.tab.choice) for cell in cells]
        data, suffix = picture.path.read_bytes(), picture.path.suffix
        study = Studies(service.store).begin(
            service, "sweep", wanted, data, picture.name, suffix, page.tab.folder, axes
        )
        state.keep(page, replace(what, study=study.id, open=-1))


def _cancel() -> None:
    page = callback_state()
    with report_errors(page, "sweeps"):
        service = resources.open_service()
        study = study_of(state.sweep(page).study)
        for job in going_on(study) if study is not None else []:
            service.cancel(job.id)


def _open(study_id: str) -> None:
    page = callback_state()
    with report_errors(page, "sweeps"):
        state.opened(page, Studies(resources.open_service().store).study(study_id))
