"""Page of the gallery: thumbnails to select and open, and actions for the selection."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.errors import BadInput
from img2vid.gallery.entries import NEWEST, Entries, Entry
from img2vid.gallery.exporting import export
from img2vid.gallery.trash import KEPT_SECONDS, Trash
from img2vid.ui import formatting, resources
from img2vid.ui.gallery import state
from img2vid.ui.gallery.state import PER_PAGE, GalleryState
from img2vid.ui.shared import pictures
from img2vid.ui.state import Note, PageState, callback, widget_value

CARD_WIDTHS = {"Small": 140, "Medium": 204, "Large": 320}
"""Widths of a card in pixels by size; cards wrap to the window."""
EXPORT = "export"
DAY = 24 * 3600


def grid_box(page: PageState, entries: Entries) -> None:
    """Draw the tab's current page of entries, with its toolbar and page buttons."""
    now = state.read(page)
    wanted = now.filter()
    count = entries.count(wanted)
    last = state.pages_of(count)
    at = min(max(now.page, 1), last)
    found = entries.find(wanted, PER_PAGE, (at - 1) * PER_PAGE, now.order)
    with st.container(key="shelf_bar"):
        _bar(now, found, count)
    _undo(now)
    with st.container(key="shelf_pager_top"):
        _pager(at, last, "top", now)
    if not found:
        _nothing(now)
    with st.container(horizontal=True, gap="small", key="shelf"):
        for entry in found:
            with st.container(width=CARD_WIDTHS[now.size], gap="xsmall", key=f"card_{entry.number}"):
                _card(entry, now)
    with st.container(key="shelf_pager"):
        _pager(at, last, "bottom", now)


def step_labels(order: str) -> tuple[str, str]:
    """Return the labels of a step back and a step forward through videos in this order."""
    return ("Newer", "Older") if order == NEWEST else ("Previous", "Next")


def made_on(moment: float) -> str:
    """Return a timestamp as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def _nothing(now: GalleryState) -> None:
    if now.filtered:
        message = "No videos match. **Clear filters** shows all videos."
    elif now.deleted:
        message = "No deleted videos."
    else:
        message = "Your videos appear here."
    with st.container(border=True, height=200, vertical_alignment="center", horizontal_alignment="center"):
        st.caption(message, text_alignment="center")


def _pager(at: int, last: int, where: str, now: GalleryState) -> None:
    if last < 2:
        return
    before, after = step_labels(now.order)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for key, label, icon, to in (("first", "First", "first_page", 1), ("newer", before, "chevron_left", at - 1)):
            _turn(f"{key}_{where}", label, icon, to, at, last)
        st.markdown(f"Page **{at}** of {last}", width="content")
        for key, label, icon, to in (("older", after, "chevron_right", at + 1), ("last", "Last", "last_page", last)):
            _turn(f"{key}_{where}", label, icon, to, at, last)


def _turn(key: str, label: str, icon: str, to: int, at: int, last: int) -> None:
    st.button(
        label,
        key=key,
        icon=f":material/{icon}:",
        type="tertiary",
        disabled=to == at or not 1 <= to <= last,
        on_click=_go,
        args=(to,),
    )


def _card(entry: Entry, now: GalleryState) -> None:
    if entry.result.video.is_file():
        st.image(_thumbnail(entry.result.still), width="stretch", alt=f"The first frame of video {entry.number}")
    else:
        with st.container(border=True, height=122, vertical_alignment="center", horizontal_alignment="center"):
            st.caption(":material/videocam_off: File missing", text_alignment="center")
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        label = f"Select {entry.job.picture_name}, seed {entry.settings.seed}"
        st.checkbox(
            label,
            entry.number in now.chosen,
            key=_box(entry.number, now),
            label_visibility="collapsed",
            width=24,
            on_change=_choose,
            args=(entry.number, _box(entry.number, now)),
        )
        st.button(
            f"{formatting.plain(entry.settings.version)}, seed {entry.settings.seed}",
            key=f"open_{entry.number}",
            type="tertiary",
            help=f"{formatting.plain(entry.job.picture_name)}, {made_on(entry.created)}",
            on_click=_open,
            args=(entry.number,),
        )
    st.caption(_about(entry))


def _box(number: int, now: GalleryState) -> str:
    """Return the widget key of an entry's checkbox."""
    return f"choose_{number}_{now.boxes}"


def _thumbnail(still: Path) -> bytes:
    try:
        return pictures.thumbnail(still, still.stat().st_mtime)
    except (OSError, BadInput):  # only the still is missing or damaged
        return pictures.no_still()


def _about(entry: Entry) -> str:
    parts = [formatting.plain(entry.job.picture_name), *formatting.unusual(entry.settings)]
    if entry.rating:
        parts.append(formatting.stars(entry.rating))
    if entry.imported:
        parts.append("imported")
    if entry.deleted is not None:
        left = max(round((entry.deleted + KEPT_SECONDS - time.time()) / DAY), 0)
        parts.append(f"deleted permanently in {left} day{'' if left == 1 else 's'}")
    parts += [formatting.plain(tag) for tag in entry.tags[:2]]
    return " · ".join(parts)


# Selection


def _bar(now: GalleryState, found: Sequence[Entry], count: int) -> None:
    chosen = len(now.chosen)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{_counted(count)}**{' found' if now.filtered else ''}", width="content")
        here = [entry.number for entry in found]
        everything = bool(here) and set(here) <= set(now.chosen)
        label = "Clear selection" if everything or chosen else "Select page"
        st.button(
            label,
            key="choose_page",
            type="tertiary",
            disabled=not found and not chosen,
            on_click=_choose_all,
            args=([] if everything or chosen else here,),
        )
        if chosen:
            st.markdown(f"{chosen} selected", width="content")
        if now.deleted:
            _trash_buttons(chosen)
        else:
            _buttons(chosen)


