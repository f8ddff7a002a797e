"""Background measurement of videos; pages request it and read the results from the store later."""

from collections.abc import Sequence

import streamlit as st

from img2vid.background import BackgroundTasks, TaskResult
from img2vid.gallery.entries import Entries, Entry
from img2vid.jobs.store import Store
from img2vid.ui import resources


class Measurer:
    """Background task that measures each requested video once."""

    def __init__(self, store: Store) -> None:
        self._entries = Entries(store)
        self._tasks: BackgroundTasks[None] = BackgroundTasks()
        self._settled: set[int] = set()

    def ask(self, entries: Sequence[Entry]) -> bool:
        """Measure entries if no measurement is running; return whether any result is pending, to ask again."""
        pending = [entry for entry in entries if entry.measurement is None and entry.number not in self._settled]
        if pending:
            self._tasks.start("measuring", lambda _: self._measure(pending))
        return bool(pending)

    def _measure(self, entries: Sequence[Entry]) -> TaskResult:
        for entry in entries:
            try:
                self._entries.measured(entry)
            finally:  # an error ends the task; the next request measures the others
                self._settled.add(entry.number)
        return TaskResult()


@st.cache_resource(show_spinner=False)
def _measurer(_store: Store, home: str) -> Measurer:
    """Return the measurer of a home; Streamlit does not hash arguments with a leading underscore."""
    return Measurer(_store)


def ask(entries: Sequence[Entry]) -> bool:
    """Measure the entries in the background; return whether any result is pending."""
    store = resources.open_service().store
    return _measurer(store, str(store.path)).ask(entries)
