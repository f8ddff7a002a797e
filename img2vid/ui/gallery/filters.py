"""Gallery filters: text, version, date, rating, tags, and the switch to deleted videos."""

import datetime
from typing import Any, cast

import streamlit as st

from img2vid.gallery.entries import ORDERS, Entries, Filter
from img2vid.ui import formatting
from img2vid.ui.gallery import state
from img2vid.ui.gallery.grid import CARD_WIDTHS
from img2vid.ui.gallery.state import GalleryState
from img2vid.ui.state import PageState, callback, set_widget, widget_value

STARS = {0: "Any", **{rating: f"{formatting.stars(rating)} or more" for rating in range(1, 5)}, 5: formatting.stars(5)}
UNSET: dict[str, Any] = {name: value for name, value in vars(Filter()).items() if name != "deleted"}
"""Filters with a widget that `Clear filters` resets, by name."""
_TEXT = "Image, version, note or tag"
_TEXT_HELP = "Searches image name, version, note and tags for videos that contain every word."


def filter_box(page: PageState, entries: Entries) -> None:
    """Draw the filters; changes are saved at once."""
    now = state.read(page)
    set_widget(_key("text", now), now.text)
    st.text_input(
        "Search", key=_key("text", now), help=_TEXT_HELP, placeholder=_TEXT, icon=":material/search:", on_change=_keep
    )
    set_widget(_key("versions", now), list(now.versions))
    versions = sorted({*entries.versions(), *now.versions})
    st.multiselect("Model Version", versions, key=_key("versions", now), placeholder="Any", on_change=_keep)
    _date("From", _key("since", now), now.since)
    _date("To", _key("until", now), now.until)
    set_widget(_key("least_rating", now), now.least_rating)
    # Cast: Streamlit's option types are unknown if its optional dependencies are not installed.
    cast(Any, st).selectbox("Rating", list(STARS), key=_key("least_rating", now), format_func=_stars, on_change=_keep)
    set_widget(_key("tags", now), list(now.tags))
    tags = sorted({*entries.tags(), *now.tags}, key=str.casefold)
    st.multiselect("Tags", tags, key=_key("tags", now), placeholder="Any", on_change=_keep)
    st.button(
        "Clear filters",
        key="find_nothing",
        icon=":material/filter_alt_off:",
        type="tertiary",
        disabled=not now.filtered,
        on_click=_clear,
    )
    _order_and_size(now)
    _trash(now, entries)


def _key(name: str, now: GalleryState) -> str:
    return f"find_{name}_{now.filters}"


def _stars(rating: int) -> str:
    return STARS[rating]


def _date(label: str, key: str, value: datetime.date | None) -> None:
    set_widget(key, value)
    oldest = datetime.date(2020, 1, 1)
    st.date_input(label, None, min_value=oldest, key=key, format="YYYY-MM-DD", on_change=_keep)


def _order_and_size(now: GalleryState) -> None:
    """Draw the choice of order and card size."""
    for label, name, options in (("Sort by", "order", ORDERS), ("Card size", "size", CARD_WIDTHS)):
        key = _key(name, now)
        set_widget(key, getattr(now, name))
        cast(Any, st).selectbox(label, list(options), key=key, on_change=_arrange, args=(name, key))


def _trash(now: GalleryState, entries: Entries) -> None:
    deleted = entries.count(Filter(deleted=True))
    set_widget(_key("deleted", now), now.deleted)
    st.toggle(
        f"Deleted ({deleted})" if deleted else "Deleted",
        key=_key("deleted", now),
        disabled=not deleted and not now.deleted,
        help="Deleted videos can be restored for 30 days.",
        on_change=_open_trash,
    )


@callback("gallery")
def _keep(page: PageState) -> None:
    now = state.read(page)
    state.change(page, **{name: _value(name, now) for name in UNSET}, open=0)


def _value(name: str, now: GalleryState) -> Any:
    value: Any = widget_value(_key(name, now)) or UNSET[name]
    return tuple(value) if isinstance(UNSET[name], tuple) else value


@callback("gallery")
def _arrange(page: PageState, name: str, key: str) -> None:
    state.change(page, **{name: widget_value(key)})


@callback("gallery")
def _clear(page: PageState) -> None:
    state.change(page, **UNSET, open=0, filters=state.read(page).filters + 1)


@callback("gallery")
def _open_trash(page: PageState) -> None:
    state.change(page, deleted=bool(widget_value(_key("deleted", state.read(page)))), open=0, page=1, chosen=[])
