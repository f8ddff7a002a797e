"""Synchronized player: plays all clips of a container in step and shows the difference between two of them.

It is a Streamlit v2 component: its three files are sent to the browser unchanged and load nothing else.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast, get_args

import streamlit as st

from img2vid.gallery.entries import Entry
from img2vid.media.composites import Align
from img2vid.ui.state import MessageArea, PageState, callback, widget_value

_FILES = Path(__file__).parent


def controls(
    scope: str, clips: Sequence[tuple[str, Entry]], page: MessageArea, align: Align, *, difference: bool
) -> None:
    """Draw the controls of all videos inside the container with the key `scope` (letters, digits and `_`).

    clips: label and video of each, in drawing order. page: its stored state has the alignment. difference: offer a map
    of the difference between two clips.
    """
    known = [{"label": label, "fps": entry.settings.file_fps} for label, entry in clips]
    data = {"scope": scope, "difference": difference, "clips": known, "align": align}
    key = f"player_of_{scope}"
    _component()(key=key, data=data, on_align_change=partial(callback(page)(_align), key, page))


@lru_cache(maxsize=1)
def _component() -> Callable[..., Any]:
    """Register the component at first use: Streamlit must be running."""
    html, css, js = ((_FILES / f"player.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    # Streamlit's component types come from optional packages.
    return cast(Any, st).components.v2.component("img2vid_player", html=html, css=css, js=js)


def _align(page: PageState, key: str, name: MessageArea) -> None:
    chosen = cast("dict[str, Any] | None", widget_value(key)) or {}
    if chosen.get("align") in get_args(Align):
        page.keep(name, align=chosen["align"])
