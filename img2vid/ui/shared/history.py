"""Menu of earlier comparisons or sweeps."""

import time
from collections.abc import Callable

import streamlit as st

from img2vid.errors import BadInput
from img2vid.gallery.studies import Kind, Studies, Study
from img2vid.ui import formatting, resources
from img2vid.ui.shared import pictures

LISTED = 8
"""Number of entries in the menu, newest first."""


def study_of(study_id: str) -> Study | None:
    """Return the study with this id, or None if the id is empty or no longer in the store."""
    try:
        return Studies(resources.open_service().store).study(study_id) if study_id else None
    except BadInput:
        return None


def history_box(
    label: str, kind: Kind, shown: str, title: Callable[[Study], str], on_open: Callable[[str], None]
) -> None:
    """Draw a menu of the latest studies except the shown one, or nothing if there are no others."""
    found = [one for one in Studies(resources.open_service().store).studies(kind, LISTED + 1) if one.id != shown]
    if not found:
        return
    with st.popover(label, icon=":material/history:", key=f"{kind}_earlier"):
        for study in found[:LISTED]:
            with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"earlier_{study.id}"):
                if study.picture.is_file():
                    changed = study.picture.stat().st_mtime
                    st.image(pictures.thumbnail(study.picture, changed), width=96, alt=study.picture_name)
                with st.container(gap=None):
                    opener = f"open_{study.id}"
                    st.button(
                        formatting.plain(title(study)), key=opener, type="tertiary", on_click=on_open, args=(study.id,)
                    )
                    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(study.created))
                    st.caption(f"{formatting.plain(study.picture_name)}, {when}")
