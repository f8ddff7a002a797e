"""State of a browser tab: the controls, which are the source of truth for all widgets, and the message to show.

Widgets read their values from here before they are drawn and write changes back in a callback, so that no setting
depends on which widgets are drawn. Every change is written to disk at once.
"""

import logging
import os
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial, wraps
from pathlib import Path
from threading import RLock
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast, get_type_hints

import streamlit as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from img2vid.errors import BadInput, DamagedStore, Img2VidError
from img2vid.files import reason
from img2vid.settings import SampleSettings, used_settings
from img2vid.ui import formatting, tabs
from img2vid.ui.tabs import Picture, Tab
from img2vid.versions import ModelVersion, load_versions

log = logging.getLogger(__name__)

MessageArea = Literal["input", "sample", "compare", "sweeps", "gallery", "models", "system"]
"""Parts of the page that show a note."""
Target = Literal["", "sample", "compare"]
"""Pages that a callback can switch to."""
ADDRESS = "tab"
"""Query parameter with the tab's name."""
DISMISSED = 200
"""Maximum number of dismissed jobs that a tab remembers."""
_KEY = "page"
_P = ParamSpec("_P")
T = TypeVar("T")


@dataclass(frozen=True)
class Note:
    """Outcome of the user's last action."""

    kind: Literal["done", "info", "error"]
    text: str
    details: str = ""
    place: MessageArea = "sample"


@dataclass(frozen=True)
class Rejected:
    """Typed value that is not valid. Its field shows it until it is corrected; the tab keeps the last valid one."""

    value: Any
    """None for an empty field; a text for a number that the field cannot hold."""
    problem: str
    """Reason, as the text of an error."""


