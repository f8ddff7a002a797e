"""Fields of settings: invalid values stay in the field, with the reason and the nearest valid value."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from img2vid.control import About, SettingsModel, about_of
from img2vid.errors import BadInput, shown
from img2vid.settings import SampleSettings, value_text
from img2vid.settings_validation import make_settings, requirement
from img2vid.ui import formatting
from img2vid.ui.state import MessageArea, PageState, Rejected, callback, widget_value
from img2vid.versions import ModelVersion

SCRIPT_KEY = "media"
"""Widget key of the pages' script, which reports number fields that were left empty."""
STYLE = """<style>
.st-key-{key} :is([data-testid=stNumberInputContainer], [data-baseweb=input]) {{ border-color: #d9534f }}
[data-testid=stLayoutWrapper]:has(> .st-key-problem_{key}) {{ --place: {place} }}
</style>"""
"""Style of a field with a problem: a red border, and its place in `page.css`."""


@dataclass(frozen=True)
class Field:
    """Setting with the widget key of its field, its value, and the function that stores another value."""

    name: str
    key: str
    value: Any
    version: ModelVersion
    store: Callable[[PageState, Any], None]
    area: MessageArea = "sample"
    optional: bool = False
    """True if the field may be empty."""
    marked: bool = False
    """True to mark the label as different."""
    model: type[SettingsModel] = SampleSettings
    """Class of the settings."""

    @property
    def label(self) -> str:
        """Label of the setting."""
        return self.model.model_fields[self.name].title or self.name

    @property
    def about(self) -> About:
        """Limits and other facts of the setting."""
        return about_of(self.model.model_fields[self.name])

    @property
    def is_number(self) -> bool:
        """True if the setting is a number."""
        return self.about.highest < math.inf

    def number(self, value: float) -> float:
        """Return a number as the type of the setting."""
        return round(value) if self.model.model_fields[self.name].annotation is int else float(value)

    def problem(self, value: Any) -> str:
        """Return why a value is not valid, as the text of an error, or ""."""
        if not self.is_number:
            return self._problem_of_text(value)
        step, needed = self.version.size_step, f"{self.label} must be {requirement(self.name, self.model)}"
        if value is None:
            return "" if self.optional else f"{needed}; the field is empty"
        if isinstance(value, str):
            return f"{needed}, got {shown(value)}"
        if not self.about.lowest <= value <= self.about.highest:
            return f"{needed}, got {value_text(value)}"
        if self.name in ("height", "width") and value % step:
            return f"{self.label} must be a multiple of {step} for {self.version.name}, got {value}"
        return ""

    def _problem_of_text(self, value: Any) -> str:
        try:
            make_settings({self.name: value})
        except BadInput:
            return f"{self.label} must be {requirement(self.name)}, got {shown(repr(value))}"
        return ""

    def nearest(self, value: Any) -> Any:
        """Return the valid number closest to a rejected one; for an empty field or a text, the last value."""
        if not self.is_number:
            return self.value
        number = self.value if value is None else float(value) if isinstance(value, str) else value
        if self.model is not SampleSettings:
            return self.number(min(max(number, self.about.lowest), self.about.highest))
        return self.number(self.version.nearest(self.name, number))


def shown_value(page: PageState, field: Field) -> Any:
    """Return the value to show in the field: the rejected one if there is one."""
    rejected = page.rejected.get(field.key)
    return field.value if rejected is None else rejected.value


def enter(page: PageState, field: Field, value: Any) -> None:
    """Store a typed value, or reject it."""
    page.rejected.pop(field.key, None)
    if problem := field.problem(value):
        page.rejected[field.key] = Rejected(value, problem)
    else:
        field.store(page, value)


def on_change(field: Field) -> Callable[[], None]:
    """Return the callback of the field's widget."""

    @callback(field.area)
    def changed(page: PageState) -> None:
        value = widget_value(field.key)
        if (value is not None or field.optional) and _reported().get("key") != field.key:
            enter(page, field, value)

    return changed


def problem_box(page: PageState, field: Field, place: int = 1) -> None:
    """Draw what is wrong with the value in the field, and a button for a valid one, or nothing.

    place: number of the field in its row, below which a narrow window shows the problem.
    """
    value = shown_value(page, field)
    problem = field.problem(value)
    if not problem:
        return
    st.html(STYLE.format(key=field.key, place=place))
    with st.container(horizontal=True, vertical_alignment="center", gap="xxsmall", key=f"problem_{field.key}"):
        st.caption(f":red[:material/error: {formatting.plain(problem)}.]")
        nearest = field.nearest(value)
        label = f"Use {value_text(nearest)}" if field.is_number else "Undo"
        st.button(label, key=f"use_{field.key}", on_click=callback(field.area)(_use), args=(field, nearest))


def _use(page: PageState, field: Field, value: Any) -> None:
    enter(page, field, value)


@callback("sample")
def left_empty(page: PageState) -> None:
    """Store or reject the text of a number field that the pages' script reports, because Streamlit would change it."""
    reported = _reported()
    if field := page.fields.get(str(reported.get("key"))):
        enter(page, field, _number_in(field, str(reported.get("text"))))


def _reported() -> dict[str, Any]:
    """Return the key and the text of the field that the current event reports as left empty, or an empty dict.

    The number that Streamlit sends for the field in the same event is not the user's.
    """
    given: Any = widget_value(SCRIPT_KEY)
    return (given and given.get("emptied")) or {}


def _number_in(field: Field, text: str) -> float | str | None:
    """Return the text as a number, None if it is empty, or the text itself if it is not valid in the field."""
    try:
        number = float(text)
        rounded = field.number(number)
    except (ValueError, OverflowError):
        return text or None
    return rounded if rounded == number and not field.problem(rounded) else text
