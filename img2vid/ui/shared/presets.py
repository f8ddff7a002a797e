"""Preset control: applies named settings to the page, and saves or deletes the user's own."""

from typing import Any, cast

import streamlit as st

from img2vid.errors import BadInput
from img2vid.presets import LONGEST_NAME, Preset, delete_preset, find_preset, load_presets, save_preset
from img2vid.ui import formatting
from img2vid.ui.state import Note, PageState, after_entry, callback, set_widget, widget_value

OWN_SETTINGS = "Your own settings"


def preset_box(page: PageState) -> None:
    """Draw the control; it names the preset that the page's settings equal.

    Its key changes with that preset: a browser that has not seen the change yet sends the old preset with the next
    click, which must not apply it again.
    """
    presets, problems = load_presets()
    active = next((name for name, preset in presets.items() if _is_active(page, preset)), None)
    key = page.preset_key = f"preset_{active}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        # Streamlit's option types come from optional packages and are unknown without them.
        cast(Any, st).selectbox(
            "Preset",
            list(presets),
            index=None if (shown := set_widget(key, active)) is None else list(presets).index(shown),
            key=key,
            placeholder=OWN_SETTINGS,
            help="\n".join(
                [
                    "Sets everything but model version, image, camera path, seed and file.\n",
                    *(f"* {formatting.plain(name)}: {formatting.plain(one.about)}" for name, one in presets.items()),
                ]
            ),
            on_change=_apply,
            args=(key,),
        )
        with st.popover("Save"):
            _save_box()
            if active is not None and presets[active].own:
                st.button(f"Delete {formatting.plain(active)}", key="preset_delete", on_click=_delete, args=(active,))
    for problem in problems:
        st.caption(formatting.message(BadInput(problem)))


def _save_box() -> None:
    st.text_input("Name", key="preset_name", max_chars=LONGEST_NAME)
    st.button("Save as preset", key="preset_save", on_click=after_entry(_save))


def _is_active(page: PageState, preset: Preset) -> bool:
    try:
        return preset.applied(page.tab.controls, page.version) == page.tab.controls
    except BadInput:
        return False


@callback("sample")
def _apply(page: PageState, key: str) -> None:
    name = widget_value(key)
    if name is not None and key == page.preset_key:
        page.set(**find_preset(name).applied(page.tab.controls, page.version))


@callback("sample")
def _save(page: PageState) -> None:
    name = widget_value("preset_name") or ""
    save_preset(name, page.tab.controls, page.version)
    page.note = Note("done", f"Saved the preset {name.strip()}.")


@callback("sample")
def _delete(page: PageState, name: str) -> None:
    delete_preset(name)
    page.note = Note("done", f"Deleted the preset {name}.")
