"""Download buttons whose files are made only when a button is pressed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import streamlit as st


@dataclass(frozen=True)
class Offer:
    """Downloadable file; `suffix` follows the stem of its name."""

    suffix: str
    mime: str
    make: Callable[[], bytes]
    help_text: str


def download_buttons(offers: Mapping[str, Offer], stem: str, key: str) -> None:
    """Draw a button for each offer, named by its label; `key` is unique on the page."""
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center", key=key):
        for label, offer in offers.items():
            st.download_button(
                label,
                offer.make,
                file_name=f"{stem}{offer.suffix}",
                mime=offer.mime,
                key=f"{key}_{label}_{stem}",
                icon=":material/download:",
                help=offer.help_text,
                on_click="ignore",
            )
