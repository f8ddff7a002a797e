"""The Compare page: one image, two to four columns of settings, and the clips side by side."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from img2vid.errors import BadInput
from img2vid.gallery.studies import Outlook, Studies, Study, Wanted
from img2vid.jobs.fingerprint import of_video
from img2vid.ui import formatting, resources
from img2vid.ui.compare import state
from img2vid.ui.compare.clips import clips_box
from img2vid.ui.compare.column import column_box, column_problem
from img2vid.ui.compare.state import MOST, Comparison
from img2vid.ui.shared.history import history_box, study_of
from img2vid.ui.shared.input_picture import input_box
from img2vid.ui.shared.sidebar import random_seed
from img2vid.ui.state import (
    PageState,
    after_entry,
    callback,
    current,
    report_drawing_errors,
    set_widget,
    show_note,
    widget_value,
)


def compare() -> None:
    """Draw the page. Nothing here is slow: all work is done by the job service and the measurer."""
    with report_drawing_errors("The page"):
        page = current()
        errors = st.container(key="compare_trouble")
        _parts(page)
        with errors, report_drawing_errors("The worker status"):
            resources.start()


def _parts(page: PageState) -> None:
    comparison = state.comparison(page)
    study = study_of(comparison.study)
    with st.container(key="input"), report_drawing_errors("Input"):
        left, right = st.columns([11, 10], gap="medium")
        with left:
            input_box(page)
        with right, st.container(key="compare_run"), report_drawing_errors("Run"):
            _run_box(page, comparison, study)
    with st.container(key="compare_columns"), report_drawing_errors("The columns"):
        _columns(page, comparison)
    with st.container(key="compare_clips_box"), report_drawing_errors("The clips"):
        if study is not None:
            clips_box(page, comparison, study)


def _run_box(page: PageState, comparison: Comparison, study: Study | None) -> None:
    """Draw Run and Cancel with the estimate or the reason why Run is disabled."""
    problem = _problem(page, comparison)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        label = f"Run all {len(comparison.columns)}" if len(comparison.columns) > 2 else "Run both"
        st.button(
            label,
            key="compare_start",
            type="primary",
            icon=":material/compare:",
            disabled=bool(problem),
            on_click=after_entry(_run),
        )
        st.button("Cancel", key="compare_cancel", disabled=not _active_jobs(study), on_click=_cancel)
    st.caption(formatting.plain(problem) if problem else _outlook(page, comparison))
    if page.note is not None and page.note.place == "compare":
        show_note(page.note)
    if study is not None and not problem and _differs(page, comparison, study):
        st.caption(":orange[:material/info:] These clips use older settings. Run to update.")
    with report_drawing_errors("Earlier comparisons"):
        history_box("Earlier comparisons", "compare", comparison.study, title, _open)


def _problem(page: PageState, comparison: Comparison) -> str:
    """Return the reason why Run is disabled, or ""."""
    for index, column in enumerate(comparison.columns):
        if found := column_problem(page, column):
            return f"Column {index + 1}: {found}"
    return "" if page.tab.picture is not None else "Add an image first."


def _wanted(page: PageState, comparison: Comparison) -> list[Wanted]:
    return [(state.settings_of(page, column), state.choice_of(page, column)) for column in comparison.columns]


def _differs(page: PageState, comparison: Comparison, study: Study) -> bool:
    """Return whether the columns or the input differ from those of the shown clips."""
    assert page.tab.picture is not None
    now = [of_video(*one, page.tab.picture.file) for one in _wanted(page, comparison)]
    return now != [of_video(cell.settings, cell.choice, study.picture.name) for cell in study.cells]


def _outlook(page: PageState, comparison: Comparison) -> str:
    """Return the number of reusable videos and the estimated time of the others."""
    assert page.tab.picture is not None
    wanted = _wanted(page, comparison)
    found = Studies(resources.open_service().store).outlook(wanted, page.tab.picture.file)
    return outlook_text(found)


def outlook_text(found: Outlook) -> str:
    """Return the numbers of reusable and new videos and the estimated time, in one line."""
    if not found.to_make:
        return "All clips are already made or queued."
    reused = f"{found.reused} of {found.reused + found.to_make} already made or queued, " if found.reused else ""
    videos = "1 video" if found.to_make == 1 else f"{found.to_make} videos"
    seconds = found.seconds
    estimate = "estimate available after the first run" if seconds is None else f"about {formatting.span(seconds)}"
    return f"{reused}{videos} to make, {estimate}"


def _columns(page: PageState, comparison: Comparison) -> None:
    """Draw the columns with a button that hides or shows them."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        shown = "Show settings" if comparison.folded else "Hide settings"
        icon = ":material/expand_more:" if comparison.folded else ":material/expand_less:"
        st.button(shown, key="compare_fold", type="tertiary", icon=icon, on_click=_fold)
        if not comparison.folded:
            _tools(comparison)
    if comparison.folded:
        return
    for index, place in enumerate(st.columns(len(comparison.columns), gap="small", border=True)):
        with place, st.container(key=f"column_{index}"), report_drawing_errors(f"Column {index + 1}"):
            column_box(page, comparison, index)


