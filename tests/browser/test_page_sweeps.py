"""The Sweeps page in a browser: nine videos that play in step and are reused by the second run."""

import csv
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dashboard import Dashboard, until
from playwright.sync_api import expect
from visitor import OVERHANG, PHOTO, SMALL, Visit, Visitor

from img2vid import paths
from img2vid.gallery.studies import Studies
from img2vid.jobs.job import State
from img2vid.media.videos import read_frames, read_metadata

PLAYED = """
() => {
    const clips = [...document.querySelectorAll('.st-key-sweep_clips video')]
    return clips.length === 9 && clips.every((clip) => clip.readyState > 1 && clip.played.length)
}
"""
"""JavaScript: whether nine clips have begun to play."""
AT_REST = """
() => {
    const clips = [...document.querySelectorAll('.st-key-sweep_clips video')]
    const times = clips.map((clip) => clip.currentTime)
    return clips.length === 9 && clips.every((clip) => clip.paused && !clip.seeking && clip.readyState > 1)
        && Math.max(...times) - Math.min(...times) < 0.0021
}
"""
"""JavaScript: true if nine clips are paused at the same moment."""
FIRST_CLIP = "() => document.querySelector('.st-key-sweep_clips video').currentTime"


def on_sweeps(visitor: Visitor) -> Visitor:
    """Open the Sweeps page with a photo and small settings."""
    visitor.ready_with(SMALL)
    visitor.page.wait_for_load_state("networkidle")
    visitor.page.get_by_role("link", name="Sweeps").click()
    expect(visitor.button("Run 9 videos")).to_be_enabled()
    return visitor


def jobs(dashboard: Dashboard) -> int:
    return len(dashboard.store().jobs(states=[State.DONE], limit=100))


def test_nine_videos_play_in_step_and_are_made_once(visit: Visit, dashboard: Dashboard, tmp_path: Path) -> None:
    visitor = on_sweeps(visit())
    visitor.wait_for(re.compile("9 videos of 3 frames, (about .+ to make|estimate available after the first run)"))
    visitor.press("Run 9 videos")
    visitor.wait_for(re.compile(r"\d of 9 videos made"))
    visitor.picture("sweeps_running")
    clips = visitor.page.locator(".st-key-sweep_clips video")
    expect(clips).to_have_count(9)
    visitor.page.wait_for_function(PLAYED)
    visitor.wait_for(re.compile("^9 of 9 videos of dogs"))
    made = jobs(dashboard)

    visitor.press("Run 9 videos")
    visitor.wait_for(re.compile("9 reused"))
    assert jobs(dashboard) == made == 9
    newest = Studies(dashboard.store()).studies("sweep")[0]
    assert all(cell.reused for cell in newest.cells)
    assert {(cell.settings.motion_bucket_id, cell.settings.seed) for cell in newest.cells} == {
        (motion, seed) for motion in (20, 127, 255) for seed in (1, 2, 3)
    }
    visitor.page.wait_for_function(PLAYED)
    player = visitor.page.get_by_role("group", name="Player of all clips")
    player.get_by_role("button", name="Pause").click()
    visitor.page.wait_for_function(AT_REST)
    before = visitor.page.evaluate(FIRST_CLIP)
    player.get_by_role("button", name="Next frame").click()
    visitor.page.wait_for_function(f"(before) => ({AT_REST})() && ({FIRST_CLIP})() !== before", arg=before)
    player.get_by_role("button", name="Play", exact=True).click()

    _files(visitor, tmp_path)
    _cell(visitor)
    visitor.picture("sweeps")
    visitor.page.set_viewport_size({"width": 400, "height": 800})
    visitor.picture("sweeps_narrow")
    assert visitor.page.evaluate(OVERHANG) == 0
    _from_the_command_line(dashboard, tmp_path, made)


def _files(visitor: Visitor, folder: Path) -> None:
    """Check the contents of the downloads."""
    sheet = visitor.download("Contact sheet")
    video = folder / sheet.suggested_filename
    sheet.save_as(video)
    assert video.name == "dogs_sweep_motion_bucket_id_seed.mp4"
    assert len(read_frames(video)) == 3
    assert [axis["values"] for axis in read_metadata(video)["axes"]] == [[20, 127, 255], [1, 2, 3]]
    assert visitor.download("PNG").path().read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(visitor.download("CSV").path().read_text(encoding="utf-8-sig"))))
    assert len(rows) == 9 and all(float(row["motion (pixels per frame)"]) >= 0 for row in rows)


def _cell(visitor: Visitor) -> None:
    """Open a cell and use its settings on the Sample page."""
    visitor.page.locator(".st-key-sweep_open_5").get_by_role("button").click()
    visitor.wait_for("motion bucket id 255, seed 2")
    visitor.press("Use these settings")
    until(lambda: visitor.kept().get("motion_bucket_id") == 255 and visitor.kept().get("seed") == 2, "the settings")
    visitor.wait_for("Copied the settings of this video to the Sample page.")


def _from_the_command_line(dashboard: Dashboard, folder: Path, made: int) -> None:
    """Check that the command line reuses the dashboard's videos."""
    command: list[Any] = [sys.executable, "-m", "img2vid", "sweep", PHOTO, "--axis", "motion_bucket_id=20,127,255"]
    command += ["--axis", "seed=1..3", "--height", "64", "--width", "64", "--num-frames", "3", "--num-steps", "2"]
    environment = dashboard.environment()
    done = subprocess.run(
        [*map(str, command), "--out", str(folder)], cwd=paths.PROJECT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "img2vid: dogs: 9 videos, 9 reused, 0 to make\n")
    assert [Path(line).suffix for line in done.stdout.splitlines()] == [".mp4", ".png", ".csv"]
    assert jobs(dashboard) == made


@pytest.mark.usefixtures("dashboard")
def test_a_sweep_is_cancelled_and_goes_on(visit: Visit, dashboard: Dashboard) -> None:
    dashboard.hold("sample", 1)
    visitor = visit().ready_with({**SMALL, "steps": 3})
    visitor.page.wait_for_load_state("networkidle")
    visitor.page.get_by_role("link", name="Sweeps").click()
    visitor.press("Run 9 videos")
    visitor.wait_for(re.compile(r"\d of 9 videos made"))
    visitor.press("Cancel all")
    expect(visitor.page.locator(".st-key-sweep_clips").get_by_text("Cancelled").first).to_be_visible()
    again = visitor.page.get_by_role("button", name=re.compile("^Run .+ missing videos?$"))
    expect(again).to_be_visible()
    again.click()
    visitor.wait_for(re.compile(r"\d of 9 videos made"))
    visitor.press("Cancel all")
    expect(again).to_be_visible()
