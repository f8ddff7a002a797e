"""Gallery state of a tab: filters, page, open video and selection. Saved with the tab."""

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from img2vid.gallery.entries import Filter
from img2vid.ui.state import PageState

NAME = "gallery"
PER_PAGE = 24


@dataclass(frozen=True)
class GalleryState(Filter):
    """State of the gallery page: its filter and what is open, chosen and deleted."""

    page: int = 1
    order: Literal["Newest", "Oldest", "Rating", "Picture"] = "Newest"
    size: Literal["Small", "Medium", "Large"] = "Medium"
    """Size of the cards."""
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
        """Return the filter alone."""
        return Filter(**{field.name: getattr(self, field.name) for field in fields(Filter)})

    @property
    def filtered(self) -> bool:
        """True if any filter besides `deleted` is set."""
        return replace(self.filter(), deleted=False) != Filter()


def read(page: PageState) -> GalleryState:
    """Return the tab's saved state; invalid values get their defaults."""
    found = page.stored(NAME, GalleryState)
    # A new tab inherits the filters of the last one, but not its page, open video or selection.
    return found if found.tab == page.name else replace(found, tab=page.name, page=1, open=0, chosen=[], undo=[])


def change(page: PageState, /, *, own_box: bool = False, **values: Any) -> GalleryState:
    """Change values and save the state. Another filter or order resets page and selection.

    own_box: the selection was changed by the clicked checkbox itself, so no new widgets are needed.
    """
    before = read(page)
    after = replace(before, **values)
    if (after.filter(), after.order) != (before.filter(), before.order):
        after = replace(after, page=1, chosen=[])
    if after.chosen != before.chosen and not own_box:
        after = replace(after, boxes=before.boxes + 1)
    page.keep(NAME, **asdict(after))
    return after


def pages_of(count: int) -> int:
    """Return the number of pages for a number of videos; at least 1."""
    return max(math.ceil(count / PER_PAGE), 1)
