"""Background measurement of videos; pages request it and read the results from the store later."""

import logging
import threading
from collections.abc import Sequence
from queue import SimpleQueue

import streamlit as st

from img2vid.errors import Img2VidError
from img2vid.gallery.entries import Entries, Entry
from img2vid.jobs.store import Store
from img2vid.ui import resources

log = logging.getLogger(__name__)


class Measurer:
    """Background thread that measures each requested video once."""

    def __init__(self, store: Store) -> None:
        self._entries = Entries(store)
        self._asked: set[int] = set()
        self._settled: set[int] = set()
        self._waiting: SimpleQueue[Entry] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, entries: Sequence[Entry]) -> bool:
        """Queue the entries that are not measured or queued yet; return whether any result is pending."""
        for entry in entries:
            if entry.measurement is None and entry.number not in self._asked:
                self._asked.add(entry.number)
                self._waiting.put(entry)
        if self._thread is None and not self._waiting.empty():
            self._thread = threading.Thread(target=self._work, name="img2vid measuring", daemon=True)
            self._thread.start()
        return any(entry.measurement is None and entry.number not in self._settled for entry in entries)

    def _work(self) -> None:
        while True:
            entry = self._waiting.get()
            try:
                self._entries.measured(entry)
            except Img2VidError as error:
                log.warning("Video %d could not be measured: %s", entry.number, error)
            except Exception:  # a damaged file must not stop the thread
                log.exception("Video %d could not be measured", entry.number)
            self._settled.add(entry.number)


@st.cache_resource(show_spinner=False)
def _measurer(_store: Store, home: str) -> Measurer:
    """Return the measurer of a home; Streamlit does not hash arguments with a leading underscore."""
    return Measurer(_store)


def ask(entries: Sequence[Entry]) -> bool:
    """Measure the entries in the background; return whether any result is pending."""
    store = resources.open_service().store
    return _measurer(store, str(store.path)).ask(entries)
