"""Size of the video: sizes to choose from, the picture's own proportions, and swapping width and height."""

import math
from contextlib import suppress
from typing import Any, cast

import streamlit as st

from img2vid.errors import BadInput
from img2vid.ui import formatting
from img2vid.ui.shared import pictures
from img2vid.ui.state import PageState, callback, set_widget, widget_value
from img2vid.versions import ModelVersion

Size = tuple[int, int]
"""Width and height in pixels."""


def size_box(page: PageState) -> None:
    """Draw the sizes to choose from, and Swap.

    The key of the choice changes with the chosen size, because a browser that has not seen a change yet would choose
    its old size again with the next click.
    """
    offered = offers(page)
    now = page.tab.controls["width"], page.tab.controls["height"]
    active = next((label for label, size in offered.items() if size == now), None)
    key = page.size_key = f"size_{active}"
    shown = set_widget(key, active) if key in st.session_state else active
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        # Streamlit's option types come from optional packages and are unknown without them.
        cast(Any, st).selectbox(
            "Size",
            list(offered),
            index=None if shown is None else list(offered).index(shown),
            key=key,
            placeholder=formatting.pixels(*now),
            help="Sets W and H. Match picture has the picture's proportions and about as many pixels as the model was "
            "trained on.",
            on_change=_choose,
            args=(key,),
        )
        st.button(
            "Swap",
            key="swap_size",
            icon=":material/swap_horiz:",
            help="Swaps W and H.",
            disabled=now[0] == now[1],
            on_click=_swap,
        )


def offers(page: PageState) -> dict[str, Size]:
    """Return the sizes to choose from by label: the version's own, upright, square, and as the picture."""
    version = page.version
    area = version.width * version.height
    sizes = [(version.width, version.height), (version.height, version.width), fitted(version, 1, area)]
    found = {formatting.pixels(*size): size for size in sizes}
    if page.tab.picture is not None and version.orbit is None:  # objects are centered on white
        with suppress(BadInput):  # the input's preview says what is wrong with it
            width, height = pictures.loaded(page.tab.picture.path).size
            size = fitted(version, width / height, area)
            found[f"Match picture, {formatting.pixels(*size)}"] = size
    return found


def fitted(version: ModelVersion, aspect: float, area: float) -> Size:
    """Return the valid size closest to a ratio of width to height and an area in pixels."""
    width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
    return int(version.nearest("width", width)), int(version.nearest("height", height))


@callback("sample")
def _choose(page: PageState, key: str) -> None:
    size = offers(page).get(str(widget_value(key)))
    if size is not None and key == page.size_key:
        page.set(width=size[0], height=size[1])


@callback("sample")
def _swap(page: PageState) -> None:
    controls = page.tab.controls
    page.set(width=controls["height"], height=controls["width"])
