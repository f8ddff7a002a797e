"""Cached job service, shared by all tabs."""

import streamlit as st

from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store


@st.cache_resource(show_spinner=False)
def _service() -> JobService:
    return JobService(Store())


def open_service() -> JobService:
    """Return the job service of this process; it queues jobs at once and runs them after `start`."""
    return _service()


def start() -> None:
    """Start the job service; each page calls this after drawing.

    Starting imports the cluster packages, which would delay the first paint.
    Raise BadInput if IMG2VID_SCHEDULER is not an address.
    """
    open_service().start()
