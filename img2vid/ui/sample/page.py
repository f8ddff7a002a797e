"""The Sample page: input, controls and result, in the reference demo's order and with its labels."""

from contextlib import suppress

import streamlit as st

from img2vid.errors import Img2VidError
from img2vid.settings import CONDITIONING, GROUPS, PARAMS
from img2vid.ui.frame import draw_page
from img2vid.ui.sample.activity import activity_box, pace, snapshot
from img2vid.ui.sample.camera_path import camera_path
from img2vid.ui.sample.model import missing_box, model_row
from img2vid.ui.sample.result import result_box
from img2vid.ui.sample.sidebar import ON_THE_PAGE, sidebar
from img2vid.ui.sample.start import start_box
from img2vid.ui.sample.view import basic_controls, is_basic, view_box
from img2vid.ui.shared.controls import control, row
from img2vid.ui.shared.describe import describe_box
from img2vid.ui.shared.input_picture import input_box
from img2vid.ui.state import PageState, callback, report_drawing_errors, set_widget, widget_value

WIDTHS = (5, 6, 8)
"""Column widths of three controls in a row; "Conditioning augmentation" has the longest label."""


def sample() -> None:
    """Draw the page. Nothing here is slow: all work is done by the job service."""
    draw_page(_parts)


def _parts(page: PageState) -> None:
    """Draw each part on its own, so that an error in one leaves the others intact.

    Optional elements have their own containers: if a video's position among its siblings changed, the browser would
    reload it and stop playback.
    """
    seen: object = None
    with suppress(Img2VidError):  # the parts show it
        seen = snapshot(page)  # before drawing, so that changes during it are noticed
    basic = is_basic(page)
    with st.sidebar, report_drawing_errors("The sidebar"):
        sidebar(page, basic=basic)
    with st.container(key="view_row"):
        view_box(page)
    with st.container(key="model_row"), report_drawing_errors("Model Version"):
        model_row(page, every=pace(page))
        missing_box(page.version)
    with st.container(key="panes"):
        left, right = st.columns([11, 10], gap="medium")
    with left:
        with st.container(key="input"), report_drawing_errors("Input"):
            input_box(page, uses_all=True)
            describe_box(page)
        with st.container(key="controls"), report_drawing_errors("The controls"):
            (basic_controls if basic else _controls)(page)
        with st.container(key="start"), report_drawing_errors("Sample"):
            start_box(page)
    # No gap: empty containers would add space.
    with right, st.container(gap=None, key="outcome"):
        stage = st.container(key="stage")
        with st.container(key="activity"), report_drawing_errors("Activity"):
            activity_box(page, seen)
        with report_drawing_errors("The result"):
            result_box(page, stage)


def _controls(page: PageState) -> None:
    used = [name for name in (*CONDITIONING, *GROUPS["orbit"]) if page.version.uses(name)]
    for start in range(0, len(used), len(WIDTHS)):
        names = used[start : start + len(WIDTHS)]
        row(page, names, WIDTHS[: len(names)])
    camera_path(page)
    guidance = [name for name in PARAMS[page.tab.controls["guider"]] if name in ON_THE_PAGE]
    row(page, ("num_samples", "num_steps", *guidance), WIDTHS[: 2 + len(guidance)])
    _decoding(page)


def _decoding(page: PageState) -> None:
    overwritten = page.tab.controls["saving_fps"] is not None
    decode, overwrite = st.columns([10, 11], gap="small", vertical_alignment="bottom")
    with decode:
        control(page, "decode_t")
    with overwrite:
        st.checkbox(
            "Overwrite fps in mp4 generator",
            set_widget("overwrite_fps", overwritten, False),
            key="overwrite_fps",
            help="Sets the file's frame rate separately from the one the model is conditioned on. Default: off.",
            on_change=_overwrite,
        )
        if overwritten:
            control(page, "saving_fps")


@callback("sample")
def _overwrite(page: PageState) -> None:
    page.set(saving_fps=float(page.tab.controls["fps"]) if widget_value("overwrite_fps") else None)