def _buttons(chosen: int) -> None:
    _act("Delete", "delete_chosen", ":material/delete:", not chosen, _delete)
    _act("Export as zip", "export_chosen", ":material/folder_zip:", not chosen, _export)
    with st.popover("Tag", icon=":material/sell:", disabled=not chosen, key="tag_popover"):
        st.text_input(
            "Tag",
            key="new_tag",
            placeholder="favorite, for the demo",
            help="Separate several tags with commas.",
            max_chars=200,
        )
        with st.container(horizontal=True, gap="small"):
            _act("Add", "add_tag", None, False, partial(_retag, add=True))
            _act("Remove", "take_tag", None, False, partial(_retag, add=False))


def _trash_buttons(chosen: int) -> None:
    _act("Restore", "restore_chosen", ":material/restore_from_trash:", not chosen, _restore)
    with st.popover("Delete permanently", icon=":material/delete_forever:", disabled=not chosen, key="purge_popover"):
        st.markdown(f"Permanently deletes {_counted(chosen)}. This cannot be undone.")
        _act("Delete permanently", "purge_chosen", None, False, _purge)
    with st.popover("Empty trash", icon=":material/delete_sweep:", key="empty_popover"):
        st.markdown("Permanently deletes all videos in the trash. This cannot be undone.")
        _act("Empty trash", "empty_trash", None, False, _empty)


def _act(label: str, key: str, icon: str | None, disabled: bool, act: Callable[[], None]) -> None:
    st.button(label, key=key, icon=icon, disabled=disabled, on_click=act)


def _counted(count: int) -> str:
    return f"{count} video{'' if count == 1 else 's'}"


def _undo(now: GalleryState) -> None:
    with st.container(key="shelf_undo"):
        back = [] if now.deleted else _existing(now.undo, deleted=True)
        if back:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.caption(f":green[:material/check_circle:] {_counted(len(back))} deleted.", width="content")
                st.button("Undo", key="undo_delete", icon=":material/undo:", type="tertiary", on_click=_undo_delete)


def _existing(numbers: Sequence[int], *, deleted: bool) -> list[Entry]:
    """Return the entries that still exist in or outside the trash; another tab may have removed some."""
    entries = Entries(resources.open_service().store)
    found: list[Entry] = []
    for number in numbers:
        with suppress(BadInput):
            found.append(entries.entry(number))
    return [entry for entry in found if (entry.deleted is not None) == deleted]


def _numbers(found: Sequence[Entry]) -> list[int]:
    return [entry.number for entry in found]


def delete(page: PageState, numbers: Sequence[int]) -> None:
    """Move videos to the trash and make them the target of Undo."""
    Trash(resources.open_service().store).put(numbers)
    state.change(page, chosen=[], open=0, undo=list(numbers))


@callback("gallery")
def _go(page: PageState, to: int) -> None:
    state.change(page, page=to)


@callback("gallery")
def _open(page: PageState, number: int) -> None:
    state.change(page, open=number)


@callback("gallery")
def _choose(page: PageState, number: int, key: str) -> None:
    now = state.read(page)
    if key != _box(number, now):
        return  # event of a stale checkbox
    others = [one for one in now.chosen if one != number]
    state.change(page, own_box=True, chosen=[*others, number] if widget_value(key) else others)


@callback("gallery")
def _choose_all(page: PageState, numbers: list[int]) -> None:
    state.change(page, chosen=numbers)


@callback("gallery")
def _delete(page: PageState) -> None:
    delete(page, _numbers(_existing(state.read(page).chosen, deleted=False)))


@callback("gallery")
def _undo_delete(page: PageState) -> None:
    numbers = _numbers(_existing(state.read(page).undo, deleted=True))
    Trash(resources.open_service().store).restore(numbers)
    state.change(page, undo=[])
    page.note = Note("done", f"{_counted(len(numbers))} restored.", place="gallery")


@callback("gallery")
def _restore(page: PageState) -> None:
    numbers = _numbers(_existing(state.read(page).chosen, deleted=True))
    back = Trash(resources.open_service().store).restore(numbers)
    state.change(page, chosen=[], undo=[])
    page.note = Note("done", f"{_counted(len(back))} restored.", place="gallery")


@callback("gallery")
def _purge(page: PageState) -> None:
    numbers = _numbers(_existing(state.read(page).chosen, deleted=True))
    Trash(resources.open_service().store).purge(numbers)
    state.change(page, chosen=[], undo=[])
    page.note = Note("done", f"{_counted(len(numbers))} permanently deleted.", place="gallery")


@callback("gallery")
def _empty(page: PageState) -> None:
    count = Trash(resources.open_service().store).empty()
    now = state.read(page)
    state.change(page, chosen=[], undo=[], deleted=False, filters=now.filters + 1)
    page.note = Note("done", f"{_counted(count)} permanently deleted.", place="gallery")


@callback("gallery")
def _retag(page: PageState, *, add: bool) -> None:
    given = [tag.strip() for tag in str(widget_value("new_tag") or "").split(",") if tag.strip()]
    entries = Entries(resources.open_service().store)
    for entry in _existing(state.read(page).chosen, deleted=False) if given else []:
        others = [tag for tag in entry.tags if tag not in given]
        entries.tag(entry.number, [*others, *given] if add else others)


@callback("gallery")
def _export(page: PageState) -> None:
    chosen = _existing(state.read(page).chosen, deleted=False)
    home = paths.home()
    if not resources.open_gallery_tasks().start(EXPORT, lambda on_progress: export(chosen, home, on_progress)):
        page.note = Note("info", "Another export is running. Try again when it has finished.", place="gallery")
