"""Gallery page: all videos, newest first, with search, ratings, tags, deletion and restore."""

import streamlit as st

from img2vid.background import TaskResult
from img2vid.errors import BadInput
from img2vid.gallery.entries import Entries, Entry
from img2vid.gallery.trash import Trash
from img2vid.ui import navigation, resources
from img2vid.ui.frame import draw_page
from img2vid.ui.gallery import state
from img2vid.ui.gallery.entry import entry_box
from img2vid.ui.gallery.filters import filter_box
from img2vid.ui.gallery.grid import grid_box
from img2vid.ui.gallery.task_list import active, import_box, task_list
from img2vid.ui.state import PageState, current, poll, report_drawing_errors, show_note

BUSY, IDLE = 1.0, 3.0
"""Poll intervals in seconds, with and without a running task."""


def gallery() -> None:
    """Draw the page. Exports and imports run in background threads."""
    draw_page(_parts)


def _parts(page: PageState) -> None:
    navigation.follow_request(page)
    tidy()
    entries = Entries(resources.open_service().store)
    with st.sidebar, report_drawing_errors("The sidebar"):
        filter_box(page, entries)
        import_box()
    with st.container(key="gallery_chores"):
        interval = BUSY if active() else IDLE
        poll("The tasks", task_list, _snapshot(page), lambda: _snapshot(current()), interval)
    with st.container(key="gallery_note"):
        show_note(page, "gallery")
    _shown(page, entries)


def tidy() -> None:
    """Repair the trash and delete videos older than 30 days, once per process and in the background."""
    store, tasks = resources.open_service().store, resources.open_gallery_tasks()
    name = f"cleaning {store.home}"
    if tasks.get(name) is None:
        tasks.start(name, lambda _: TaskResult(f"{Trash(store).remove_expired()} expired videos deleted"))


def _shown(page: PageState, entries: Entries) -> None:
    entry = _opened(page, entries)
    # Two containers, so that the browser does not reuse element state between entry and grid.
    with st.container(key="gallery_entry"):
        if entry is not None:
            with report_drawing_errors("The video"):
                entry_box(page, entries, entry)
    with st.container(key="gallery_shelf"):
        if entry is None:
            with report_drawing_errors("The videos"):
                grid_box(page, entries)


def _opened(page: PageState, entries: Entries) -> Entry | None:
    number = state.read(page).open
    try:
        return entries.entry(number) if number else None
    except BadInput:  # permanently deleted, for example in another tab
        return None


def _snapshot(page: PageState) -> object:
    """Return the state the page depends on; a change triggers a rerun."""
    entries = Entries(resources.open_service().store)
    now = state.read(page)
    found = entries.find(now.filter(), 1)
    return entries.count(now.filter()), found[0].number if found else 0, active()
