"""A video that plays by itself, in a loop and silent.

Streamlit lets a video begin by itself only when it is put onto the page for the first time. Where the page is drawn
twice in a hurry, as after a reload on a busy computer, it is put there anew, and would stand still for ever.
"""

from pathlib import Path
from typing import Any, cast

import streamlit as st

JS = """
export default function ({ data }) {
    const begin = () => {
        for (const video of document.querySelectorAll(`.st-key-${data.scope} video`)) {
            if (video.begun || video.played.length || !video.paused || video.readyState < 2) continue
            video.begun = true
            video.play().catch(() => {})
        }
    }
    begin()
    const timer = setInterval(begin, 500)
    return () => clearInterval(timer)
}
"""


def looping_video(video: Path, alt: str, key: str) -> None:
    """Draws it; `key` is of letters, digits and `_`, and no other film on the page has it."""
    scope = f"film_{key}"
    with st.container(key=scope, gap=None):
        st.video(video, loop=True, autoplay=True, muted=True, alt=alt)
        cast(Any, st).components.v2.component("img2vid_film", js=JS)(data={"scope": scope}, key=f"begin_{scope}")
