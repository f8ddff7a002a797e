"""Synchronized player: plays all clips of a container in step and shows the difference between two of them.

It is a Streamlit v2 component: its three files are sent to the browser unchanged and load nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import streamlit as st

from img2vid.media.composites import Align
from img2vid.ui.state import PageState, callback, widget_value

_FILES = Path(__file__).parent


@dataclass(frozen=True)
class Playing:
    """Clip of the player; `fps` is the frame rate of its file."""

    label: str
    fps: float


def controls(
    scope: str,
    *,
    difference: bool = False,
    clips: Sequence[Playing] = (),
    align: Align = "time",
    on_align: Callable[[PageState, Align], None] | None = None,
) -> None:
    """Draw the controls of all videos inside the container with the key `scope` (letters, digits and `_`).

    clips: in drawing order; without them the frame duration is measured during playback, and the difference map has
    no clips to select. difference: offer that map. on_align: callback for the user's choice of alignment.
    """
    key = f"player_of_{scope}"
    data = {"scope": scope, "difference": difference, "clips": [asdict(clip) for clip in clips], "align": align}
    _component()(key=key, data=data, on_align_change=lambda: _aligned(key, on_align))


@lru_cache(maxsize=1)
def _component() -> Callable[..., Any]:
    """Register the component at first use: Streamlit must be running."""
    html, css, js = ((_FILES / f"player.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    # Streamlit's component types come from optional packages.
    return cast(Any, st).components.v2.component("img2vid_player", html=html, css=css, js=js)


@callback("compare")
def _aligned(page: PageState, key: str, on_align: Callable[[PageState, Align], None] | None) -> None:
    chosen = cast("dict[str, Any] | None", widget_value(key)) or {}
    align = chosen.get("align")
    if on_align is not None and align in ("time", "stretch"):
        on_align(page, align)
