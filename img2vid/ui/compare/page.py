"""The Compare page: one image, two to four columns of settings, and the clips side by side."""

import streamlit as st

from img2vid.gallery.studies import Outlook
from img2vid.gallery.sweep_axes import MOST_COLUMNS
from img2vid.ui import formatting
from img2vid.ui.compare import state
from img2vid.ui.compare.clips import clips_box
from img2vid.ui.compare.column import column_box, column_problem, copy_column
from img2vid.ui.compare.state import PAGE, Comparison
from img2vid.ui.frame import draw_page
from img2vid.ui.shared.input_picture import input_box
from img2vid.ui.shared.seed import random_seed
from img2vid.ui.state import PageState, callback, report_drawing_errors, set_widget, widget_value
from img2vid.ui.studies.run_box import Plan, begin, run_box
from img2vid.ui.studies.study import sheet_of


def compare() -> None:
    """Draw the page. Nothing here is slow: all work is done by the job service and the measurer."""
    draw_page(_parts)


def _parts(page: PageState) -> None:
    comparison = state.comparison(page)
    sheet = sheet_of(page, comparison.study)
    with st.container(key="panes"):
        left, right = st.columns([11, 10], gap="medium")
    with left, st.container(key="input"), report_drawing_errors("Input"):
        input_box(page)
    with right, st.container(key="compare_run"), report_drawing_errors("Run"):
        run_box(page, _plan(page, comparison), sheet, _run, state.opened)
    with st.container(key="compare_columns"), report_drawing_errors("The columns"):
        _columns(page, comparison)
    with st.container(key="compare_clips_box"), report_drawing_errors("The clips"):
        if sheet is not None:
            clips_box(page, comparison, sheet)


def _plan(page: PageState, comparison: Comparison) -> Plan:
    columns = comparison.columns
    label = f"Run all {len(columns)}" if len(columns) > 2 else "Run both"
    problems = {index + 1: column_problem(page, column, index) for index, column in enumerate(columns)}
    found = next((f"Column {index}: {problem}" for index, problem in problems.items() if problem), "")
    problem = found or ("" if page.tab.picture is not None else "Add an image first.")
    return Plan("compare", label, [] if problem else state.wanted(page, columns), problem, outlook_text)


def outlook_text(found: Outlook) -> str:
    """Return the numbers of reusable and new videos and the estimated time, in one line."""
    if not found.to_make:
        return "All clips are already made or queued."
    reused = f"{found.reused} of {found.reused + found.to_make} already made or queued, " if found.reused else ""
    videos = "1 video" if found.to_make == 1 else f"{found.to_make} videos"
    return f"{reused}{videos} to make, {formatting.estimate(found.seconds)}"


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
        disabled=len(comparison.columns) >= MOST_COLUMNS,
        on_click=copy_column,
        args=(len(comparison.columns) - 1,),
    )
    st.button(
        "Reference beside Fast",
        key="compare_presets",
        type="tertiary",
        help="Replaces the columns: the Sample page's version and seed with these two presets.",
        on_click=_compare_presets,
    )


@callback("compare")
def _run(page: PageState) -> None:
    columns = state.comparison(page).columns
    study = begin(page, "compare", state.wanted(page, columns))
    page.keep(PAGE, columns=columns, touched=True, ran=True, sent=0, study=study.id, folded=True)


@callback("compare")
def _fold(page: PageState) -> None:
    page.keep(PAGE, folded=not state.comparison(page).folded)


@callback("compare")
def _same_seed(page: PageState) -> None:
    page.keep(PAGE, same_seed=bool(widget_value("same_seed")))
    comparison = state.comparison(page)
    changed = state.change(comparison, 0, seed=comparison.columns[0]["seed"])
    if changed != comparison.columns:
        state.set_columns(page, comparison, changed)


@callback("compare")
def _compare_presets(page: PageState) -> None:
    state.set_columns(page, state.comparison(page), state.preset_columns(page))


@callback("compare")
def _dice(page: PageState) -> None:
    """Set one random seed for all columns, or one for each."""
    comparison = state.comparison(page)
    seed = random_seed()
    columns = [{**one, "seed": seed if comparison.same_seed else random_seed()} for one in comparison.columns]
    state.set_columns(page, comparison, columns)
