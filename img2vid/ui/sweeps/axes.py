"""Axes of a sweep: the settings that vary and their values, typed or selected."""

from functools import partial
from typing import Any, cast

import streamlit as st

from img2vid.errors import BadInput
from img2vid.gallery.sweep_axes import axis_of
from img2vid.settings import label_of
from img2vid.settings_validation import requirement
from img2vid.ui import formatting
from img2vid.ui.state import PageState, callback, set_widget, widget_value
from img2vid.ui.sweeps import state
from img2vid.ui.sweeps.state import NAMES, NOTHING, Sweep

NONE = "None"
"""Option for no second axis."""
TITLES = ("Across", "Down")


def axes_box(page: PageState, sweep: Sweep) -> None:
    """Draw both axes, one below the other."""
    for index in range(len(sweep.names)):
        setting, values = st.columns([2, 3], gap="small")
        with setting:
            _setting(sweep, index)
        with values, st.container(key=f"axis_values_{index}"):
            if sweep.names[index] != NOTHING:
                _values(page, sweep, index)


def _setting(sweep: Sweep, index: int) -> None:
    key = f"axis_{index}"
    name = sweep.names[index]
    options = [*([NONE] if index else []), *NAMES]
    default = options.index(set_widget(key, NONE if name == NOTHING else label_of(name), options[0]))
    # Cast: Streamlit's option types are unknown if its optional dependencies are not installed.
    cast(Any, st).selectbox(
        TITLES[index],
        options,
        default,
        key=key,
        help="Setting that varies along each row." if index == 0 else "Setting that varies down the rows.",
        on_change=partial(_name, index),
    )


def _values(page: PageState, sweep: Sweep, index: int) -> None:
    """Draw a text box for numbers, or a multiselect for named values."""
    name = sweep.names[index]
    # A key per setting keeps text typed for one setting out of another.
    key = f"axis_{index}_{name}"
    label = f"Values of {label_of(name)}"
    options = state.choices(name, page.versions)
    if options:
        chosen = [part.strip() for part in sweep.texts[index].split(",")]
        default = set_widget(key, [option for option in options if option in chosen])
        cast(Any, st).multiselect(label, options, default, key=key, on_change=partial(_choose, index, key))
        return
    st.text_input(
        label,
        set_widget(key, sweep.texts[index], ""),
        key=key,
        help=f"Separate values with commas; each is {requirement(name)}. Whole numbers can be a range such as 1..5.",
        on_change=partial(_type, index, key),
    )
    try:
        axis_of(name, sweep.texts[index])
    except BadInput as error:
        st.caption(f":red[:material/error: {formatting.message(error)}]")


@callback("sweeps")
def _name(page: PageState, index: int) -> None:
    label = widget_value(f"axis_{index}")
    state.name_axis(page, index, NOTHING if label == NONE else NAMES[label])


@callback("sweeps")
def _type(page: PageState, index: int, key: str) -> None:
    state.set_values(page, index, str(widget_value(key) or ""))


@callback("sweeps")
def _choose(page: PageState, index: int, key: str) -> None:
    state.set_values(page, index, ", ".join(widget_value(key) or []))
