"""The axes of a sweep: which settings vary, and their values, typed or chosen."""

from functools import partial
from typing import Any, cast

import streamlit as st

from img2vid.settings import label_of, requirement
from img2vid.ui.state import PageState, callback_state, report_errors, set_widget, widget_value
from img2vid.ui.sweeps import state
from img2vid.ui.sweeps.state import NAMES, NOTHING, Sweep

NONE = "nothing"
"""Label of no second axis."""
TITLES = ("Across", "Down")


def axes_box(page: PageState, what: Sweep) -> None:
    """Draws both axes, one below the other."""
    for index in range(len(what.names)):
        setting, values = st.columns([2, 3], gap="small")
        with setting:
            _setting(what, index)
        with values, st.container(key=f"axis_values_{index}"):
            if what.names[index] != NOTHING:
                _values(page, what, index)


def _setting(what: Sweep, index: int) -> None:
    key = f"axis_{index}"
    name = what.names[index]
    options = [*([NONE] if index else []), *NAMES]
    default = options.index(set_widget(key, NONE if name == NOTHING else label_of(name), options[0]))
    # Streamlit's types for options reach into packages that need not be installed, and are unknown without them.
    cast(Any, st).selectbox(
        TITLES[index],
        options,
        default,
        key=key,
        help="The setting that varies along each row." if index == 0 else "The setting that varies down the rows.",
        on_change=partial(_name, index),
    )


def _values(page: PageState, what: Sweep, index: int) -> None:
    """A box to type into, or, where values are names, one to choose from."""
    name = what.names[index]
    # A key for each setting: what was typed for one has nothing to do with another.
    key = f"axis_{index}_{name}"
    label = f"Values of {label_of(name)}"
    options = state.choices(name, page.versions)
    if options:
        chosen = [part.strip() for part in what.texts[index].split(",")]
        default = set_widget(key, [option for option in options if option in chosen])
        cast(Any, st).multiselect(label, options, default, key=key, on_change=partial(_choose, index, key))
        return
    st.text_input(
        label,
        set_widget(key, what.texts[index], ""),
        key=key,
        help=f"With commas between them; each is {requirement(name)}. Whole numbers may be a range, such as 1..5.",
        on_change=partial(_type, index, key),
    )


def _name(index: int) -> None:
    page = callback_state()
    with report_errors(page, "sweeps"):
        label = widget_value(f"axis_{index}")
        name = NOTHING if label == NONE else NAMES[label]
        state.keep(page, state.named(page, state.sweep(page), index, name))


def _type(index: int, key: str) -> None:
    page = callback_state()
    with report_errors(page, "sweeps"):
        state.keep(page, state.typed(state.sweep(page), index, str(widget_value(key) or "")))


def _choose(index: int, key: str) -> None:
    page = callback_state()
    with report_errors(page, "sweeps"):
        state.keep(page, state.typed(state.sweep(page), index, ", ".join(widget_value(key) or [])))
