"""Gallery state of a tab: filters, page, open video and selection. Saved with the tab."""

import datetime
import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, cast

from img2vid.gallery.entries import Entries, Entry, Filter
from img2vid.ui.state import PageState

NAME = "gallery"
PER_PAGE = 24


@dataclass
class GalleryState:
    """State of the gallery page. Dates are local ISO dates, or empty."""

    text: str = ""
    versions: list[str] = field(default_factory=list[str])
    tags: list[str] = field(default_factory=list[str])
    least_rating: int = 0
    since: str = ""
    until: str = ""
    deleted: bool = False
    """Show deleted videos."""
    page: int = 1
    open: int = 0
    """Number of the open video, or 0."""
    chosen: list[int] = field(default_factory=list[int])
    undo: list[int] = field(default_factory=list[int])
    """Numbers of the videos deleted last."""
    boxes: int = 0
    """Generation of the checkboxes, increased when the program changes them; `filters` likewise.

    It is part of the widget keys, so a change creates new widgets. The browser sends the values of all widgets with
    every click, and a stale value would look like a user action. Events from stale widgets are ignored.
    """
    filters: int = 0
    tab: str = ""
    """Name of the tab that saved the state."""

    def filter(self) -> Filter:
        """Return the filter for store queries; `until` includes the whole day."""
        first, last = day(self.since), day(self.until)
        return Filter(
            versions=tuple(self.versions),
            since=None if first is None else _start(first),
            until=None if last is None or last == datetime.date.max else _start(last + datetime.timedelta(days=1)),
            least_rating=self.least_rating,
            text=self.text,
            tags=tuple(self.tags),
            deleted=self.deleted,
        )

    @property
    def filtered(self) -> bool:
        """True if any filter besides `deleted` is set."""
        return replace(self.filter(), deleted=False) != Filter()


def read(page: PageState) -> GalleryState:
    """Return the tab's saved state; invalid values get their defaults."""
    kept: object = page.tab.pages.get(NAME)
    values = cast("dict[str, Any]", kept) if isinstance(kept, dict) else {}
    known: dict[str, Any] = {}
    for one in fields(GalleryState):
        default = getattr(GalleryState(), one.name)
        value = values.get(one.name)
        if type(value) is not type(default):
            continue
        if isinstance(value, list):
            kind = int if one.name in ("chosen", "undo") else str
            value = [item for item in cast("list[object]", value) if type(item) is kind]
        known[one.name] = value
    found = GalleryState(**known)
    # A new tab inherits the filters of the last one, but not its page, open video or selection.
    return found if found.tab == page.name else replace(found, tab=page.name, page=1, open=0, chosen=[], undo=[])


def change(page: PageState, /, *, own_box: bool = False, **values: Any) -> GalleryState:
    """Change values and save the state. Another filter resets page and selection.

    own_box: the selection was changed by the clicked checkbox itself, so no new widgets are needed.
    """
    before = read(page)
    after = replace(before, **values)
    if after.filter() != before.filter():
        after = replace(after, page=1, chosen=[])
    if after.chosen != before.chosen and not own_box:
        after = replace(after, boxes=before.boxes + 1)
    page.tab.pages[NAME] = asdict(after)
    page.save()
    return after


def pages_of(count: int) -> int:
    """Return the number of pages for a number of videos; at least 1."""
    return max(math.ceil(count / PER_PAGE), 1)


def place_of(entries: Entries, wanted: Filter, entry: Entry) -> int:
    """Return the index of an entry among the videos that match the filter."""
    later = math.nextafter(entry.created, math.inf)
    newer = entries.count(replace(wanted, since=max(later, wanted.since or later)))
    same_moment = replace(
        wanted,
        since=max(entry.created, wanted.since or entry.created),
        until=min(later, wanted.until or later),
    )
    numbers = [one.number for one in entries.find(same_moment, limit=-1)] if entries.count(same_moment) > 1 else []
    return newer + (numbers.index(entry.number) if entry.number in numbers else 0)


def day(text: str) -> datetime.date | None:
    """Parse an ISO date; None if invalid."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None


def _start(first: datetime.date) -> float:
    """Return the timestamp of local midnight."""
    try:
        return datetime.datetime.combine(first, datetime.time()).timestamp()
    except (OverflowError, OSError, ValueError):  # Windows rejects dates before 1970
        return 0.0