def _tools(comparison: Comparison) -> None:
    st.checkbox(
        "Same seed in all",
        set_widget("same_seed", comparison.same_seed, False),
        key="same_seed",
        help="Setting the seed in one column sets it in all, so that only the settings make a difference. Default: on.",
        on_change=_same_seed,
    )
    st.button("Dice", key="compare_dice", icon=":material/casino:", help="Random seed", on_click=_dice)
    st.button(
        "Add column",
        key="add_column",
        icon=":material/add:",
        help="Adds a copy of the last column.",
        disabled=len(comparison.columns) >= MOST,
        on_click=_add,
    )


def _active_jobs(study: Study | None) -> list[str]:
    """Return the ids of a study's unfinished jobs."""
    if study is None:
        return []
    found = Studies(resources.open_service().store).jobs(study)
    return list(dict.fromkeys(job.id for job in found if job is not None and not job.state.ended))


def title(study: Study) -> str:
    """Return a comparison's title: its versions, or their number and name if they are all the same."""
    names: Sequence[str] = [cell.settings.version for cell in study.cells]
    different = list(dict.fromkeys(names))
    return " · ".join(different) if len(different) > 1 else f"{len(names)} x {names[0]}"


@callback("compare")
def _run(page: PageState) -> None:
    picture = page.tab.picture
    if picture is None:
        raise BadInput("there is no input; add an image first")
    comparison = state.comparison(page)
    service = resources.open_service()
    data = picture.path.read_bytes()
    name, suffix = picture.name, picture.path.suffix
    wanted = _wanted(page, comparison)
    study = Studies(service.store).begin(service, "compare", wanted, data, name, suffix, page.tab.folder)
    state.keep(page, replace(comparison, touched=True, ran=True, sent=0, study=study.id, folded=True))


@callback("compare")
def _cancel(page: PageState) -> None:
    service = resources.open_service()
    for job_id in _active_jobs(study_of(state.comparison(page).study)):
        service.cancel(job_id)


@callback("compare")
def _fold(page: PageState) -> None:
    comparison = state.comparison(page)
    state.keep(page, replace(comparison, folded=not comparison.folded))


@callback("compare")
def _same_seed(page: PageState) -> None:
    comparison = replace(state.comparison(page), same_seed=bool(widget_value("same_seed")))
    seed = comparison.columns[0].controls["seed"]
    changed = state.change(comparison, 0, seed=seed)
    if changed == comparison.columns:
        state.keep(page, comparison)
    else:
        state.set_columns(page, comparison, changed)


@callback("compare")
def _dice(page: PageState) -> None:
    """Set one random seed for all columns, or one for each."""
    comparison = state.comparison(page)
    seed = random_seed()
    columns = [one.with_controls(seed=seed if comparison.same_seed else random_seed()) for one in comparison.columns]
    state.set_columns(page, comparison, columns)


@callback("compare")
def _add(page: PageState) -> None:
    comparison = state.comparison(page)
    state.set_columns(page, comparison, state.copied(comparison.columns, len(comparison.columns) - 1))


@callback("compare")
def _open(page: PageState, study_id: str) -> None:
    state.opened(page, Studies(resources.open_service().store).study(study_id))
