"""What the gallery shows in a tab: filters, page, the open video, what is chosen. Kept with the tab, as all else."""

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
    """Dates are ISO dates of the user's own time zone, or nothing."""

    text: str = ""
    versions: list[str] = field(default_factory=list[str])
    tags: list[str] = field(default_factory=list[str])
    least_rating: int = 0
    since: str = ""
    until: str = ""
    deleted: bool = False
    """Whether the trash is looked into."""
    page: int = 1
    open: int = 0
    """The number of the video that is looked at, or 0."""
    chosen: list[int] = field(default_factory=list[int])
    undo: list[int] = field(default_factory=list[int])
    """What was deleted last."""
    boxes: int = 0
    """Raised whenever boxes change by themselves, and `filters` likewise.

    It is part of the widgets' keys, so that they are new ones then: with every click the browser sends what all widgets
    hold as it knows them, and an old value of a box or a filter would be taken for something that the user has done.
    What is told of an old one is not heeded.
    """
    filters: int = 0
    tab: str = ""
    """The tab that it belongs to."""

    def filter(self) -> Filter:
        """As the store wants it; the last day counts to its end."""
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
        """Whether anything is left out."""
        return replace(self.filter(), deleted=False) != Filter()


def read(page: PageState) -> GalleryState:
    """What the tab has kept; what cannot be used is left at its default."""
    kept: object = page.tab.pages.get(NAME)
    values = cast("dict[str, Any]", kept) if isinstance(kept, dict) else {}
    known: dict[str, Any] = {}
    for one in fields(GalleryState):
        usual = getattr(GalleryState(), one.name)
        value = values.get(one.name)
        if type(value) is not type(usual):
            continue
        if isinstance(value, list):
            kind = int if one.name in ("chosen", "undo") else str
            value = [item for item in cast("list[object]", value) if type(item) is kind]
        known[one.name] = value
    found = GalleryState(**known)
    # A new tab begins as the last one was left, without what that was looking at.
    return found if found.tab == page.name else replace(found, tab=page.name, page=1, open=0, chosen=[], undo=[])


def change(page: PageState, /, *, own_box: bool = False, **values: Any) -> GalleryState:
    """Changes some of it and keeps it on disk; another filter begins at the first page again.

    own_box: whether another choice came of a box that the user clicked, which shows it already.
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
    """How many pages there are for so many videos; at least one."""
    return max(math.ceil(count / PER_PAGE), 1)


def place_of(entries: Entries, wanted: Filter, entry: Entry) -> int:
    """How many of the videos that are looked for come before this one."""
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
    """An ISO date, or None for whatever is none."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None


def _start(first: datetime.date) -> float:
    """The first moment of a day here."""
    try:
        return datetime.datetime.combine(first, datetime.time()).timestamp()
    except (OverflowError, OSError, ValueError):  # Windows knows no moments before 1970
        return 0.0
