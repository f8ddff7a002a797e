"""Muted, looping video with autoplay.

Streamlit autoplays a video only when it is first added to the page. If the page is drawn twice in quick succession, as
after a reload on a busy computer, the video is added again and would never start. A script starts it instead.
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
    """Draw the video; `key` consists of letters, digits and `_` and is unique on the page."""
    scope = f"film_{key}"
    with st.container(key=scope, gap=None):
        st.video(video, loop=True, autoplay=True, muted=True, alt=alt)
        cast(Any, st).components.v2.component("img2vid_film", js=JS)(data={"scope": scope}, key=f"begin_{scope}")
