"""The Compare page: svd_tiny and svd_tiny_xt on a photo, from Run to two clips that play in step."""

import csv
import json
import re
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from dashboard import Dashboard, until
from playwright.sync_api import Locator, expect
from visitor import OVERHANG, Visit, Visitor

from img2vid.gallery.entries import Entries
from img2vid.media.videos import read_frames, read_metadata

IN_STEP = 0.05
"""Maximum median distance between playing clips in seconds; a busy computer skips frames for a moment."""
AT_REST = 0.0021
"""Tolerated offset of paused clips in seconds: a shorter one holds its last frame just before its end."""
SAMPLES = 120
MAKING = 240_000
"""Timeout in milliseconds for two videos on a busy machine."""
OF_ALL = "[...document.querySelectorAll('.st-key-compare_clips video')]"

LOOK = f"{OF_ALL}.map(video => ({{at: video.currentTime, length: video.duration, moves: !video.paused}}))"
LISTEN = f"""
(wanted) => new Promise((resolve) => {{
    const seen = []
    const look = () => {{
        seen.push({LOOK})
        seen.length < wanted ? setTimeout(look, 45) : resolve(seen)
    }}
    look()
}})
"""
"""JavaScript: samples the state of all clips repeatedly."""
PLAY = f"() => {OF_ALL}.length === 2 && {OF_ALL}.every(video => video.readyState >= 2 && video.played.length)"
REST = f"() => {OF_ALL}.every(video => video.paused && !video.seeking && video.readyState >= 2)"
BRIGHTEST = """
canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
    .reduce((most, value, index) => index % 4 < 3 ? Math.max(most, value) : most, 0)
"""


class Clips:
    """Clips and player on a visitor's page."""

    def __init__(self, visitor: Visitor) -> None:
        self.page = visitor.page
        self.player: Locator = self.page.get_by_role("group", name="Player of all clips")

    def wait_until_they_play(self) -> None:
        self.page.wait_for_function(PLAY, timeout=MAKING)

    def seen(self, samples: int = SAMPLES) -> list[list[dict[str, Any]]]:
        """Return samples of all clips while they play."""
        return self.page.evaluate(LISTEN, samples)

    def at_rest(self) -> tuple[float, float]:
        """Return the times at which both clips are paused, in seconds."""
        self.page.wait_for_function(REST)
        one, other = self.page.evaluate(f"() => {LOOK}")
        return one["at"], other["at"]

    @property
    def lengths(self) -> tuple[float, float]:
        one, other = self.page.evaluate(f"() => {LOOK}")
        return one["length"], other["length"]

    def press(self, name: str) -> None:
        self.player.get_by_role("button", name=name, exact=True).click()


def apart(seen: list[list[dict[str, Any]]], *, stretched: bool) -> float:
    """Return the median distance in seconds of the shorter clip from where it belongs."""
    distances: list[float] = []
    for shorter, longer in seen:
        belongs = longer["at"] * shorter["length"] / longer["length"] if stretched else longer["at"]
        distances.append(abs(shorter["at"] - min(belongs, shorter["length"])))
    return median(distances)


def restarts(seen: list[list[dict[str, Any]]], clip: int) -> bool:
    return any(after[clip]["at"] < before[clip]["at"] - 0.5 for before, after in pairwise(seen))


def open_compare(visitor: Visitor) -> None:
    visitor.page.get_by_role("link", name="Compare", exact=True).click()
    expect(visitor.page.locator(".st-key-compare_start")).to_be_visible()


def run_both(visitor: Visitor) -> Clips:
    """Run two clips with few steps from the Sample page's settings and wait until they play."""
    visitor.ready_with({"H": 64, "W": 96, "steps": 2, "seed": 7})
    open_compare(visitor)
    first, second = (visitor.page.locator(f".st-key-column_{index}") for index in range(2))
    expect(first.get_by_role("spinbutton", name="steps", exact=True)).to_have_value("2")
    expect(second.get_by_role("combobox", name="≠ Model Version")).to_have_value("svd_tiny_xt")
    steps = second.get_by_role("spinbutton", name="≠ steps")
    steps.fill("3")
    steps.press("Enter")
    until(lambda: kept(visitor).get("touched"), "3 steps")
    visitor.picture("compare_before")
    visitor.press("Run both")
    clips = Clips(visitor)
    clips.wait_until_they_play()
    return clips


def reused_clips(visitor: Visitor, dashboard: Dashboard) -> Clips:
    """Return the two clips, which only the first test makes; a new tab starts as a copy of the last one."""
    if not dashboard.store().jobs():
        return run_both(visitor)
    open_compare(visitor)
    clips = Clips(visitor)
    clips.wait_until_they_play()
    return clips


def kept(visitor: Visitor) -> dict[str, Any]:
    """Return the page's state on disk."""
    file = visitor.home / "tabs" / f"{visitor.tab}.json"
    return json.loads(file.read_text(encoding="utf-8"))["pages"].get("compare", {})


def test_one_press_on_run_leads_to_clips_that_play_in_step(visit: Visit, dashboard: Dashboard, tmp_path: Path) -> None:
    visitor = visit()
    clips = reused_clips(visitor, dashboard)
    _playing(clips)
    _acting_on_all(clips)
    _measured(visitor, dashboard)
    _composite(visitor, tmp_path)
    clips.press("Difference map")
    canvas = visitor.page.get_by_role("img", name="Difference map")
    until(lambda: canvas.evaluate(BRIGHTEST) > 8, "a difference between the clips")
    expect(clips.player.get_by_text(re.compile(r"^mean difference \d+\.\d of 255$"))).to_be_visible()
    visitor.picture("compare_done")
    assert visitor.page.evaluate(OVERHANG) == 0


