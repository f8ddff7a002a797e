"""The one desk of this program, shared by all tabs."""

import streamlit as st

from img2vid.jobs.service import Desk
from img2vid.jobs.store import Store


@st.cache_resource(show_spinner=False)
def _desk() -> Desk:
    return Desk(Store())


def open_desk() -> Desk:
    """The desk; pages ask for it here and nowhere else. It takes jobs at once, and works from `start` on."""
    return _desk()


def start() -> None:
    """Lets the desk begin to work; every page calls this when all of it is drawn.

    Not before, because the packages of the cluster are imported then, which would slow the first drawing down.
    Raises BadInput where the scheduler that the user named is no address.
    """
    open_desk().start()
