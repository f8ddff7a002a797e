"""The Models page: every model version, whether its checkpoint is there, and what gets, checks or deletes it."""

import shutil

import streamlit as st

from img2vid import paths
from img2vid.ui import checkpoint_tasks, formatting, resources
from img2vid.ui.models.version import version_box
from img2vid.ui.state import PageState, current, report_drawing_errors, show_note

BUSY, IDLE = 1.0, 3.0
"""Seconds between two looks, while something is going on and while nothing is."""
_TOKEN_HELP = (
    "For models whose conditions have to be accepted first, as those of svd_xt_1_1: a token of the kind Read, from "
    "huggingface.co/settings/tokens. It is forgotten with the page. Default: the variable HF_TOKEN, or what "
    "`hf auth login` has stored."
)
_MIRROR_HELP = (
    "A web address that stands for https://huggingface.co. It gets the token above, if there is one. Default: the "
    "variable HF_ENDPOINT."
)


def models() -> None:
    """Draws the page; nothing here takes long, for downloads have threads of their own."""
    with report_drawing_errors("The page"):
        page = current()
        with st.sidebar, report_drawing_errors("The sidebar"):
            _sidebar()
        active = checkpoint_tasks.open_tasks().active()
        page.seen = active
        st.fragment(_versions, run_every=BUSY if active else IDLE)()
        with report_drawing_errors("The workers' state"):
            resources.start()


def _sidebar() -> None:
    st.text_input("Token", type="password", key="models_token", placeholder="hf_...", help=_TOKEN_HELP)
    st.text_input("Mirror", key="models_mirror", placeholder="https://huggingface.co", help=_MIRROR_HELP)
    for folder in paths.checkpoint_folders():
        if folder.is_dir():
            free = formatting.size(shutil.disk_usage(folder).free)
            st.caption(f"Checkpoints are in {formatting.plain(str(folder))}, with {free} free.")


def _versions() -> None:
    with report_drawing_errors("The models"):
        page = current()
        if checkpoint_tasks.open_tasks().active() != page.seen:
            st.rerun()
        _note(page)
        for version in page.versions.values():
            with st.container(border=True, key=f"model_{version.name}"), report_drawing_errors(version.name):
                version_box(version)


def _note(page: PageState) -> None:
    with st.container(key="models_note"):
        if page.note is not None and page.note.place == "models":
            show_note(page.note)
