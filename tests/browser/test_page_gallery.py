"""The Gallery and System pages in a browser: two videos from Sample to a zip, and copied diagnostics."""

import re
import zipfile

from dashboard import Dashboard, until
from playwright.sync_api import Route, expect
from visitor import OVERHANG, PLAYED, SMALL, Visit, Visitor

from img2vid.gallery.entries import Entries

ADDED_AGAIN = """
() => {
    const video = document.querySelector('video')
    const again = video.cloneNode()
    again.removeAttribute('autoplay')
    again.muted = true
    video.replaceWith(again)
}
"""
"""JavaScript: what Streamlit does with a video if the page is drawn twice in quick succession."""


def card(seed: int) -> str:
    """Return the label of the button that opens a video."""
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
    hover = visitor.page.locator("video[data-hover]")
    visitor.page.locator("[class*=st-key-card_] img").first.hover()
    expect(hover).to_have_count(1)
    visitor.page.wait_for_function("() => document.querySelector('video[data-hover]').played.length > 0")
    visitor.page.mouse.move(0, 0)
    expect(hover).to_have_count(0)
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


def in_a_narrow_window(visitor: Visitor) -> None:
    """Check that nothing is wider than the window."""
    visitor.page.set_viewport_size({"width": 400, "height": 800})
    visitor.picture("gallery_narrow")
    assert visitor.page.evaluate(OVERHANG) == 0
    visitor.page.set_viewport_size({"width": 1280, "height": 800})


def rated(visitor: Visitor, entries: Entries) -> None:
    """Rate a video; after a reload it is still open and rated, and found by its rating."""
    visitor.press(card(301))
    expect(visitor.page.locator(".st-key-entry_measured").get_by_test_id("stDataFrame")).to_be_visible()
    visitor.played()
    visitor.picture("gallery_entry")
    visitor.page.get_by_test_id("stFeedback").get_by_role("radio").nth(3).click(force=True)
    until(lambda: [entry.rating for entry in entries.find()] == [0, 4], "the rating")
    reloaded_with_failing_media(visitor)
    visitor.wait_for("Your rating")
    visitor.page.wait_for_load_state("networkidle")
    visitor.page.evaluate(ADDED_AGAIN)
    visitor.page.wait_for_function(PLAYED)
    visitor.press("All videos")
    visitor.choose("Rating", "★★★ 3 or more")
    expect(visitor.button(card(302))).to_have_count(0)
    expect(visitor.button(card(301))).to_be_visible()


def reloaded_with_failing_media(visitor: Visitor) -> None:
    """Reload the page; each video is missing at first, as in the middle of a script run, and plays all the same."""
    missing: set[str] = set()

    def answer(route: Route) -> None:
        if route.request.url in missing:
            route.continue_()
        else:
            missing.add(route.request.url)
            route.fulfill(status=404)

    visitor.page.route("**/media/*.mp4", answer)
    visitor.page.reload()
    visitor.played()
    visitor.page.unroute("**/media/*.mp4")
    assert len(missing) == 1


def deleted_and_back(visitor: Visitor, entries: Entries) -> None:
    """Delete the filtered videos and restore them with Undo."""
    video = entries.find()[1].result.video
    visitor.press("Select page")
    visitor.wait_for("1 selected")
    visitor.press("Delete")
    visitor.wait_for("1 video deleted.")
    assert not video.exists()
    visitor.press("Undo")
    visitor.wait_for("1 video restored.")
    assert video.is_file()


def exported(visitor: Visitor, entries: Entries) -> None:
    """Export both videos and check the zip."""
    visitor.press("Clear filters")
    expect(visitor.button(card(302))).to_be_visible()
    visitor.press("Select page")
    visitor.wait_for("2 selected")
    visitor.page.wait_for_load_state("networkidle")  # a click during a rerun may miss the button
    visitor.press("Export as zip")
    with zipfile.ZipFile(visitor.download("Download").path()) as archive:
        assert archive.testzip() is None and "measurements.csv" in archive.namelist()
        for entry in entries.find():
            for path in (entry.result.video, entry.result.still, entry.result.sidecar):
                assert archive.read(path.name) == path.read_bytes()


def test_diagnostics_are_copied_with_one_click_and_hold_nothing_private(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit()
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=dashboard.url)
    to_page(visitor, "System")
    visitor.wait_for(re.compile(r"All \d+ checks"))  # the doctor has finished
    visitor.picture("system")
    visitor.press("Copy diagnostics")
    expect(visitor.button("Copied")).to_be_visible()
    text = visitor.page.evaluate("() => navigator.clipboard.readText()")
    assert "streamlit==" in text and "System checks" in text and "torch" in text
    assert str(dashboard.home) not in text and str(dashboard.checkpoints) not in text
    visitor.page.set_viewport_size({"width": 400, "height": 800})
    visitor.picture("system_narrow")
    assert visitor.page.evaluate(OVERHANG) == 0
