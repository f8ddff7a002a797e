"""Callbacks, and unexpected errors and disk errors on the page."""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
from driving import PHOTO, Open, caption, drop, said, selectbox
from fake_service import FakeService

from img2vid.errors import BadInput
from img2vid.jobs.store import Store
from img2vid.ui import state, tabs
from img2vid.ui.sample import activity, start
from img2vid.ui.sample import page as sample_page
from img2vid.ui.state import Note, PageState, after_entry, callback
from img2vid.versions import ModelVersion, load_versions


def broken(*_: object) -> None:
    raise RuntimeError("an\nerror")


class Session:
    """Session after a new event, for callbacks: only `to_dict` may be called."""

    def __init__(self, **values: object) -> None:
        self._values = values

    def to_dict(self) -> dict[str, object]:
        return self._values


@pytest.fixture
def tab(home: Path, monkeypatch: pytest.MonkeyPatch) -> PageState:
    """Return a tab with a note, whose session callbacks may only read whole."""
    versions = load_versions()
    page = PageState("0123456789ab", tabs.fresh(versions), versions, Note("done", "An earlier note."))
    monkeypatch.setattr(state.st, "session_state", Session(page=page))
    return page


def test_a_callback_gets_the_tab_and_its_arguments_and_clears_the_note(tab: PageState) -> None:
    given: list[object] = []

    @callback("compare")
    def act(page: PageState, index: int, *, name: str) -> None:
        given.extend((page, page.note, index, name))

    act(3, name="fps")
    assert given == [tab, None, 3, "fps"]
    assert tab.note is None


def test_a_page_is_drawn_after_a_callback_that_still_runs(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page()
    drawing, running, ended = Event(), Event(), Event()
    tab = page.session_state["page"]

    def versions() -> dict[str, ModelVersion]:
        drawing.set()
        return load_versions()

    @callback("sample")
    def act(tab: PageState) -> None:
        running.set()
        drawing.wait(60)
        ended.wait(1)  # never set: the page has time to be drawn with the old value
        tab.set(fps=9)

    monkeypatch.setattr(state, "load_versions", versions)
    monkeypatch.setattr(state, "callback_state", lambda: tab)
    thread = Thread(target=act)
    thread.start()
    assert running.wait(60)
    page.run()
    thread.join()
    assert page.number_input(key="fps").value == 9


def test_what_a_callback_changes_after_the_page_was_drawn_is_drawn(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two callbacks of one event, the second may run while the page is drawn for the next event."""
    tab = open_page().session_state["page"]
    parts, reruns = list[Callable[[], None]](), list[None]()

    def fragment(part: Callable[[], None], run_every: float) -> Callable[[], None]:
        parts.append(part)
        return part

    monkeypatch.setattr(state, "callback_state", lambda: tab)
    monkeypatch.setattr(state.st, "session_state", {"page": tab})
    monkeypatch.setattr(state.st, "fragment", fragment)
    monkeypatch.setattr(state.st, "rerun", lambda: reruns.append(None))
    state.poll("The part", lambda: None, 0, lambda: 0, 1.0)
    parts[0]()
    assert reruns == []
    callback("sample")(lambda page: page.set(fps=9))()
    parts[0]()
    assert len(reruns) == 1


def test_a_note_of_a_callback_stays(tab: PageState) -> None:
    note = Note("info", "Cancelled.", place="models")

    @callback("models")
    def act(page: PageState) -> None:
        page.note = note

    act()
    assert tab.note is note


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BadInput("there is no input; add an image first"), "There is no input; add an image first."),
        (RuntimeError("an\nerror"), "Unexpected error: RuntimeError, an error."),
    ],
)
def test_an_error_in_a_callback_becomes_a_note_in_its_area(tab: PageState, error: Exception, text: str) -> None:
    @callback("gallery")
    def act(_: PageState) -> None:
        raise error

    act()
    assert tab.note is not None
    assert (tab.note.kind, tab.note.text, tab.note.place) == ("error", text, "gallery")
    assert ("Traceback" in tab.note.details) is isinstance(error, RuntimeError)


def test_a_deferred_callback_runs_later_and_keeps_the_note_until_then(tab: PageState) -> None:
    @callback("sample")
    def act(page: PageState) -> None:
        page.set(fps=9)

    after_entry(act)()
    assert tab.note is not None
    assert tab.tab.controls["fps"] == 6
    tab.deferred.pop()()
    assert tab.note is None
    assert tab.tab.controls["fps"] == 9


def test_an_error_in_one_part_leaves_the_others_intact(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_page, "result_box", broken)
    page = open_page()
    assert said(page.error) == ("The result could not be shown. Unexpected error: RuntimeError, an error.")
    details = next(box for box in page.expander if box.label == "Details")
    assert "Traceback" in details.code[0].value
    drop(page, PHOTO)
    assert not page.button(key="sample").disabled


def test_an_unexpected_error_in_a_callback_is_one_sentence(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    page = drop(open_page(), PHOTO)
    with monkeypatch.context() as patched:
        patched.setattr(start, "submit", broken)
        page.button(key="sample").click().run()
    assert said(page.error) == "Unexpected error: RuntimeError, an error."
    assert next(box for box in page.expander if box.label == "Details").code
    page.number_input(key="fps").set_value(7).run()
    assert not page.error


def test_an_unreadable_store_is_reported_in_a_sentence(open_page: Open, service: FakeService, tmp_path: Path) -> None:
    page = open_page()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "img2vid.sqlite").write_text("no database at all, but long enough to be looked at" * 40)
    service.store.close()
    service.store = Store(tmp_path / "broken" / "img2vid.sqlite")
    page.run()
    assert "img2vid.sqlite cannot be used" in said(page.warning)
    assert page.number_input(key="fps").value == 6
    assert "Traceback" not in said(page.error)


def test_a_full_disk_is_reported_and_the_page_stays_usable(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tabs, "write", full)
    page.number_input(key="fps").set_value(9).run()
    assert "Cannot save your settings (the disk is full)" in said(page.error)
    assert page.number_input(key="fps").value == 9


def test_a_new_checkpoint_is_detected(open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(tmp_path))
    page = drop(open_page(), PHOTO)
    selectbox(page, "Model Version").set_value("svd").run()
    state = page.session_state["page"]
    assert page.button(key="sample").disabled
    before = activity.snapshot(state)
    (tmp_path / "svd.safetensors").write_bytes(b"weights")
    assert activity.snapshot(state) != before
    page.run()
    assert not page.button(key="sample").disabled
    assert "not installed" not in caption(page).lower()


def test_a_checkpoint_added_while_the_page_is_drawn_is_detected(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def report_missing_then_add(version: ModelVersion) -> None:
        missing_box(version)
        (tmp_path / "svd.safetensors").write_bytes(b"weights")

    def record(_name: str, _draw: object, seen: object, snapshot: Callable[[], object], _every: float) -> None:
        polled.append((seen, snapshot()))

    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(tmp_path))
    page = open_page()
    selectbox(page, "Model Version").set_value("svd").run()
    missing_box, polled = sample_page.missing_box, list[tuple[object, object]]()
    monkeypatch.setattr(sample_page, "missing_box", report_missing_then_add)
    monkeypatch.setattr(activity, "poll", record)
    page.run()
    ((seen, now),) = polled
    assert seen != now
