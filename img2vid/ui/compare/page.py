"""The Compare page: one picture, two to four columns of settings, and what they make of it side by side."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from img2vid.errors import BadInput
from img2vid.gallery.studies import Outlook, Studies, Study, Wanted
from img2vid.jobs.job import likeness
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
    callback_state,
    current,
    report_drawing_errors,
    report_errors,
    set_widget,
    show_note,
    widget_value,
)


def compare() -> None:
    """Draws the page; nothing here takes long, for all work is the service's and the measurer's."""
    with report_drawing_errors("The page"):
        page = current()
        trouble_box = st.container(key="compare_trouble")
        _parts(page)
        with trouble_box, report_drawing_errors("The workers' state"):
            resources.start()


def _parts(page: PageState) -> None:
    what = state.comparison(page)
    study = study_of(what.study)
    with st.container(key="input"), report_drawing_errors("Input"):
        left, right = st.columns([11, 10], gap="medium")
        with left:
            input_box(page)
        with right, st.container(key="compare_run"), report_drawing_errors("Run"):
            _run_box(page, what, study)
    with st.container(key="compare_columns"), report_drawing_errors("The columns"):
        _columns(page, what)
    with st.container(key="compare_clips_box"), report_drawing_errors("The clips"):
        if study is not None:
            clips_box(page, what, study)


def _run_box(page: PageState, what: Comparison, study: Study | None) -> None:
    """Run and Cancel, and what is known before."""
    problem = _problem(page, what)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        label = f"Run all {len(what.columns)}" if len(what.columns) > 2 else "Run both"
        st.button(
            label,
            key="compare_start",
            type="primary",
            icon=":material/compare:",
            disabled=bool(problem),
            on_click=after_entry(_run),
        )
        st.button("Cancel", key="compare_cancel", disabled=not _going(study), on_click=_cancel)
    st.caption(formatting.plain(problem) if problem else _outlook(page, what))
    if page.note is not None and page.note.place == "compare":
        show_note(page.note)
    if study is not None and not problem and _differs(page, what, study):
        st.caption(":orange[:material/info:] The clips below were made of something else; Run makes those of now.")
    with report_drawing_errors("Earlier comparisons"):
        history_box("Earlier comparisons", "compare", what.study, title, _open)


def _problem(page: PageState, what: Comparison) -> str:
    """Why Run cannot be pressed, as a sentence, or nothing."""
    for index, column in enumerate(what.columns):
        if found := column_problem(page, column):
            return f"Column {index + 1}: {found}"
    return "" if page.tab.picture is not None else "Drop a picture into Input first."


def _wanted(page: PageState, what: Comparison) -> list[Wanted]:
    return [(state.settings_of(page, column), state.choice_of(page, column)) for column in what.columns]


def _differs(page: PageState, what: Comparison, study: Study) -> bool:
    """Whether the columns or the picture have changed since the clips that are shown were asked for."""
    assert page.tab.picture is not None
    now = [likeness(*one, page.tab.picture.file) for one in _wanted(page, what)]
    return now != [likeness(cell.settings, cell.choice, study.picture.name) for cell in study.cells]


def _outlook(page: PageState, what: Comparison) -> str:
    """How many of the videos are there, and how long the others will take."""
    assert page.tab.picture is not None
    wanted = _wanted(page, what)
    found = Studies(resources.open_service().store).outlook(wanted, page.tab.picture.file)
    return outlook_text(found)


def outlook_text(found: Outlook) -> str:
    """What is there, what is to be made, and how long that takes, in a line."""
    if not found.to_make:
        return "All of them are there already, or being made."
    there = f"{found.reused} of {found.reused + found.to_make} there already, " if found.reused else ""
    videos = "1 video" if found.to_make == 1 else f"{found.to_make} videos"
    time_text = "time known after the first run" if found.seconds is None else f"about {formatting.span(found.seconds)}"
    return f"{there}{videos} to make, {time_text}"


def _columns(page: PageState, what: Comparison) -> None:
    """The settings, or, where they are out of sight, a button that brings them back."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        shown = "Show the settings" if what.folded else "Hide the settings"
        icon = ":material/expand_more:" if what.folded else ":material/expand_less:"
        st.button(shown, key="compare_fold", type="tertiary", icon=icon, on_click=_fold)
        if not what.folded:
            _tools(what)
    if what.folded:
        return
    for index, place in enumerate(st.columns(len(what.columns), gap="small", border=True)):
        with place, st.container(key=f"column_{index}"), report_drawing_errors(f"Column {index + 1}"):
            column_box(page, what, index)


