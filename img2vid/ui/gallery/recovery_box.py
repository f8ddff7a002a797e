"""Damage of the job database: the rows that cannot be read, and a button that rebuilds it from the videos."""

import streamlit as st

from img2vid.errors import DamagedStore, StoreError
from img2vid.gallery.recovery import recover
from img2vid.jobs.job import State
from img2vid.ui import formatting, resources
from img2vid.ui.gallery.task_list import task_box
from img2vid.ui.state import PageState, callback, poll, report_drawing_errors

RECOVERY = "recovery"
LISTED = 5
"""Maximum number of unreadable rows that are listed."""
_HELP = (
    "Rebuilds the database from its readable rows and from the video files. Ratings, notes, tags, trash and queue are "
    "kept where readable. A copy of the old database stays beside the new one. No job may be running."
)


def recovery_box() -> None:
    """Draw the database's damage and the progress of its rebuild; draw nothing if it is intact."""
    with report_drawing_errors("The job database"):
        if _active():
            poll("The rebuild", _progress, True, _active, 1.0)
        elif (task := resources.open_gallery_tasks().get(RECOVERY)) is not None:
            task_box(RECOVERY, "Reading videos", task)
        problem = _problem()
        if problem:
            st.warning(problem, icon=":material/database_off:")
            rebuild_button("rebuild_here")


def rebuild_button(key: str) -> None:
    """Draw the button that rebuilds the database, disabled while a job is running."""
    off = _active() or _runs_a_job()
    st.button("Rebuild from videos", key=key, icon=":material/build:", help=_HELP, disabled=off, on_click=_rebuild)


def _active() -> bool:
    task = resources.open_gallery_tasks().get(RECOVERY)
    return task is not None and task.active


def _progress() -> None:
    if (task := resources.open_gallery_tasks().get(RECOVERY)) is not None:
        task_box(RECOVERY, "Reading videos", task)


def _problem() -> str:
    """Return the damage in a few lines, or an empty string."""
    service = resources.open_service()
    try:
        service.store.jobs(limit=1)
    except DamagedStore as error:
        return formatting.message(error)
    except StoreError:
        return ""  # no damage; the parts of the page report it
    named = sorted(service.store.unreadable.values())
    lines = [formatting.message(line) for line in named[:LISTED]]
    return "  \n".join([*lines, *([f"And {len(named) - LISTED} more."] if len(named) > LISTED else [])])


def _runs_a_job() -> bool:
    service = resources.open_service()
    try:
        return service.failure() is None and bool(service.store.jobs(limit=1, states=[State.RUNNING]))
    except StoreError:
        return False


@callback("system")
def _rebuild(_: PageState) -> None:
    service = resources.open_service()
    is_active = service.is_active
    if not _runs_a_job():
        resources.open_gallery_tasks().start(
            RECOVERY, lambda on_progress: recover(service.store, [], on_progress, is_active=is_active)
        )