@dataclass
class PageState:
    """State of one open tab."""

    name: str
    tab: Tab
    versions: dict[str, ModelVersion]
    note: Note | None = None
    target_page: Target = ""
    """Page to switch to in the next script run, or empty."""
    uploads: int = 0
    """Number of uploaded files; each upload gets a new widget key, which clears the uploader."""
    extended: int = 0
    """Number of extensions; each gives Several links a new widget key, which closes it."""
    ticked: bool = False
    """Value of the Load Model checkbox."""
    widget_generation: int = 0
    """Number of changes to that value by the program; part of `load_model_key`."""
    unloading: bool = False
    """True from unticking until the model is unloaded."""
    rejected: dict[str, Rejected] = field(default_factory=dict[str, Rejected])
    """Rejected values by widget key, which is the setting's name for controls of the tab. A reload drops them."""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    """Drawn number fields (`shared.fields.Field`) by widget key."""
    size_key: str = ""
    """Widget key of the size, which names the size that was drawn."""
    preset_key: str = ""
    """Widget key of the preset, which names the preset that was drawn."""
    version_key: str = "version"
    """Widget key of Model Version, which changes when the program chooses the version, as `load_model_key` does."""
    crop_key: str = "crop_offset"
    """Widget key of Crop offset, which changes when the program moves the crop, as `load_model_key` does."""
    crop_moved: object = None
    """Time of the last move, which the browser may send again."""
    deferred: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Actions that run after the callbacks of all widgets."""
    lock: Any = field(default_factory=RLock)
    """Held by callbacks. On a new event, Streamlit draws the page beside a callback that is still running, and does not
    draw it again when the callback ends.
    """
    handled: int = 0
    """Number of callbacks that have ended."""
    drawn: int = 0
    """The value of `handled` when the page was last drawn; smaller if a callback has ended since."""

    @property
    def version(self) -> ModelVersion:
        """Selected model version."""
        return self.versions[self.tab.controls["version"]]

    @property
    def load_model_key(self) -> str:
        """Widget key of the Load Model checkbox.

        Each click makes the browser send its values of all widgets, which may be out of date. A stale value would
        unload a model whose checkbox has just been ticked by the program. The key changes with the value, so events
        from stale widgets are ignored.
        """
        return f"load_model_{self.widget_generation}"

    def settings(self) -> SampleSettings:
        """Return the controls as settings. Raise BadInput if they are incompatible or a field has a rejected value."""
        self.require_accepted(self.used(self.tab.controls))
        return self.version.settings(self.tab.controls)

    def used(self, controls: Mapping[str, Any]) -> list[str]:
        """Return the settings that change the video, for controls of the tab or of a column."""
        version, by_object = self.versions[controls["version"]], self.tab.controls["fitting"] == "object"
        return [
            name for name in used_settings(controls) if version.uses(name) and (by_object or name != "object_share")
        ]

    def require_accepted(self, keys: Iterable[str]) -> None:
        """Raise BadInput if one of the fields with these widget keys has a rejected value."""
        for key in keys:
            if found := self.rejected.get(key):
                raise BadInput(found.problem)

    def drop_rejected(self, prefix: str) -> None:
        """Forget the rejected values of widgets whose keys begin with a prefix."""
        self.rejected = {key: value for key, value in self.rejected.items() if not key.startswith(prefix)}

    def save(self) -> None:
        """Write the tab to disk; a disk error becomes the page's note."""
        try:
            tabs.write(self.name, self.tab)
        except OSError as error:
            log.warning("Cannot save the tab: %s", error)
            self.note = Note("error", f"Cannot save your settings ({reason(error)}).")

    def set(self, **values: Any) -> None:
        """Set controls and save the tab."""
        for name in values:
            self.rejected.pop(name, None)
        self.tab.controls.update(values)
        self.save()

    def restore(self, controls: Mapping[str, Any]) -> None:
        """Set the controls to those of a video and save the tab."""
        if controls["version"] != self.tab.controls["version"]:
            self.version_key = f"version_{controls['version']}"
        self.set(**controls)

    def set_picture(self, picture: Picture | None) -> None:
        """Set the input and save the tab."""
        self.set_pictures([] if picture is None else [picture])

    def set_pictures(self, pictures: Sequence[Picture]) -> None:
        """Set the input, a batch if there are several pictures, and save the tab."""
        self.tab.picture, self.tab.more_pictures = next(iter(pictures), None), tuple(pictures[1:])
        self.save()

    def begin_pictures(self, pictures: Sequence[Picture]) -> None:
        """Set the input to new pictures, whose crop begins at the default, and save the tab."""
        self.move_crop(tabs.defaults_of(self.version)["crop_offset"])
        self.set_pictures(pictures)

    def move_crop(self, offset: float) -> None:
        """Set the crop offset and save the tab."""
        if offset != self.tab.controls["crop_offset"]:
            self.crop_key = f"crop_offset_{time.monotonic_ns()}"
        self.set(crop_offset=offset)

    def reuse_picture(self, path: Path, name: str) -> None:
        """Make a stored input the tab's input, unless the file no longer exists."""
        if path.is_file():
            self.set_picture(Picture(path.name, name))

    def stored(self, name: str, kind: type[T]) -> T:
        """Return a page's stored state, a dataclass; missing and invalid values get their defaults."""
        values, known = tabs.mapping(self.tab.pages.get(name)), dict[str, Any]()
        for field_name, adapter in _adapters(kind).items():
            if field_name in values:
                with suppress(ValidationError):
                    known[field_name] = adapter.validate_python(values[field_name])
        return kind(**known)

    def keep(self, name: str, /, **values: Any) -> None:
        """Change values of a page's stored state, as JSON, and save the tab."""
        self.tab.pages[name] = {**tabs.mapping(self.tab.pages.get(name)), **to_jsonable_python(values)}
        self.save()

    def set_options(self, **values: Any) -> None:
        """Set engine options and save the tab."""
        self.tab.options = replace(self.tab.options, **values)
        self.save()

    def show(self, job_id: str) -> None:
        """Show a job's result, or the newest if the id is empty."""
        self.tab.shown = job_id
        self.save()

    def dismiss(self, job_id: str) -> None:
        """Hide the message about an unfinished job."""
        self.tab.dismissed = (*self.tab.dismissed, job_id)[-DISMISSED:]
        self.save()


@cache
def _adapters(kind: type) -> dict[str, TypeAdapter[Any]]:
    """Return the validators of a dataclass's fields."""
    return {name: TypeAdapter(annotation) for name, annotation in get_type_hints(kind).items()}


def current() -> PageState:
    """Return the state of this tab, read from disk after a reload. Raise ConfigError if the versions cannot be read."""
    versions = load_versions()
    page = cast("PageState | None", st.session_state.get(_KEY))
    if page is None:
        page = st.session_state[_KEY] = _open(versions)
    page.versions = versions
    if page.tab.controls["version"] not in versions:  # its row was removed while the page was open
        page.tab = tabs.fresh(versions)
    if st.query_params.get(ADDRESS) != page.name:
        st.query_params[ADDRESS] = page.name
    with page.lock:
        while page.deferred:
            page.deferred.pop(0)()
    return page


def after_entry(action: Callable[[], None]) -> Callable[[], None]:
    """Return a button's callback that runs an action after the callbacks of all other widgets.

    When a value and a click arrive in one event, Streamlit may call the button's callback first, with the old value.
    """
    return partial(_defer, action)


