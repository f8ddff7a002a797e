"""Steps of docs/guide.md in a browser.

IMG2VID_GUIDE is a folder for new screenshots of the guide; if it is unset, none are made.
"""

import io
import os
import re
from pathlib import Path

import pytest
from dashboard import Dashboard
from PIL import Image
from playwright.sync_api import Locator, expect
from visitor import PHOTO, Visit, Visitor

from img2vid.jobs.job import State
from img2vid.media.videos import read_metadata

GUIDE = os.environ.get("IMG2VID_GUIDE")
STEPS = 4
"""Fewer sampling steps than in the guide, to save time; the guide's screenshots use all 25."""
MARK = "node => { node.style.outline = '3px solid #e0662f'; node.style.outlineOffset = '5px' }"
UNMARK = "node => { node.style.outline = ''; node.style.outlineOffset = '' }"
SHORTEN = """
(home) => {
    for (const box of document.querySelectorAll('input')) box.placeholder = box.placeholder.replace(home, 'outputs')
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replace(home, 'outputs')
}
"""
"""JavaScript: replaces the path of the test's home, which would mean nothing to readers."""
IN_THE_GUIDE = {
    "1_version": "page",
    "2_load": "loaded",
    "3_input": "input",
    "5_sampling": "running",
    "7_video": "result",
}
"""Screenshot names in docs/guide by step."""


def illustrate(visitor: Visitor, name: str, *marked: Locator) -> None:
    """Save a screenshot in which the step's elements are marked."""
    for place in marked:
        place.evaluate(MARK)
    visitor.picture(f"guide_{name}")
    if GUIDE and name in IN_THE_GUIDE:
        visitor.page.evaluate(SHORTEN, str(visitor.home))
        screen = Image.open(io.BytesIO(visitor.page.screenshot())).convert("RGB")
        screen.save(Path(GUIDE) / f"{IN_THE_GUIDE[name]}.jpg", quality=85, optimize=True)
    for place in marked:
        place.evaluate(UNMARK)


def part(visitor: Visitor, key: str) -> Locator:
    """Return the container with that key."""
    return visitor.page.locator(f".st-key-{key}").first


def test_the_guide_word_for_word(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit()
    steps = 25 if GUIDE else STEPS

    visitor.choice("Model Version").click()
    option = visitor.page.get_by_role("option", name="svd_tiny", exact=True)
    expect(option).to_be_visible()
    illustrate(visitor, "1_version", part(visitor, "version"))
    option.click()
    if steps != 25:
        visitor.set({"steps": steps})

    visitor.tick("Load Model")
    visitor.wait_for(re.compile("svd_tiny on CPU, .+, ready"))
    expect(visitor.box("Load Model")).to_be_checked()
    illustrate(visitor, "2_load", part(visitor, "in_memory"))

    visitor.drop(path=PHOTO)
    expect(visitor.input).to_be_visible()
    illustrate(visitor, "3_input", part(visitor, "input"))

    # No Enter: pressing Sample must store the value.
    visitor.number("Decode t frames at a time").fill("1")
    illustrate(visitor, "4_decode", part(visitor, "decode_t"))
    dashboard.hold("sample", steps // 2)
    visitor.press("Sample")

    visitor.wait_for_step(steps // 2, steps)
    expect(visitor.preview).to_be_visible()
    expect(visitor.button("Cancel")).to_be_enabled()
    illustrate(visitor, "5_sampling", part(visitor, "stage"))
    dashboard.hold("decode", 1)
    visitor.wait_for(re.compile(r"Decoding, frame \d+ of 14"))
    illustrate(visitor, "6_decoding", part(visitor, "stage"))
    dashboard.release()

    visitor.wait_for_result(23)
    facts = visitor.played()
    assert facts.pop("duration") == pytest.approx(14 / 6, abs=0.05)
    assert facts == {"width": 160, "height": 96}
    expect(visitor.button("Cancel")).to_be_disabled()
    illustrate(visitor, "7_video", visitor.video)

    (job,) = dashboard.store().jobs()
    assert (job.state, job.settings.decode_t, job.settings.num_steps) == (State.DONE, 1, steps)
    assert job.results[0].video == dashboard.home / "svd_tiny" / "dogs_svd_tiny_seed23.mp4"
    assert read_metadata(job.results[0].video)["settings"]["decode_t"] == 1
