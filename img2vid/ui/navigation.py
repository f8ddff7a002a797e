"""Page switches requested by callbacks and followed in the next script run."""

import streamlit as st

from img2vid.ui.state import PageState, Target


def request_page(page: PageState, target: Target) -> None:
    """Request a page switch from a callback, where st.switch_page is unavailable."""
    page.target_page = target


def follow_request(page: PageState) -> None:
    """Switch to the requested page, if any; this ends the current script run."""
    target, page.target_page = page.target_page, ""
    if target == "sample":
        from img2vid.ui.sample.page import sample

        st.switch_page(st.Page(sample, title="Sample", default=True))
    elif target == "compare":
        from img2vid.ui.compare.page import compare

        st.switch_page(st.Page(compare, title="Compare"))
