"""The Gallery and System pages in a browser: two videos from their making to a zip, diagnostics in the clipboard."""

import zipfile

from dashboard import Dashboard, until
from playwright.sync_api import expect
from visitor import OVERHANG, SMALL, Visit, Visitor

from img2vid.gallery.entries import Entries


def card(seed: int) -> str:
    """The button that opens a video."""
    return f"svd_tiny, seed {seed}"


def to_page(visitor: Visitor, name: str) -> None:
    visitor.page.wait_for_load_state("networkidle")
    visitor.page.get_by_role("link", name=name).click()


def test_from_two_videos_to_a_zip_and_back_to_sample(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit().ready_with({**SMALL, "motion bucket id": 61})
    for seed in (301, 302):
        visitor.set({"seed": seed})
        visitor.press("Sample")
        visitor.wait_for_result(seed)
    to_page(visitor, "Gallery")
    expect(visitor.page.locator("[class*=st-key-card_]")).to_have_count(2)
    visitor.picture("gallery")
    in_a_narrow_window(visitor)
    entries = Entries(dashboard.store())
    rated(visitor, entries)
    deleted_and_back(visitor, entries)
    exported(visitor, entries)

    visitor.press(card(301))
    visitor.press("Use these settings")
    expect(visitor.number("seed")).to_have_value("301")
    expect(visitor.number("motion bucket id")).to_have_value("61")
    expect(visitor.input).to_be_visible()
    expect(visitor.button("Sample")).to_be_enabled()
    # A picture that the browser still asks for when its page is left may be gone by then; nobody sees it any more.
    visitor.complaints = [text for text in visitor.complaints if "404" not in text]


def in_a_narrow_window(visitor: Visitor) -> None:
    """Nothing is wider than the window."""
    visitor.page.set_viewport_size({"width": 400, "height": 800})
    visitor.picture("gallery_narrow")
    assert visitor.page.evaluate(OVERHANG) == 0
    visitor.page.set_viewport_size({"width": 1280, "height": 800})


def rated(visitor: Visitor, entries: Entries) -> None:
    """A video gets four stars; after a reload it is open and rated as before, and found by its rating."""
    visitor.press(card(301))
    expect(visitor.page.locator(".st-key-entry_measured").get_by_test_id("stDataFrame")).to_be_visible()
    visitor.played()
    visitor.picture("gallery_entry")
    visitor.page.get_by_test_id("stFeedback").get_by_role("radio").nth(3).click(force=True)
    until(lambda: [entry.rating for entry in entries.find()] == [0, 4], "the rating")
    visitor.page.reload()
    expect(visitor.video).to_be_visible()
    visitor.wait_for("your rating")
    visitor.press("All videos")
    visitor.choose("Rating", "★★★ or more")
    expect(visitor.button(card(302))).to_have_count(0)
    expect(visitor.button(card(301))).to_be_visible()


def deleted_and_back(visitor: Visitor, entries: Entries) -> None:
    """What is found is deleted, and comes back with Undo."""
    video = entries.find()[1].result.video
    visitor.press("Choose this page")
    visitor.wait_for("1 chosen")
    visitor.press("Delete")
    visitor.wait_for("1 video deleted.")
    assert not video.exists()
    visitor.press("Undo")
    visitor.wait_for("1 video brought back.")
    assert video.is_file()


def exported(visitor: Visitor, entries: Entries) -> None:
    """Both are in the zip that the browser gets."""
    visitor.press("Clear filters")
    expect(visitor.button(card(302))).to_be_visible()
    visitor.press("Choose this page")
    visitor.wait_for("2 chosen")
    visitor.page.wait_for_load_state("networkidle")  # the page is drawn to its end: a press before may miss the button
    visitor.press("Export as zip")
    with visitor.page.expect_download() as download:
        visitor.press("Download")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None and "measurements.csv" in archive.namelist()
        for entry in entries.find():
            for path in (entry.result.video, entry.result.still, entry.result.sidecar):
                assert archive.read(path.name) == path.read_bytes()


def test_diagnostics_are_copied_with_one_click_and_hold_nothing_private(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit()
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=dashboard.url)
    to_page(visitor, "System")
    visitor.wait_for("checks")  # the doctor has looked
    visitor.picture("system")
    visitor.press("Copy diagnostics")
    expect(visitor.button("Copied")).to_be_visible()
    text = visitor.page.evaluate("() => navigator.clipboard.readText()")
    assert "streamlit==" in text and "What the doctor says" in text and "torch" in text
    assert str(dashboard.home) not in text and str(dashboard.checkpoints) not in text
    visitor.page.set_viewport_size({"width": 400, "height": 800})
    visitor.picture("system_narrow")
    assert visitor.page.evaluate(OVERHANG) == 0
