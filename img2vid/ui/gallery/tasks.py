"""Background imports and exports, shared by all tabs."""

import logging
import threading

import streamlit as st

from img2vid.background import BackgroundTasks
from img2vid.errors import Img2VidError
from img2vid.gallery.trash import Trash
from img2vid.jobs.store import Store
from img2vid.ui import resources

log = logging.getLogger(__name__)


@st.cache_resource(show_spinner=False)
def _background_tasks() -> BackgroundTasks:
    return BackgroundTasks()


def open_background_tasks() -> BackgroundTasks:
    """Return the shared background tasks, which survive reloads and closed tabs."""
    return _background_tasks()


def tidy() -> None:
    """Repair the trash and delete videos older than 30 days, once per process and in the background."""
    store = resources.open_service().store
    _tidied(store, str(store.path))


@st.cache_resource(show_spinner=False)
def _tidied(_store: Store, home: str) -> bool:
    """Start the cleanup thread once per home; Streamlit does not hash arguments with a leading underscore."""
    threading.Thread(target=_tidy, args=(_store,), name="img2vid trash", daemon=True).start()
    return True


def _tidy(store: Store) -> None:
    try:
        Trash(store).remove_expired()
    except Img2VidError as error:
        log.warning("The trash could not be cleaned up: %s", error)
