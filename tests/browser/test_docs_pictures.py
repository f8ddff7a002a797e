"""Pictures of the pages in docs/, made if IMG2VID_PAGES names the folder for them."""

import io
import os
from pathlib import Path

import pytest
from dashboard import Dashboard
from PIL import Image
from playwright.sync_api import expect
from visitor import Visit, Visitor

from img2vid import paths

PAGES = os.environ.get("IMG2VID_PAGES")
REPLACE = """
(pairs) => {
    const replaced = (text) => pairs.reduce((now, [old, other]) => now.replaceAll(old, other), text)
    for (const box of document.querySelectorAll('input')) box.placeholder = replaced(box.placeholder)
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) texts.currentNode.data = replaced(texts.currentNode.data)
}
"""
"""JavaScript: replaces paths of this computer."""


def illustrate(visitor: Visitor, dashboard: Dashboard, name: str, height: int) -> None:
    """Save a picture of the window at its top, with paths of a user's computer."""
    page = visitor.page
    page.set_viewport_size({"width": 1280, "height": height})
    page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 0)")
    page.mouse.move(640, 30)
    page.wait_for_timeout(3000)  # animations
    project = "/home/alex/img2vid"
    pairs = [(dashboard.home, f"{project}/outputs"), (dashboard.checkpoints, "/home/alex/more")]
    page.evaluate(REPLACE, [(str(old), new) for old, new in (*pairs, (paths.PROJECT, project))])
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    assert PAGES is not None
    picture.quantize(256).save(Path(PAGES) / f"{name}-page.png", optimize=True)


def sampled(visitor: Visitor, picture: str) -> None:
    """Make a video of an example with the defaults."""
    visitor.drop(path=paths.PROJECT / "assets" / f"{picture}.jpg")
    visitor.wait_for(f"{picture}, as the model sees it")
    visitor.press("Sample")
    expect(visitor.page.locator(".st-key-result").get_by_text(f"{picture} · svd_tiny · ").first).to_be_visible()
    expect(visitor.page.locator(".st-key-stage").get_by_role("progressbar")).to_have_count(0)


@pytest.mark.skipif(PAGES is None, reason="IMG2VID_PAGES names no folder for the pictures")
def test_pictures_of_the_pages(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit()
    page = visitor.page
    sampled(visitor, "dandelion")
    illustrate(visitor, dashboard, "sample", 800)
    page.get_by_role("link", name="Compare").click()
    visitor.press("Run both")
    expect(page.locator(".st-key-compare_clips video")).to_have_count(2)
    expect(page.locator(".st-key-compare_measured canvas").first).to_be_visible()
    illustrate(visitor, dashboard, "compare", 1360)
    page.get_by_role("link", name="Sample").click()
    sampled(visitor, "brook")
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator("[class*=st-key-card_]")).to_have_count(3)
    illustrate(visitor, dashboard, "gallery", 730)
    page.get_by_role("link", name="Models").click()
    visitor.wait_for("comes with img2vid")
    illustrate(visitor, dashboard, "models", 800)
