"""What the gallery looks for: text, version, date, rating, tags; and the way into the trash."""

import datetime
from typing import Any, cast

import streamlit as st

from img2vid.gallery.entries import Entries, Filter
from img2vid.ui.gallery import state
from img2vid.ui.gallery.state import Browsing
from img2vid.ui.state import PageState, acting, entered, noting, show

STARS = {0: "any", 1: "★ or more", 2: "★★ or more", 3: "★★★ or more", 4: "★★★★ or more", 5: "★★★★★"}
_TEXT_HELP = "Words in the picture's name, the version, the note or the tags. All of them have to be there."


def finding_box(page: PageState, entries: Entries) -> None:
    """Draws the filters; each is kept as soon as it is changed."""
    now = state.read(page)
    show(_key("text", now), now.text)
    st.text_input("Search", key=_key("text", now), help=_TEXT_HELP, icon=":material/search:", on_change=_keep)
    show(_key("versions", now), now.versions)
    versions = sorted({*entries.versions(), *now.versions})
    st.multiselect("Model Version", versions, key=_key("versions", now), placeholder="any", on_change=_keep)
    first, last = st.columns(2, gap="small")
    with first:
        _date("From", _key("since", now), now.since)
    with last:
        _date("To", _key("until", now), now.until)
    show(_key("rating", now), now.least_rating)
    # Streamlit's types for options reach into packages that need not be installed, and are unknown without them.
    cast(Any, st).selectbox("Rating", list(STARS), key=_key("rating", now), format_func=_stars, on_change=_keep)
    show(_key("tags", now), now.tags)
    tags = sorted({*entries.tags(), *now.tags}, key=str.casefold)
    st.multiselect("Tags", tags, key=_key("tags", now), placeholder="any", on_change=_keep)
    st.button(
        "Clear filters",
        key="find_nothing",
        icon=":material/filter_alt_off:",
        type="tertiary",
        disabled=not now.filtered,
        on_click=_clear,
    )
    _trash(now, entries)


def _key(name: str, now: Browsing) -> str:
    return f"find_{name}_{now.filters}"


def _stars(rating: int) -> str:
    return STARS[rating]


def _date(label: str, key: str, value: str) -> None:
    show(key, state.day(value))
    oldest = datetime.date(2020, 1, 1)
    st.date_input(label, None, min_value=oldest, key=key, format="YYYY-MM-DD", on_change=_keep)


def _trash(now: Browsing, entries: Entries) -> None:
    deleted = entries.count(Filter(deleted=True))
    show(_key("deleted", now), now.deleted)
    st.toggle(
        f"Deleted ({deleted})" if deleted else "Deleted",
        key=_key("deleted", now),
        disabled=not deleted and not now.deleted,
        help="Videos that were deleted and can still be brought back; after 30 days they go for good.",
        on_change=_look_into_trash,
    )


def _keep() -> None:
    page = acting()
    with noting(page, "gallery"):
        now = state.read(page)
        since, until = entered(_key("since", now)), entered(_key("until", now))
        state.change(
            page,
            text=entered(_key("text", now)) or "",
            versions=list(entered(_key("versions", now)) or []),
            tags=list(entered(_key("tags", now)) or []),
            least_rating=entered(_key("rating", now)) or 0,
            since=since.isoformat() if since else "",
            until=until.isoformat() if until else "",
            open=0,
        )


def _clear() -> None:
    page = acting()
    with noting(page, "gallery"):
        nothing = Browsing()
        state.change(
            page,
            text=nothing.text,
            versions=nothing.versions,
            tags=nothing.tags,
            least_rating=nothing.least_rating,
            since=nothing.since,
            until=nothing.until,
            open=0,
            filters=state.read(page).filters + 1,
        )


def _look_into_trash() -> None:
    page = acting()
    with noting(page, "gallery"):
        state.change(page, deleted=bool(entered(_key("deleted", state.read(page)))), open=0, page=1, chosen=[])
