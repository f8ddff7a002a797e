"""What this program looks at in the background for the System page, shared by all tabs."""

from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.doctor import facts
from img2vid.doctor.checks import run_checks
from img2vid.doctor.facts import Card, Place
from img2vid.doctor.poller import Poller
from img2vid.doctor.report import Finding
from img2vid.jobs.cluster import LOG
from img2vid.ui import resources

JOBS = 500
"""Of so many, the newest, it is looked at where their videos are."""
NEVER = float("inf")


class Pollers:
    """The cards, the sizes of what is stored, and what the doctor finds."""

    def __init__(self) -> None:
        self.cards: Poller[list[Card]] = Poller(facts.cards, every=3)
        self.sizes: Poller[list[Place]] = Poller(lambda: facts.counted(places()), every=60)
        self.doctor: Poller[list[Finding]] = Poller(run_checks, every=NEVER)


def places() -> list[Place]:
    """Where everything lies, not counted yet."""
    store = resources.open_service().store
    folders: set[Path] = {job.folder for job in store.jobs(limit=JOBS) if job.results}
    return facts.places(paths.home(), LOG, folders)


@st.cache_resource(show_spinner=False)
def _pollers() -> Pollers:
    return Pollers()


def open_pollers() -> Pollers:
    """What is looked at; the page asks for it here and nowhere else."""
    return _pollers()
