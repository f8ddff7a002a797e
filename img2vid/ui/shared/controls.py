"""Widgets for fields of SampleSettings; label, help, range and choices come from settings.py."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, get_args

import streamlit as st

from img2vid.settings import ABOUT, SampleSettings, label_of
from img2vid.ui.state import PageState, callback, set_widget, widget_value
from img2vid.versions import ModelVersion


def control(page: PageState, name: str) -> None:
    """Draw the widget of a setting of the tab; its key is the setting's name."""
    setting(name, page.tab.controls[name], page.version, key=name, on_change=store_control, args=(name,))


def setting(
    name: str,
    value: Any,
    version: ModelVersion,
    *,
    key: str,
    on_change: Callable[..., None],
    args: tuple[object, ...],
    marked: bool = False,
) -> None:
    """Draw the widget of a setting with a value from anywhere; `marked` marks it as different."""
    annotation = SampleSettings.model_fields[name].annotation
    label = mark(label_of(name), marked)
    if annotation is bool:
        default = set_widget(key, value, False)
        st.checkbox(label, default, key=key, help=version.help_text(name), on_change=on_change, args=args)
    elif choices := [choice for choice in get_args(annotation) if isinstance(choice, str)]:
        select(label, choices, value, key, version.help_text(name), on_change, *args)
    elif annotation is str:
        default = set_widget(key, value, "")
        st.text_input(label, default, key=key, help=version.help_text(name), on_change=on_change, args=args)
    else:
        _number(name, value, version, label, key, on_change, args)


def mark(label: str, marked: bool) -> str:
    """Return the label, marked with an unequal sign: screen readers would spell out Markdown colors."""
    return f"\u2260 {label}" if marked else label


def row(page: PageState, names: Sequence[str], widths: Sequence[float] | None = None) -> None:
    """Draw settings side by side, or stacked in a narrow window."""
    places = st.columns(widths or len(names), gap="small", vertical_alignment="bottom")
    for place, name in zip(places, names, strict=True):
        with place:
            control(page, name)


@callback("sample")
def store_control(page: PageState, name: str) -> None:
    """Store the value of a changed widget."""
    value = widget_value(name)
    if value is not None:
        page.set(**{name: value})


def _number(
    name: str,
    value: Any,
    version: ModelVersion,
    label: str,
    key: str,
    on_change: Callable[..., None],
    args: tuple[object, ...],
) -> None:
    about = ABOUT[name]
    annotation = SampleSettings.model_fields[name].annotation
    whole = annotation is int
    kind: Callable[[float], Any] = int if whole else float
    step: Any = version.size_step if name in ("height", "width") else 1 if whole else float(about.step)
    shown = None if value is None else kind(value)
    unset = None if type(None) in get_args(annotation) else "min"  # only optional numbers can be empty
    st.number_input(
        label,
        min_value=kind(about.lowest),
        max_value=kind(about.highest),
        value=set_widget(key, shown, unset),
        step=step,
        format="%d" if whole else "%g",
        key=key,
        help=version.help_text(name),
        on_change=on_change,
        args=args,
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
