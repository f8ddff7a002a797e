"""Column of the Compare page: version and settings, with differences from the first column marked."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from img2vid.errors import BadInput
from img2vid.inference import PRECISIONS, PROVIDERS
from img2vid.settings import check_provider, label_of
from img2vid.ui import formatting
from img2vid.ui.compare import state
from img2vid.ui.compare.state import FEWEST, MOST, Column, Comparison
from img2vid.ui.sample.model import missing_checkpoint
from img2vid.ui.shared.controls import mark, select, setting
from img2vid.ui.state import PageState, callback, widget_value

_OPTIONS = {"provider": PROVIDERS, "precision": PRECISIONS, "decoder_precision": PRECISIONS}
_ENGINE_HELP = {
    "provider": "Inference engine of this column. Device, memory and threads come from the Sample page.",
    "precision": "Number format of the network in this column.",
    "decoder_precision": "Number format of the decoder in this column.",
}


def column_box(page: PageState, comparison: Comparison, index: int) -> None:
    """Draw a column."""
    column = comparison.columns[index]
    first = state.facts_of(comparison.columns[0])
    differing = state.differing(first, state.facts_of(column))
    _head(comparison, index)
    choose, length = st.columns([5, 3], gap="small", vertical_alignment="bottom")
    with choose:
        _version(page, column, index, marked="version" in differing)
    with length:
        _setting(page, column, index, "num_frames", differing)
    abreast = 2 if len(comparison.columns) < MOST else 1  # four columns are too narrow for two labels side by side
    _settings(page, column, index, state.visible(column.controls), differing, abreast)
    hidden = state.hidden(column.controls)
    hidden_differing = [name for name in differing if name in (*hidden, *state.ENGINE)]
    named = ", ".join(state.ENGINE_LABELS.get(name) or label_of(name) for name in hidden_differing)
    with st.expander(f"More: {named}" if named else "More", key=f"more_{index}"):
        _settings(page, column, index, hidden, differing, abreast)
        for name in state.ENGINE:
            _engine_setting(column, index, name, marked=name in differing)
    _differences(column, index, differing)
    if problem := column_problem(page, column):
        st.caption(f":orange[:material/info:] {formatting.plain(problem)}")


def column_problem(page: PageState, column: Column) -> str:
    """Return the reason why a column cannot run, or ""."""
    try:
        check_provider(state.settings_of(page, column), column.provider)
    except BadInput as error:
        return formatting.sentence(error)
    return missing_checkpoint(page.versions[column.version])


def _head(comparison: Comparison, index: int) -> None:
    count = len(comparison.columns)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**Column {index + 1}**")
        with st.container(horizontal=True, gap="xsmall", width="content"):
            full, few = count >= MOST, count <= FEWEST
            _small("Copy", f"copy_{index}", "Duplicate this column", full, _copy, index)
            _small("Remove", f"remove_column_{index}", "Remove this column", few, _remove, index)


def _small(label: str, key: str, help_text: str, disabled: bool, act: Any, index: int) -> None:
    st.button(label, key=key, type="tertiary", help=help_text, disabled=disabled, on_click=act, args=(index,))


def _version(page: PageState, column: Column, index: int, *, marked: bool) -> None:
    key = _key(index, "version")
    label = mark("Model Version", marked)
    help_text = "Model for this column's video. Settings whose default differs change with it; the others stay."
    select(label, list(page.versions), column.version, key, help_text, _switch, index)


def _settings(
    page: PageState, column: Column, index: int, names: Sequence[str], differing: Sequence[str], abreast: int
) -> None:
    for start in range(0, len(names), abreast):
        places = st.columns(abreast, gap="small", vertical_alignment="bottom")
        for place, name in zip(places, names[start : start + abreast], strict=False):
            with place:
                _setting(page, column, index, name, differing)


def _setting(page: PageState, column: Column, index: int, name: str, differing: Sequence[str]) -> None:
    key, version = _key(index, name), page.versions[column.version]
    value, marked = column.controls[name], name in differing
    setting(name, value, version, key=key, on_change=_keep, args=(index, name), marked=marked)


def _engine_setting(column: Column, index: int, name: str, *, marked: bool) -> None:
    key, value, options = _key(index, name), getattr(column, name), _OPTIONS[name]
    label = state.ENGINE_LABELS[name].capitalize()
    select(mark(label, marked), options, value, key, _ENGINE_HELP[name], _keep_engine, index, name)


def _differences(column: Column, index: int, differing: Sequence[str]) -> None:
    with st.container(key=f"differences_{index}"):
        if index == 0:
            st.caption("The other columns are compared with this one.")
        elif not differing:
            st.caption("Same as column 1.")
        else:
            facts = state.facts_of(column)
            texts = [formatting.plain(state.fact_text(name, facts[name])) for name in differing]
            st.markdown(f"Differs from column 1: {' '.join(f':primary-badge[{text}]' for text in texts)}")


def _key(index: int, name: str) -> str:
    return f"column_{index}_{name}"


@callback("compare")
def _keep(page: PageState, index: int, name: str) -> None:
    comparison, value = state.comparison(page), widget_value(_key(index, name))
    if index < len(comparison.columns) and (value is not None or name == "saving_fps"):
        state.set_columns(page, comparison, state.change(comparison, index, **{name: value}))


@callback("compare")
def _keep_engine(page: PageState, index: int, name: str) -> None:
    comparison = state.comparison(page)
    changed = [*comparison.columns]
    changed[index] = replace(changed[index], **{name: widget_value(_key(index, name))})
    state.set_columns(page, comparison, changed)


@callback("compare")
def _switch(page: PageState, index: int) -> None:
    comparison = state.comparison(page)
    version = widget_value(_key(index, "version"))
    state.set_columns(page, comparison, state.switch(comparison, index, page.versions, version))


@callback("compare")
def _copy(page: PageState, index: int) -> None:
    comparison = state.comparison(page)
    state.set_columns(page, comparison, state.copied(comparison.columns, index))


@callback("compare")
def _remove(page: PageState, index: int) -> None:
    comparison = state.comparison(page)
    state.set_columns(page, comparison, state.removed(comparison.columns, index))