def _tools(what: Comparison) -> None:
    st.checkbox(
        "Same seed in all",
        set_widget("same_seed", what.same_seed, False),
        key="same_seed",
        help="A seed that is set in one column is set in all: what differs then comes of the settings alone. "
        "Default: on.",
        on_change=_same_seed,
    )
    st.button("Dice", key="compare_dice", icon=":material/casino:", help="Another seed, by chance", on_click=_dice)
    st.button(
        "Add a column",
        key="add_column",
        icon=":material/add:",
        help="It begins as a copy of the last one.",
        disabled=len(what.columns) >= MOST,
        on_click=_add,
    )


def _going(study: Study | None) -> list[str]:
    """The jobs of a study that have not ended."""
    if study is None:
        return []
    found = Studies(resources.open_service().store).jobs(study)
    return list(dict.fromkeys(job.id for job in found if job is not None and not job.state.ended))


def title(study: Study) -> str:
    """What a comparison is called in a list: its versions, or, where they are the same, their number and name."""
    names: Sequence[str] = [cell.settings.version for cell in study.cells]
    different = list(dict.fromkeys(names))
    return " · ".join(different) if len(different) > 1 else f"{len(names)} x {names[0]}"


def _run() -> None:
    page = callback_state()
    with report_errors(page, "compare"):
        picture = page.tab.picture
        if picture is None:
            raise BadInput("there is no input; drop a picture into Input first")
        what = state.comparison(page)
        service = resources.open_service()
        data = picture.path.read_bytes()
        name, suffix = picture.name, picture.path.suffix
        wanted = _wanted(page, what)
        study = Studies(service.store).begin(service, "compare", wanted, data, name, suffix, page.tab.folder)
        state.keep(page, replace(what, touched=True, ran=True, sent=0, study=study.id, folded=True))


def _cancel() -> None:
    page = callback_state()
    with report_errors(page, "compare"):
        service = resources.open_service()
        for job_id in _going(study_of(state.comparison(page).study)):
            service.cancel(job_id)


def _fold() -> None:
    page = callback_state()
    with report_errors(page, "compare"):
        what = state.comparison(page)
        state.keep(page, replace(what, folded=not what.folded))


def _same_seed() -> None:
    page = callback_state()
    with report_errors(page, "compare"):
        what = replace(state.comparison(page), same_seed=bool(widget_value("same_seed")))
        seed = what.columns[0].controls["seed"]
        changed = state.change(what, 0, seed=seed)
        if changed == what.columns:
            state.keep(page, what)
        else:
            state.set_columns(page, what, changed)


def _dice() -> None:
    """One seed for all, or one for each."""
    page = callback_state()
    with report_errors(page, "compare"):
        what = state.comparison(page)
        seed = random_seed()
        thrown = [one.with_controls(seed=seed if what.same_seed else random_seed()) for one in what.columns]
        state.set_columns(page, what, thrown)


def _add() -> None:
    page = callback_state()
    with report_errors(page, "compare"):
        what = state.comparison(page)
        state.set_columns(page, what, state.copied(what.columns, len(what.columns) - 1))


def _open(study_id: str) -> None:
    page = callback_state()
    with report_errors(page, "compare"):
        state.opened(page, Studies(resources.open_service().store).study(study_id))
