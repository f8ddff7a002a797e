"""Column of the Compare page: version and settings, with differences from the first column marked."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from img2vid.errors import BadInput
from img2vid.gallery.sweep_axes import FEWEST_COLUMNS, MOST_COLUMNS
from img2vid.options import CHOICES, OPTIONS
from img2vid.settings import label_of
from img2vid.settings_validation import check_provider
from img2vid.ui import formatting
from img2vid.ui.compare import state
from img2vid.ui.compare.state import Column, Comparison
from img2vid.ui.sample.model import missing_checkpoint
from img2vid.ui.shared.controls import draw_field, fields, mark, select
from img2vid.ui.shared.fields import Field, problem_box
from img2vid.ui.state import PageState, callback, widget_value
from img2vid.ui.studies import differences
from img2vid.ui.studies.differences import ENGINE_LABELS

_ENGINE_HELP = {
    "provider": "Inference engine of this column. Device, memory and threads come from the Sample page.",
    "precision": "Number format of the network in this column.",
    "decoder_precision": "Number format of the decoder in this column.",
}


def column_box(page: PageState, comparison: Comparison, index: int) -> None:
    """Draw a column."""
    column = comparison.columns[index]
    first = comparison.columns[0]
    differing = differences.differing(first, column)
    _head(comparison, index)
    choose, length = st.columns([5, 3], gap="small", vertical_alignment="bottom")
    with choose:
        _version(page, column, index, marked="version" in differing)
    with length:
        draw_field(page, length_field := _field(page, column, index, "num_frames", differing))
    problem_box(page, length_field)
    # Four columns are too narrow for two labels side by side.
    abreast = 2 if len(comparison.columns) < MOST_COLUMNS else 1
    uses = page.versions[column["version"]].uses
    _settings(page, column, index, [*filter(uses, state.visible(column))], differing, abreast)
    hidden = [*filter(uses, state.hidden(column))]
    hidden_differing = [name for name in differing if name in (*hidden, *ENGINE_LABELS)]
    named = ", ".join(ENGINE_LABELS.get(name) or label_of(name) for name in hidden_differing)
    with st.expander(f"More: {named}" if named else "More", key=f"more_{index}"):
        _settings(page, column, index, hidden, differing, abreast)
        for name in ENGINE_LABELS:
            _engine_setting(column, index, name, marked=name in differing)
    with st.container(key=f"differences_{index}"):
        if index == 0:
            st.caption("The other columns are compared with this one.")
        elif text := differences.badges(first, column):
            st.markdown(text)
        else:
            st.caption("Same as column 1.")
    explained = any(key.startswith(_key(index, "")) for key in page.rejected)
    if not explained and (problem := column_problem(page, column, index)):
        st.caption(f":orange[:material/info:] {formatting.plain(problem)}")


def column_problem(page: PageState, column: Column, index: int) -> str:
    """Return the reason why a column cannot run, or ""."""
    try:
        state.require_accepted(page, column, index)
        check_provider(state.settings_of(page, column), column["provider"])
    except BadInput as error:
        return formatting.sentence(error)
    return missing_checkpoint(page.versions[column["version"]])


def _head(comparison: Comparison, index: int) -> None:
    count = len(comparison.columns)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**Column {index + 1}**")
        with st.container(horizontal=True, gap="xsmall", width="content"):
            full, few = count >= MOST_COLUMNS, count <= FEWEST_COLUMNS
            _small("Copy", f"copy_{index}", "Duplicate this column", full, copy_column, index)
            _small("Remove", f"remove_column_{index}", "Remove this column", few, _remove, index)


def _small(label: str, key: str, help_text: str, disabled: bool, act: Any, index: int) -> None:
    st.button(label, key=key, type="tertiary", help=help_text, disabled=disabled, on_click=act, args=(index,))


def _version(page: PageState, column: Column, index: int, *, marked: bool) -> None:
    key = _key(index, "version")
    label = mark("Model Version", marked)
    help_text = "Model for this column's video. Settings whose default differs change with it; the others stay."
    select(label, list(page.versions), column["version"], key, help_text, _switch, index)


def _settings(
    page: PageState, column: Column, index: int, names: Sequence[str], differing: Sequence[str], abreast: int
) -> None:
    for start in range(0, len(names), abreast):
        drawn = [_field(page, column, index, name, differing) for name in names[start : start + abreast]]
        fields(page, drawn, [1] * abreast)


def _field(page: PageState, column: Column, index: int, name: str, differing: Sequence[str]) -> Field:
    version, store, marked = page.versions[column["version"]], partial(_store, index, name), name in differing
    optional = name == "saving_fps"
    return Field(name, _key(index, name), column[name], version, store, "compare", optional, marked)


def _engine_setting(column: Column, index: int, name: str, *, marked: bool) -> None:
    key, label = _key(index, name), mark(OPTIONS[name]["label"], marked)
    select(label, CHOICES[name], column[name], key, _ENGINE_HELP[name], _keep, index, name)


def _key(index: int, name: str) -> str:
    return f"{state.KEY}{index}_{name}"


def _store(index: int, name: str, page: PageState, value: Any) -> None:
    comparison = state.comparison(page)
    if index < len(comparison.columns):
        state.set_columns(page, comparison, state.change(comparison, index, **{name: value}), keep_rejected=True)


@callback("compare")
def _keep(page: PageState, index: int, name: str) -> None:
    _store(index, name, page, widget_value(_key(index, name)))


@callback("compare")
def _switch(page: PageState, index: int) -> None:
    comparison = state.comparison(page)
    version = widget_value(_key(index, "version"))
    state.set_columns(page, comparison, state.switch(comparison, index, page.versions, version))


@callback("compare")
def copy_column(page: PageState, index: int) -> None:
    """Duplicate a column."""
    comparison = state.comparison(page)
    state.set_columns(page, comparison, state.copied(comparison.columns, index))


@callback("compare")
def _remove(page: PageState, index: int) -> None:
    comparison = state.comparison(page)
    state.set_columns(page, comparison, state.removed(comparison.columns, index))
