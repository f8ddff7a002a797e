"""What this program looks at in the background for the System page, shared by all tabs."""

from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.doctor import facts
from img2vid.doctor.checks import look
from img2vid.doctor.facts import Card, Place
from img2vid.doctor.poller import Watch
from img2vid.doctor.report import Finding
from img2vid.jobs.cluster import LOG
from img2vid.ui import resources

JOBS = 500
"""Of so many, the newest, it is looked at where their videos are."""
NEVER = float("inf")


class Watches:
    """The cards, the sizes of what is stored, and what the doctor finds."""

    def __init__(self) -> None:
        self.cards: Watch[list[Card]] = Watch(facts.cards, every=3)
        self.sizes: Watch[list[Place]] = Watch(lambda: facts.counted(places()), every=60)
        self.doctor: Watch[list[Finding]] = Watch(look, every=NEVER)


def places() -> list[Place]:
    """Where everything lies, not counted yet."""
    store = resources.open_desk().store
    folders: set[Path] = {job.folder for job in store.jobs(limit=JOBS) if job.results}
    return facts.places(paths.home(), LOG, folders)


@st.cache_resource(show_spinner=False)
def _watches() -> Watches:
    return Watches()


def open_watches() -> Watches:
    """What is looked at; the page asks for it here and nowhere else."""
    return _watches()
