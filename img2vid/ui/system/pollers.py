"""Background pollers of the System page, shared by all tabs."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.background import Poller
from img2vid.doctor import facts
from img2vid.doctor.checks import run_checks
from img2vid.doctor.facts import Place
from img2vid.doctor.report import Finding
from img2vid.hardware import Card, find_cards
from img2vid.jobs.cluster import LOG
from img2vid.ui import resources

JOBS = 500
"""Number of recent jobs that are searched for video folders."""
NEVER = float("inf")


class Pollers:
    """Pollers of the GPUs, the sizes of stored files, and the doctor's findings."""

    def __init__(self) -> None:
        self.cards: Poller[Sequence[Card]] = Poller(lambda: find_cards().cards, every=3)
        self.sizes: Poller[list[Place]] = Poller(lambda: facts.counted(places()), every=60)
        self.doctor: Poller[list[Finding]] = Poller(run_checks, every=NEVER)


def places() -> list[Place]:
    """Return all storage locations, not counted yet."""
    store = resources.open_service().store
    folders: set[Path] = {job.folder for job in store.jobs(limit=JOBS) if job.results}
    return facts.places(paths.home(), LOG, folders)


@st.cache_resource(show_spinner=False)
def open_pollers() -> Pollers:
    """Return the shared pollers."""
    return Pollers()
