"""Models page: model versions and their checkpoints, with download, verification and removal."""

import shutil

import streamlit as st

from img2vid import paths
from img2vid.text_to_image.versions import load_all_versions
from img2vid.ui import formatting, resources
from img2vid.ui.frame import draw_page
from img2vid.ui.shared.checkpoint import FOLDER, SINGLE, checkpoint_box
from img2vid.ui.state import PageState, current, poll, report_drawing_errors, show_note

BUSY, IDLE = 1.0, 3.0
"""Poll intervals in seconds, with and without a running task."""
_TOKEN_HELP = (
    "Hugging Face access token of type Read, for gated models such as svd_xt_1_1. Create one at "
    "huggingface.co/settings/tokens. Not saved; default: HF_TOKEN, or the token stored by `hf auth login`."
)
_FORM_HELP = (
    "Single file: everything, as Stability published it. Diffusers folder: only what sampling needs, in half "
    "precision, 4.5 instead of 9.6 GB; for svd, svd_xt and svd_xt_1_1."
)
_MIRROR_HELP = (
    "Web address used instead of https://huggingface.co. It receives the token above, if set; default: HF_ENDPOINT."
)


def models() -> None:
    """Draw the page. Downloads run in background threads."""
    draw_page(_parts)


def _parts(page: PageState) -> None:
    with st.sidebar, report_drawing_errors("The sidebar"):
        _sidebar()
    active = resources.open_checkpoint_tasks().active()
    poll("The models", _versions, active, lambda: resources.open_checkpoint_tasks().active(), BUSY if active else IDLE)


def _sidebar() -> None:
    st.segmented_control("Download", (SINGLE, FOLDER), default=SINGLE, key="models_form", help=_FORM_HELP)
    st.text_input("Token", type="password", key="models_token", placeholder="hf_...", help=_TOKEN_HELP)
    st.text_input("Mirror", key="models_mirror", placeholder="https://huggingface.co", help=_MIRROR_HELP)
    for folder in paths.checkpoint_folders():
        if folder.is_dir():
            free = formatting.size(shutil.disk_usage(folder).free)
            st.caption(f"Checkpoint folder: {formatting.plain(str(folder))}, {free} free")


def _versions() -> None:
    with st.container(key="models_note"):
        show_note(current(), "models")
    for version in load_all_versions():
        with st.container(border=True, key=f"model_{version.name}"), report_drawing_errors(version.name):
            checkpoint_box(version)
