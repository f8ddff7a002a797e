"""Widgets for fields of SampleSettings; label, help, range and choices come from settings.py."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast, get_args

import streamlit as st

from img2vid.settings import SampleSettings
from img2vid.ui.shared.fields import Field, on_change, problem_box, shown_value
from img2vid.ui.state import PageState, set_widget


def control(page: PageState, name: str) -> None:
    """Draw the field of a setting of the tab; its key is the setting's name."""
    row(page, [name])


def row(page: PageState, names: Sequence[str], widths: Sequence[float] | None = None) -> None:
    """Draw settings of the tab side by side, or stacked in a narrow window."""
    fields(page, [tab_field(page, name) for name in names], widths)


def tab_field(page: PageState, name: str) -> Field:
    """Return the field of a setting of the tab."""
    return Field(name, name, page.tab.controls[name], page.version, partial(_store, name))


def _store(name: str, page: PageState, value: Any) -> None:
    page.set(**{name: value})


def fields(page: PageState, drawn: Sequence[Field], widths: Sequence[float] | None = None) -> None:
    """Draw fields side by side, and below them what is wrong with their values; stacked: below each field."""
    spec = widths or len(drawn)
    with st.container(key=f"row_{drawn[0].key}"):
        places = [st.container()] if spec == 1 else st.columns(spec, gap="small", vertical_alignment="bottom")
        for place, field in zip(places, drawn, strict=False):
            with place:
                draw_field(page, field)
        for place, field in enumerate(drawn, 1):
            problem_box(page, field, place)


def draw_field(page: PageState, field: Field) -> None:
    """Draw the widget of a setting."""
    name, key, changed = field.name, field.key, on_change(field)
    help_text, label = field.version.help_text(name), mark(field.label, field.marked)
    annotation = SampleSettings.model_fields[name].annotation
    if annotation is bool:
        st.checkbox(label, set_widget(key, field.value, False), key=key, help=help_text, on_change=changed)
    elif choices := [choice for choice in get_args(annotation) if isinstance(choice, str)]:
        select(label, choices, field.value, key, help_text, changed)
    elif annotation is str:
        default = set_widget(key, shown_value(page, field), "")
        st.text_input(label, default, key=key, help=help_text, on_change=changed)
    else:
        number_field(page, field, label, help_text)


def mark(label: str, marked: bool) -> str:
    """Return the label, marked with an unequal sign: screen readers would spell out Markdown colors."""
    return f"\u2260 {label}" if marked else label


def number_field(page: PageState, field: Field, label: str, help_text: str) -> None:
    """Draw a number input without limits: with them, the browser would keep the last valid value without a word."""
    page.fields[field.key] = field
    value = shown_value(page, field)
    shown: Any = None if value is None or isinstance(value, str) else field.number(value)
    whole = isinstance(field.number(0), int)
    step: Any = 1 if whole else float(field.about.step)
    st.number_input(
        label,
        value=set_widget(field.key, shown, None if shown is None else "min"),
        step=field.version.size_step if field.name in ("height", "width") else step,
        format="%d" if whole else "%g",
        key=field.key,
        help=help_text,
        on_change=on_change(field),
    )


def select(
    label: str,
    options: Sequence[str],
    value: str,
    key: str,
    help_text: str,
    on_change: Callable[..., None],
    *args: object,
    labels: Mapping[str, str] | None = None,
) -> None:
    """Draw a selectbox; `value` is one of the options. labels: the options' labels, if they differ from the options."""

    def label_of_option(option: str) -> str:
        return (labels or {}).get(option, option)

    default = options.index(set_widget(key, value, options[0]))
    # Streamlit's option types come from optional packages and are unknown without them.
    cast(Any, st).selectbox(
        label,
        options,
        default,
        key=key,
        help=help_text,
        on_change=on_change,
        args=args,
        format_func=label_of_option,
    )
