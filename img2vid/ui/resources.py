"""The one service of this program, shared by all tabs."""

import streamlit as st

from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store


@st.cache_resource(show_spinner=False)
def _service() -> JobService:
    return JobService(Store())


def open_service() -> JobService:
    """The service; pages ask for it here and nowhere else. It takes jobs at once, and works from `start` on."""
    return _service()


def start() -> None:
    """Lets the service begin to work; every page calls this when all of it is drawn.

    Not before, because the packages of the cluster are imported then, which would slow the first drawing down.
    Raises BadInput where the scheduler that the user named is no address.
    """
    open_service().start()
