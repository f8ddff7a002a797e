"""The downloads and verifications of this program, shared by all tabs."""

import streamlit as st

from img2vid.checkpoints.tasks import Tasks


@st.cache_resource(show_spinner=False)
def _tasks() -> Tasks:
    return Tasks()


def open_tasks() -> Tasks:
    """What goes on with checkpoints; pages ask for it here and nowhere else. It outlives reloads and closed tabs."""
    return _tasks()
