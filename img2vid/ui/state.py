"""What the page knows of its tab: the controls, which are the truth that widgets only show, and what to tell the user.

Widgets take their values from here before they are drawn and put the user's changes back in a callback, so that nothing
depends on which of them happen to be drawn. Every change is written to disk at once.
"""

import logging
import os
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, cast

import streamlit as st

from img2vid.errors import Img2VidError
from img2vid.settings import SampleSettings
from img2vid.ui import formatting, tabs
from img2vid.ui.tabs import Picture, Tab
from img2vid.versions import ModelVersion, load_versions

log = logging.getLogger(__name__)

MessageArea = Literal["input", "sample", "compare", "sweeps", "gallery", "models", "system"]
"""Beside which part of the page a note stands: where the user looked when it came about."""
Target = Literal["", "sample", "compare"]
"""Pages that another page may go to."""
ADDRESS = "tab"
"""The parameter of the page's address that names the tab."""
DISMISSED = 200
"""Jobs that are remembered as dismissed; older ones are not looked at any more."""
_KEY = "page"


@dataclass(frozen=True)
class Note:
    """What the last thing that the user did came to."""

    kind: Literal["done", "info", "error"]
    text: str
    details: str = ""
    place: MessageArea = "sample"


@dataclass
class PageState:
    """One tab, as long as it is open."""

    name: str
    tab: Tab
    versions: dict[str, ModelVersion]
    note: Note | None = None
    target_page: Target = ""
    """The page that is to be shown in place of this one."""
    uploads: int = 0
    """How many files were dropped; the drop zone is a new one after each."""
    seen: object = None
    """What the page was drawn from; when that changes, it is drawn again."""
    ticked: bool = False
    """What Load Model shows."""
    widget_generation: int = 0
    """How often that has changed by itself; then the box is a new one, as `load_model_key` says."""
    unloading: bool = False
    """Whether it was unticked, and the model is not gone yet."""
    deferred: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Actions that run once the callbacks of all widgets have run."""

    @property
    def version(self) -> ModelVersion:
        """The chosen model version."""
        return self.versions[self.tab.controls["version"]]

    @property
    def load_model_key(self) -> str:
        """The key of the box of Load Model.

        With every click the browser sends what all boxes hold as it knows them. A model that was loaded a moment ago
        would be let go of again, because the browser had not heard yet that the box had ticked itself. What is told of
        an old box is not heeded.
        """
        return f"load_model_{self.widget_generation}"

    def settings(self) -> SampleSettings:
        """The controls as settings; raises BadInput where they do not fit together."""
        return self.version.settings(self.tab.controls)

    def save(self) -> None:
        """Writes the tab to disk; a disk that is full is told, and the page goes on."""
        try:
            tabs.write(self.name, self.tab)
        except OSError as error:
            log.warning("The tab cannot be kept: %s", error)
            self.note = Note("error", f"What you set cannot be kept on disk ({error.strerror}); is it full?")

    def set(self, **values: Any) -> None:
        """Changes controls."""
        self.tab.controls.update(values)
        self.save()

    def set_picture(self, picture: Picture | None) -> None:
        """Changes the input."""
        self.tab.picture = picture
        self.save()

    def set_choice(self, **values: Any) -> None:
        """Changes how the model is run."""
        self.tab.choice = replace(self.tab.choice, **values)
        self.save()

    def show(self, job_id: str) -> None:
        """Shows a job's result, or the newest for an empty id."""
        self.tab.shown = job_id
        self.save()

    def dismiss(self, job_id: str) -> None:
        """Says no more about a job that did not finish."""
        self.tab.dismissed = (*self.tab.dismissed, job_id)[-DISMISSED:]
        self.save()


def current() -> PageState:
    """The state of this tab; at its first use after a reload what was kept on disk. Raises ConfigError."""
    versions = load_versions()
    page = cast("PageState | None", st.session_state.get(_KEY))
    if page is None:
        page = st.session_state[_KEY] = _open(versions)
    page.versions = versions
    if page.tab.controls["version"] not in versions:  # its row was taken out while the page was open
        page.tab = tabs.fresh(versions)
    if st.query_params.get(ADDRESS) != page.name:
        st.query_params[ADDRESS] = page.name
    while page.deferred:
        page.deferred.pop(0)()
    return page


def after_entry(action: Callable[[], None]) -> Callable[[], None]:
    """Return a button's callback that runs an action after the callbacks of all other widgets.

    When a value and a click arrive together, Streamlit calls callbacks in no useful order: the click may come first,
    and the action would see the value from before.
    """
    return partial(_defer, action)


def _defer(action: Callable[[], None]) -> None:
    callback_state().deferred.append(action)


def callback_state() -> PageState:
    """The state of this tab, for callbacks.

    Where the user has already done the next thing, Streamlit ends a callback at its first look into the session, and
    never calls it again: what was entered would be lost. The one look at which it does not is that at all of it.
    """
    return cast(PageState, st.session_state.to_dict()[_KEY])


def widget_value(key: str) -> Any:
    """What a widget holds, or None where there is no such widget; for callbacks, for the same reason."""
    return st.session_state.to_dict().get(key)


def set_widget(key: str, value: Any, unset: Any = None) -> Any:
    """Makes a widget show a value, before it is drawn; returns what it is to be given as its own default.

    It is told only where it shows another value: one that is told anew forgets what is being typed into it. A browser
    that missed the telling, because the page was changed at that moment, begins with the default, and sends that with
    the next click as if the user had chosen it. So the default is the value, but for the one time when the widget is
    told, where Streamlit wants its own, `unset`.
    """
    if st.session_state.get(key) == value:
        return value
    st.session_state[key] = value
    return unset


def _open(versions: dict[str, ModelVersion]) -> PageState:
    asked = st.query_params.get(ADDRESS)
    name = asked if asked is not None and tabs.is_name(asked) else tabs.new_name()
    provider = os.environ.get("IMG2VID_ENGINE") or "auto"
    tab = tabs.read(name, versions) or tabs.newest(versions) or tabs.fresh(versions, provider)
    return PageState(name, tab, versions)


@contextmanager
def report_errors(page: PageState, place: MessageArea = "sample") -> Generator[None, None, None]:
    """For callbacks: what goes wrong in the block is told on the page, and nothing is lost."""
    page.note = None
    try:
        yield
    except Img2VidError as error:
        page.note = Note("error", formatting.sentence(error), place=place)
    except Exception as error:  # the outermost place on the page's side
        log.exception("An action of the page failed")
        page.note = Note("error", _unforeseen(error), traceback.format_exc(), place)


@contextmanager
def report_drawing_errors(what: str) -> Generator[None, None, None]:
    """For parts of the page: one that cannot be drawn says so and leaves the others alone."""
    try:
        yield
    except Img2VidError as error:
        st.error(formatting.sentence(error))
    except Exception as error:  # the outermost place on the page's side
        log.exception("%s could not be drawn", what)
        show_note(Note("error", f"{what} could not be shown. {_unforeseen(error)}", traceback.format_exc()))


def show_note(note: Note | None) -> None:
    """A short sentence; what only helps who mends the program is folded away."""
    if note is None:
        return
    if note.kind == "error":
        st.error(formatting.plain(note.text))
    else:
        mark = ":green[:material/check_circle:]" if note.kind == "done" else ":blue[:material/info:]"
        st.caption(f"{mark} {formatting.plain(note.text)}")
    if note.details:
        with st.expander("Details"):
            st.code(note.details, language=None, wrap_lines=True)


def _unforeseen(error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"Something unforeseen happened: {type(error).__name__}{f', {reason}' if reason else ''}."
