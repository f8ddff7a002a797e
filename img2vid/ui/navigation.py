"""From one page to another with something in hand; a callback says where to, the page goes when it is drawn next."""

import streamlit as st

from img2vid.ui.state import PageState, Target


def request_page(page: PageState, target: Target) -> None:
    """For callbacks, in which Streamlit cannot go anywhere."""
    page.target_page = target


def follow_request(page: PageState) -> None:
    """Goes to the page that was asked for, if one was; what comes after it is not drawn then."""
    target, page.target_page = page.target_page, ""
    if target == "sample":
        from img2vid.ui.sample.page import sample

        st.switch_page(st.Page(sample, title="Sample", default=True))
    elif target == "compare":
        from img2vid.ui.compare.page import compare

        st.switch_page(st.Page(compare, title="Compare"))
