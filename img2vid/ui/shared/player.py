"""The player: plays all clips of a part of the page in step, and shows where two of them differ.

It is a component of Streamlit's second kind: its three files are handed to the browser as they are, nothing is fetched.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import streamlit as st

from img2vid.media.composites import Align
from img2vid.ui.state import callback_state, report_errors, widget_value

_FILES = Path(__file__).parent


@dataclass(frozen=True)
class Playing:
    """What the player has to know of a clip; `fps` are the frames per second of its file."""

    label: str
    fps: float


def controls(
    scope: str,
    *,
    difference: bool = False,
    clips: Sequence[Playing] = (),
    align: Align = "time",
    on_align: Callable[[Align], None] | None = None,
) -> None:
    """Draws the controls of all videos inside the container with the key `scope`, of letters, digits and `_`.

    clips: in the order in which they are drawn; without them the length of a frame is found out while they play, and
    the difference map has nothing to choose from. difference: offers that map. on_align: a callback, for what the user
    chooses.
    """
    key = f"player_of_{scope}"
    data = {"scope": scope, "difference": difference, "clips": [asdict(clip) for clip in clips], "align": align}
    _component()(key=key, data=data, on_align_change=lambda: _aligned(key, on_align))


@lru_cache(maxsize=1)
def _component() -> Callable[..., Any]:
    """Made at the first use, for Streamlit cannot take it before it runs."""
    html, css, js = ((_FILES / f"player.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    # Streamlit's types of components reach into packages that need not be installed.
    return cast(Any, st).components.v2.component("img2vid_player", html=html, css=css, js=js)


def _aligned(key: str, on_align: Callable[[Align], None] | None) -> None:
    with report_errors(callback_state(), "compare"):
        chosen = cast("dict[str, Any] | None", widget_value(key)) or {}
        align = chosen.get("align")
        if on_align is not None and align in ("time", "stretch"):
            on_align(align)