def _playing(clips: Clips) -> None:
    clips.player.get_by_role("radio", name="Align by time").click()
    clips.page.wait_for_function(f"() => {OF_ALL}.every(video => !video.paused)")
    short, long = clips.lengths
    assert (round(short * 6), round(long * 6)) == (14, 25)
    seen = clips.seen()
    assert apart(seen, stretched=False) <= IN_STEP
    assert restarts(seen, 1), "the longer clip never restarted"
    assert any(one["at"] > short - 0.01 and other["at"] < long - 0.5 for one, other in seen), "none was held"
    clips.player.get_by_role("radio", name="Stretch by frame").click()
    clips.page.wait_for_function(f"() => {OF_ALL}.every(video => !video.paused)")
    seen = clips.seen()
    assert apart(seen, stretched=True) <= IN_STEP
    assert restarts(seen, 0) and restarts(seen, 1)
    clips.player.get_by_role("radio", name="Align by time").click()
    clips.page.wait_for_function(f"() => {OF_ALL}.every(video => !video.paused)")


def _acting_on_all(clips: Clips) -> None:
    """Test pause, frame step and seek by button, keyboard and a click on a clip."""
    short, _ = clips.lengths
    clips.press("Pause")
    one, other = clips.at_rest()
    assert abs(one - min(other, short)) <= AT_REST
    moment = clips.player.get_by_role("slider", name="Position")
    moment.fill("0.18")
    one, other = clips.at_rest()
    assert one == other and abs(one - 0.18 * 25 / 6) < 0.01
    for act, frame in ((lambda: clips.press("Next frame"), 6), (lambda: clips.press("Previous frame"), 5)):
        act()
        expect(clips.player.get_by_text(f"frame {frame} of 25")).to_be_visible()
        one, other = clips.at_rest()
        assert one == other and abs(one - (frame - 0.5) / 6) < AT_REST
    clips.player.focus()
    clips.page.keyboard.press("ArrowLeft")
    expect(clips.player.get_by_text("frame 4 of 25")).to_be_visible()
    assert len({*clips.at_rest()}) == 1
    clips.page.keyboard.press("Space")
    clips.page.wait_for_function(f"() => {OF_ALL}.every(video => !video.paused)")
    clips.page.locator(".st-key-compare_clips video").first.click()
    one, other = clips.at_rest()
    assert abs(one - min(other, short)) <= AT_REST
    clips.page.locator(".st-key-compare_clips video").first.dblclick()
    clips.page.wait_for_function("() => document.fullscreenElement?.tagName === 'VIDEO'")
    clips.page.evaluate("() => document.exitFullscreen()")
    clips.page.wait_for_function("() => !document.fullscreenElement")


def _measured(visitor: Visitor, dashboard: Dashboard) -> None:
    """Check that the table is complete and the CSV file agrees with it."""
    until(lambda: all(entry.measurement for entry in Entries(dashboard.store()).find()), "measurements of both videos")
    expect(visitor.text("Measuring.")).to_have_count(0)
    expect(visitor.page.get_by_test_id("stVegaLiteChart")).to_have_count(4)
    entries = Entries(dashboard.store()).find()[::-1]
    cells = visitor.page.get_by_test_id("stDataFrame").locator("[role=gridcell]")
    expect(cells).to_have_count(20)
    texts = cells.all_text_contents()
    for entry, row in zip(entries, (texts[:10], texts[10:]), strict=True):
        assert entry.measurement is not None and entry.measurement.psnr is not None
        assert row[0].startswith(entry.settings.version)
        assert "" not in row and float(row[4]) == pytest.approx(entry.measurement.psnr)
        assert float(row[3]) == pytest.approx(entry.measurement.mean_motion)
    rows = list(csv.DictReader(visitor.download("CSV").path().read_text(encoding="utf-8-sig").splitlines()))
    assert [row["version"] for row in rows] == ["svd_tiny", "svd_tiny_xt"]


def _composite(visitor: Visitor, folder: Path) -> None:
    for name, length in (("Side by side", 25), ("Wipe", 100)):
        download = visitor.download(name)
        path = folder / download.suggested_filename
        download.save_as(path)
        frames = read_frames(path)
        assert len(frames) >= length if name == "Wipe" else len(frames) == length
        assert frames.std() > 10
        assert [video["settings"]["version"] for video in read_metadata(path)["videos"]] == ["svd_tiny", "svd_tiny_xt"]


def test_a_reload_shows_the_same_and_what_is_there_is_not_made_again(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit()
    clips = reused_clips(visitor, dashboard)
    visitor.wait_for("All clips are already made or queued.")
    visitor.press("Run both")
    visitor.wait_for("Reused: dogs_svd_tiny_xt_seed7.mp4")
    assert len(dashboard.store().jobs()) == 2
    clips.player.get_by_role("radio", name="Stretch by frame").click()
    until(lambda: kept(visitor).get("align") == "stretch", "the alignment")
    visitor.page.reload()
    clips.wait_until_they_play()
    expect(clips.player.get_by_role("radio", name="Stretch by frame")).to_have_attribute("aria-checked", "true")
    assert apart(clips.seen(SAMPLES // 3), stretched=True) <= IN_STEP
