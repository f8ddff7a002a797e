"""Unexpected errors and disk errors on the page."""

from pathlib import Path

import pytest
from driving import PHOTO, Open, caption, drop, said
from fake_service import FakeService

from img2vid.jobs.store import Store
from img2vid.ui import tabs
from img2vid.ui.sample import page as sample_page
from img2vid.ui.sample import start


def broken(*_: object) -> None:
    raise RuntimeError("an\nerror")


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
    assert "img2vid.sqlite cannot be used" in said(page.error)
    assert page.number_input(key="fps").value == 6
    assert "Traceback" not in said(page.error)


def test_a_full_disk_is_reported_and_the_page_stays_usable(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tabs, "write", full)
    page.number_input(key="fps").set_value(9).run()
    assert "Cannot save your settings (No space left on device)" in said(page.error)
    assert page.number_input(key="fps").value == 9


def test_a_new_checkpoint_is_detected(open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from img2vid.ui.sample import activity

    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(tmp_path))
    page = drop(open_page(), PHOTO)
    page.selectbox(key="version").set_value("svd").run()
    state = page.session_state["page"]
    assert page.button(key="sample").disabled
    assert activity.snapshot(state) == state.seen
    (tmp_path / "svd.safetensors").write_bytes(b"weights")
    assert activity.snapshot(state) != state.seen
    page.run()
    assert not page.button(key="sample").disabled
    assert "not installed" not in caption(page).lower()
