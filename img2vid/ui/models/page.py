"""Models page: model versions and their checkpoints, with download, verification and removal."""

import shutil

import streamlit as st

from img2vid import paths
from img2vid.ui import formatting, resources
from img2vid.ui.models.version import version_box
from img2vid.ui.state import PageState, current, report_drawing_errors, show_note

BUSY, IDLE = 1.0, 3.0
"""Poll intervals in seconds, with and without a running task."""
_TOKEN_HELP = (
    "Access token of type Read from huggingface.co/settings/tokens, for models with conditions to accept, such as "
    "svd_xt_1_1. Not saved; default: HF_TOKEN, or the token stored by `hf auth login`."
)
_MIRROR_HELP = (
    "Web address used instead of https://huggingface.co. It receives the token above, if set; default: HF_ENDPOINT."
)


def models() -> None:
    """Draw the page. Downloads run in background threads."""
    with report_drawing_errors("The page"):
        page = current()
        with st.sidebar, report_drawing_errors("The sidebar"):
            _sidebar()
        active = resources.open_checkpoint_tasks().active()
        page.seen = active
        st.fragment(_versions, run_every=BUSY if active else IDLE)()
        with report_drawing_errors("The worker status"):
            resources.start()


def _sidebar() -> None:
    st.text_input("Token", type="password", key="models_token", placeholder="hf_...", help=_TOKEN_HELP)
    st.text_input("Mirror", key="models_mirror", placeholder="https://huggingface.co", help=_MIRROR_HELP)
    for folder in paths.checkpoint_folders():
        if folder.is_dir():
            free = formatting.size(shutil.disk_usage(folder).free)
            st.caption(f"Checkpoint folder: {formatting.plain(str(folder))}, {free} free")


def _versions() -> None:
    with report_drawing_errors("The models"):
        page = current()
        if resources.open_checkpoint_tasks().active() != page.seen:
            st.rerun()
        _note(page)
        for version in page.versions.values():
            with st.container(border=True, key=f"model_{version.name}"), report_drawing_errors(version.name):
                version_box(version)


def _note(page: PageState) -> None:
    with st.container(key="models_note"):
        if page.note is not None and page.note.place == "models":
            show_note(page.note)
