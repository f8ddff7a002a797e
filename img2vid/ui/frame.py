"""Frame of all pages: the tab's state, the parts of the page, and the start of the job service."""

from collections.abc import Callable

import streamlit as st

from img2vid.ui import resources
from img2vid.ui.gallery.recovery_box import recovery_box
from img2vid.ui.shared.finished import announce_finished
from img2vid.ui.shared.media import watch_media
from img2vid.ui.state import PageState, current, report_drawing_errors


def draw_page(parts: Callable[[PageState], None]) -> None:
    """Draw the parts of a page, then start the job service. Errors of the workers appear above the parts."""
    with report_drawing_errors("The page"):
        page = current()
        page.drawn = page.handled
        with st.container(key="scripts"):
            watch_media()
            announce_finished()
        errors = st.container(key="trouble")
        parts(page)
        with errors, report_drawing_errors("The worker status"):
            resources.start()
        with errors:  # last, because drawing the parts finds unreadable rows
            recovery_box()
