"""The Gallery page: everything that was ever made, newest first; to find, look at, rate, tag, delete, bring back."""

import streamlit as st

from img2vid.errors import BadInput
from img2vid.gallery.entries import Entries, Entry
from img2vid.ui import navigation, resources
from img2vid.ui.gallery import state, tasks
from img2vid.ui.gallery.entry import entry_box
from img2vid.ui.gallery.filters import filter_box
from img2vid.ui.gallery.grid import grid_box
from img2vid.ui.gallery.task_list import active, import_box, task_list
from img2vid.ui.state import PageState, current, report_drawing_errors, show_note

BUSY, IDLE = 1.0, 3.0
"""Seconds between two looks, while something is going on and while nothing is."""


def gallery() -> None:
    """Draws the page; nothing here takes long, for files are packed and taken in by threads."""
    with report_drawing_errors("The page"):
        page = current()
        navigation.follow_request(page)
        tasks.tidy()
        entries = Entries(resources.open_service().store)
        with st.sidebar, report_drawing_errors("The sidebar"):
            filter_box(page, entries)
            import_box()
        with st.container(key="gallery_chores"):
            page.seen = _seen(page)
            st.fragment(_news, run_every=BUSY if active() else IDLE)()
        with st.container(key="gallery_note"):
            if page.note is not None and page.note.place == "gallery":
                show_note(page.note)
        _shown(page, entries)
        with report_drawing_errors("The workers' state"):
            resources.start()


def _shown(page: PageState, entries: Entries) -> None:
    entry = _opened(page, entries)
    # Two containers: where one thing took the other's place, the browser would mix up what it keeps of both.
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
    except BadInput:  # it was deleted for good, in another tab perhaps
        return None


def _seen(page: PageState) -> object:
    """What the page was drawn from; when that changes, it is drawn again."""
    entries = Entries(resources.open_service().store)
    now = state.read(page)
    found = entries.find(now.filter(), 1)
    return entries.count(now.filter()), found[0].number if found else 0, active()


def _news() -> None:
    with report_drawing_errors("What is going on"):
        page = current()
        if _seen(page) != page.seen:
            st.rerun()
        task_list()
