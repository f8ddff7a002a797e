"""Checkpoint downloads and verifications, shared by all tabs."""

import streamlit as st

from img2vid.checkpoints.tasks import Tasks


@st.cache_resource(show_spinner=False)
def _tasks() -> Tasks:
    return Tasks()


def open_tasks() -> Tasks:
    """Return the checkpoint tasks of this process, which outlive reloads and closed tabs."""
    return _tasks()
