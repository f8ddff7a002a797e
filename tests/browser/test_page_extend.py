"""A video extended by three links in the browser, also when the dashboard is killed in between."""

from pathlib import Path

from dashboard import Dashboard, until
from playwright.sync_api import expect
from visitor import OVERHANG, SMALL, Visit, Visitor

from img2vid.jobs.job import State
from img2vid.media.videos import read_frames, read_metadata

LOOKS = [(width, colors) for width in (1280, 820, 390) for colors in ("light", "dark")]
"""Window widths and color schemes of the screenshots."""


def made(visit: Visit, seed: int) -> Visitor:
    visitor = visit().ready_with({**SMALL, "seed": seed})
    visitor.press("Sample")
    visitor.wait_for_result(seed)
    return visitor


def extend_by_three(visitor: Visitor) -> None:
    visitor.press("Several links")
    expect(visitor.number("Links")).to_have_value("3")
    visitor.number("Motion of link 2").fill("60")
    visitor.number("Motion of link 2").press("Enter")
    visitor.press("Extend by 3")
    expect(visitor.button("Extend by 3")).to_have_count(0)  # it closes


def joined(visitor: Visitor, home: Path) -> Path:
    """Wait until the page shows the joined clip of four parts, and return its file."""
    visitor.wait_for("Extended clip of 4 parts")
    box = visitor.page.locator(".st-key-extended")
    expect(box.locator("video")).to_be_visible()
    expect(box.get_by_text("· sharpness")).to_have_count(4)
    return max((home / "joined").glob("*.mp4"), key=lambda path: path.stat().st_mtime_ns)


def test_three_links(visit: Visit, dashboard: Dashboard) -> None:
    visitor = made(visit, 601)
    extend_by_three(visitor)
    path = joined(visitor, dashboard.home)
    assert len(read_frames(path)) == 3 + 3 * 2
    rows = read_metadata(path)["parts"]
    assert [row["settings"]["seed"] for row in rows] == [601, 602, 603, 604]
    assert rows[2]["settings"]["motion_bucket_id"] == 60
    for width, colors in LOOKS:
        visitor.page.set_viewport_size({"width": width, "height": 900})
        visitor.page.emulate_media(color_scheme="dark" if colors == "dark" else "light")
        assert visitor.page.evaluate(OVERHANG) == 0
        visitor.picture(f"extended_{width}_{colors}")
    visitor.reload()
    joined(visitor, dashboard.home)
    visitor.tick("Match colors to the first frame")
    until(lambda: read_metadata(joined(visitor, dashboard.home))["colors_matched"], "the matched clip")
    visitor.press("Part 2, seed 602")
    visitor.wait_for("Extended clip of 2 parts")


def test_links_go_on_after_a_kill(visit: Visit, dashboard: Dashboard) -> None:
    visitor = made(visit, 621)
    store = dashboard.store()
    dashboard.hold("sample", 1)
    extend_by_three(visitor)
    until(lambda: store.jobs(states=[State.RUNNING]), "the start of the first link")
    visitor.expects_to_lose_the_server = True
    dashboard.kill()
    dashboard.release()
    dashboard.start()
    visitor.reload()
    visitor.wait_for("The program ended while the job was running; run it again.")
    until(lambda: not store.queue(), "the end of the links that continue it")
    expect(visitor.button("Run again")).to_have_count(1)
    visitor.picture("extended_killed")
    visitor.press("Run again")
    assert len(read_frames(joined(visitor, dashboard.home))) == 3 + 3 * 2
    expect(visitor.button("Run again")).to_have_count(0)
