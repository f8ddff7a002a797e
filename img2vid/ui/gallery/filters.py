"""Gallery filters: text, version, date, rating, tags, and the switch to deleted videos."""

import datetime
from typing import Any, cast

import streamlit as st

from img2vid.gallery.entries import Entries, Filter
from img2vid.ui.gallery import state
from img2vid.ui.gallery.state import GalleryState
from img2vid.ui.state import PageState, callback, set_widget, widget_value

STARS = {0: "Any", 1: "★ or more", 2: "★★ or more", 3: "★★★ or more", 4: "★★★★ or more", 5: "★★★★★"}
_TEXT_HELP = "Searches image name, version, note and tags for videos that contain every word."


def filter_box(page: PageState, entries: Entries) -> None:
    """Draw the filters; changes are saved at once."""
    now = state.read(page)
    set_widget(_key("text", now), now.text)
    st.text_input("Search", key=_key("text", now), help=_TEXT_HELP, icon=":material/search:", on_change=_keep)
    set_widget(_key("versions", now), now.versions)
    versions = sorted({*entries.versions(), *now.versions})
    st.multiselect("Model Version", versions, key=_key("versions", now), placeholder="Any", on_change=_keep)
    first, last = st.columns(2, gap="small")
    with first:
        _date("From", _key("since", now), now.since)
    with last:
        _date("To", _key("until", now), now.until)
    set_widget(_key("rating", now), now.least_rating)
    # Cast: Streamlit's option types are unknown if its optional dependencies are not installed.
    cast(Any, st).selectbox("Rating", list(STARS), key=_key("rating", now), format_func=_stars, on_change=_keep)
    set_widget(_key("tags", now), now.tags)
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
    _trash(now, entries)


def _key(name: str, now: GalleryState) -> str:
    return f"find_{name}_{now.filters}"


def _stars(rating: int) -> str:
    return STARS[rating]


def _date(label: str, key: str, value: str) -> None:
    set_widget(key, state.day(value))
    oldest = datetime.date(2020, 1, 1)
    st.date_input(label, None, min_value=oldest, key=key, format="YYYY-MM-DD", on_change=_keep)


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
    since, until = widget_value(_key("since", now)), widget_value(_key("until", now))
    state.change(
        page,
        text=widget_value(_key("text", now)) or "",
        versions=list(widget_value(_key("versions", now)) or []),
        tags=list(widget_value(_key("tags", now)) or []),
        least_rating=widget_value(_key("rating", now)) or 0,
        since=since.isoformat() if since else "",
        until=until.isoformat() if until else "",
        open=0,
    )


@callback("gallery")
def _clear(page: PageState) -> None:
    unset = GalleryState()
    state.change(
        page,
        text=unset.text,
        versions=unset.versions,
        tags=unset.tags,
        least_rating=unset.least_rating,
        since=unset.since,
        until=unset.until,
        open=0,
        filters=state.read(page).filters + 1,
    )


@callback("gallery")
def _open_trash(page: PageState) -> None:
    state.change(page, deleted=bool(widget_value(_key("deleted", state.read(page)))), open=0, page=1, chosen=[])
