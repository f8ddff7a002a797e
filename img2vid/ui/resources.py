"""Cached resources shared by all tabs; they outlive reloads and closed tabs."""

import streamlit as st

from img2vid.background import BackgroundTasks, Count
from img2vid.checkpoints.tasks import CheckpointTasks
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store

_shared = False


@st.cache_resource(show_spinner=False)
def open_service() -> JobService:
    """Return the job service of this process; it queues jobs at once and runs them after `start`."""
    return JobService(Store())


@st.cache_resource(show_spinner=False)
def open_checkpoint_tasks() -> CheckpointTasks:
    """Return the downloads and verifications of this process."""
    return CheckpointTasks()


@st.cache_resource(show_spinner=False)
def open_gallery_tasks() -> BackgroundTasks[Count]:
    """Return the gallery's imports, exports and cleanups of this process."""
    return BackgroundTasks()


def share() -> None:
    """Record that this process serves the dashboard to other computers."""
    global _shared
    _shared = True


def is_shared() -> bool:
    """Return True if the browser may be on another computer."""
    return _shared


def start() -> None:
    """Start the job service; each page calls this after drawing.

    Starting imports the cluster packages, which would delay the first paint.
    Raise BadInput if IMG2VID_SCHEDULER is not an address.
    """
    open_service().start()
