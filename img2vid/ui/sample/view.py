"""View of the Sample page: Basic with the most important controls, or all settings."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from img2vid.options import OPTIONS, LoadOptions
from img2vid.settings import label_of, used_settings, value_text
from img2vid.ui import formatting
from img2vid.ui.sample.size import size_box
from img2vid.ui.shared.controls import row
from img2vid.ui.shared.seed import seed_box
from img2vid.ui.state import PageState, callback, set_widget, widget_value

PAGE = "sample"
BASIC, ALL = "Basic", "All settings"
KEY = "view"
ALSO_IN_BASIC = ("version", "seed", "width", "height", "fitting", "crop_offset", "object_share")
"""Settings on the page in both views, besides `_motion`."""


@dataclass(frozen=True)
class View:
    """Stored state of the page."""

    basic: bool = False


def is_basic(page: PageState) -> bool:
    """Return whether the tab shows the Basic view."""
    return page.stored(PAGE, View).basic


def view_box(page: PageState) -> None:
    """Draw the choice of the view."""
    shown = BASIC if is_basic(page) else ALL
    st.segmented_control(
        "Settings on this page",
        [BASIC, ALL],
        default=set_widget(KEY, shown),
        required=True,
        key=KEY,
        label_visibility="collapsed",
        on_change=_change,
    )


@callback("sample")
def _change(page: PageState) -> None:
    page.keep(PAGE, basic=widget_value(KEY) == BASIC)


def basic_controls(page: PageState) -> None:
    """Draw the controls of the Basic view, and name the other settings that are not the version's defaults."""
    size_box(page)
    if len(_motion(page)) == 1:
        motion, seed = st.columns([2, 3], gap="small")
    else:  # "same elevation" needs room
        motion = seed = st.container()
    with motion:
        row(page, _motion(page))
    with seed:
        seed_box(page)
    if also := also_set(page):
        named = formatting.plain(", ".join(also))
        st.caption(f":material/tune: Also set: {named}. **{ALL}** shows them.")


def _motion(page: PageState) -> list[str]:
    """Return the settings of the motion: the motion bucket, or those of a camera path around an object."""
    return [name for name in ("motion_bucket_id", "elevation", "trajectory") if page.version.uses(name)]


def also_set(page: PageState) -> list[str]:
    """Return the settings and engine options that Basic leaves out and that are not the defaults, as texts."""
    controls, usual = page.tab.controls, page.version.settings({}).model_dump()
    hidden = [name for name in used_settings(controls) if name not in (*ALSO_IN_BASIC, *_motion(page))]
    changed = [name for name in hidden if page.version.uses(name) and _value(page, name) != usual[name]]
    options = {name: value for name, value in vars(page.tab.options).items() if value != getattr(LoadOptions(), name)}
    return [
        *(f"{label_of(name)} {_text(_value(page, name))}" for name in changed),
        *(f"{OPTIONS[name]['label']} {value_text(value)}" for name, value in options.items()),
    ]


def _value(page: PageState, name: str) -> Any:
    """Return a setting's value, or the rejected one in its field."""
    rejected = page.rejected.get(name)
    return page.tab.controls[name] if rejected is None else rejected.value


def _text(value: Any) -> str:
    return "empty" if value in (None, "") else value_text(value)