def _defer(action: Callable[[], None]) -> None:
    callback_state().deferred.append(action)


def callback_state() -> PageState:
    """Return the state of this tab, for callbacks.

    Streamlit aborts callbacks on the first session read after a new event, which would lose the user's entry.
    Reading the whole session with `to_dict` is the one access that it does not abort.
    """
    return cast(PageState, st.session_state.to_dict()[_KEY])


def widget_value(key: str) -> Any:
    """Return a widget's value, or None if it does not exist; for callbacks, like `callback_state`."""
    return st.session_state.to_dict().get(key)


def set_widget(key: str, value: Any, unset: Any = None) -> Any:
    """Set a widget's value before it is drawn, and return the default to create it with.

    The value is set only if it differs, because setting it discards text being typed. A browser that misses the
    update starts from the default and sends it with the next click as if the user had chosen it. So the default is
    the value too, except in the run that sets it: there Streamlit requires its own default, `unset`.
    """
    if st.session_state.get(key) == value:
        return value
    st.session_state[key] = value
    return unset


def _open(versions: dict[str, ModelVersion]) -> PageState:
    requested = st.query_params.get(ADDRESS)
    name = requested if requested is not None and tabs.is_name(requested) else tabs.new_name()
    provider = os.environ.get("IMG2VID_ENGINE") or "auto"
    tab = tabs.read(name, versions) or tabs.newest(versions) or tabs.fresh(versions, provider)
    return PageState(name, tab, versions)


def callback(place: MessageArea) -> Callable[[Callable[Concatenate[PageState, _P], None]], Callable[_P, None]]:
    """Return a decorator for widget callbacks: adds this tab's state as first argument, clears its note, and reports
    errors as a note in that area.
    """

    def decorate(action: Callable[Concatenate[PageState, _P], None]) -> Callable[_P, None]:
        @wraps(action)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
            page = callback_state()
            with page.lock:
                page.note = None
                try:
                    action(page, *args, **kwargs)
                except Img2VidError as error:
                    page.note = Note("error", formatting.sentence(error), place=place)
                except Exception as error:  # unexpected exceptions must not stop the page
                    log.exception("A callback failed")
                    page.note = Note("error", _unexpected(error), traceback.format_exc(), place)
                page.handled += 1

        return run

    return decorate


@contextmanager
def report_drawing_errors(part: str) -> Generator[None, None, None]:
    """Show errors in place of a part of the page, so that the other parts are still drawn."""
    try:
        yield
    except DamagedStore:  # the frame of the page says what is wrong
        st.caption("Not available until the job database is rebuilt.")
    except Img2VidError as error:
        st.error(formatting.message(error))
    except Exception as error:  # unexpected exceptions must not stop the page
        log.exception("%s could not be drawn", part)
        _draw_note(Note("error", f"{part} could not be shown. {_unexpected(error)}", traceback.format_exc()))


def poll(
    name: str, draw: Callable[[], None], seen: object, snapshot: Callable[[], object], every: float | None
) -> None:
    """Draw a part of the page, and again every `every` seconds; rerun the page when `snapshot` differs from `seen`, or
    when a callback has ended since the page was drawn.

    name: the part, for messages about errors.

    The page is not rerun while it is still being drawn: Streamlit deletes the videos and images that an interrupted run
    has not reached, although the browser still shows them.
    """
    drawn = False

    def part() -> None:
        nonlocal drawn
        with report_drawing_errors(name):
            if drawn and (snapshot() != seen or _is_outdated()):
                st.rerun()
            drawn = True
            draw()

    st.fragment(part, run_every=every)()


def _is_outdated() -> bool:
    page = cast("PageState | None", st.session_state.get(_KEY))
    return page is not None and page.drawn != page.handled


def show_note(page: PageState, place: MessageArea) -> None:
    """Show the page's note if it belongs to this area."""
    if page.note is not None and page.note.place == place:
        _draw_note(page.note)


def _draw_note(note: Note) -> None:
    if note.kind == "error":
        st.error(formatting.with_code(note.text))
    else:
        mark = ":green[:material/check_circle:]" if note.kind == "done" else ":blue[:material/info:]"
        st.caption(f"{mark} {formatting.with_code(note.text)}")
    details_box(note.details)


def details_box(details: str) -> None:
    """Draw technical details, if any, in a closed expander."""
    if details:
        with st.expander("Details"):
            st.code(details, language=None, wrap_lines=True)


def _unexpected(error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"Unexpected error: {type(error).__name__}{f', {reason}' if reason else ''}."
