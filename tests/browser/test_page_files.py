"""Files: invalid uploads, missing and damaged checkpoints, downloads, and videos that restore their settings."""

import io
import json
import re
import shutil
import zipfile

import pytest
from dashboard import Dashboard
from PIL import Image
from playwright.sync_api import expect
from visitor import SMALL, Visit, Visitor

from img2vid import paths
from img2vid.versions import load_versions

KINDS = {"MP4": ".mp4", "GIF": ".gif", "WebP": ".webp", "PNG": ".zip", "JSON": ".json", "ComfyUI": "_comfyui.json"}
WATCH_BOXES = """
() => {
    const boxes = '.st-key-in_memory input[type=checkbox]'
    const visible = () => [...document.querySelectorAll(boxes)].filter((box) => box.checkVisibility()).length
    window.mostBoxes = visible()
    new MutationObserver(() => { window.mostBoxes = Math.max(window.mostBoxes, visible()) })
        .observe(document.body, { subtree: true, childList: true })
}
"""
"""JavaScript: watch how many Load Model boxes are visible at once."""


def missing_version() -> str:
    """Return a full-size version whose checkpoint is not installed."""
    for version in load_versions().values():
        if version.height > 96 and not (paths.PROJECT / "checkpoints" / version.checkpoint).is_file():
            return version.name
    pytest.skip("all checkpoints are there")


def test_an_invalid_file_is_rejected_in_a_sentence_and_the_input_stays(visit: Visit) -> None:
    visitor = visit().ready_with({})
    for name, kind, data, said in (
        ("notes.pdf", "application/pdf", b"%PDF-1.7 not a picture", "'notes.pdf'"),
        ("broken.jpg", "image/jpeg", b"\xff\xd8\xff\xe0 and no more", "'broken.jpg'"),
        ("other.mp4", "video/mp4", b"\0\0\0\x18ftypmp42" + bytes(64), "'other.mp4' is not a video made by img2vid"),
        ("list.json", "application/json", b'{"a": 1}', "'list.json' has no img2vid settings"),
    ):
        visitor.drop(name=name, data=data, kind=kind)
        expect(visitor.page.get_by_test_id("stAlert").filter(has_text=said)).to_be_visible()
        expect(visitor.text("Traceback")).to_have_count(0)
        expect(visitor.input).to_be_visible()
    visitor.picture("wrong_file")
    expect(visitor.button("Sample")).to_be_enabled()


def test_a_missing_checkpoint_is_reported_and_detected_when_added(visit: Visit, dashboard: Dashboard) -> None:
    name = missing_version()
    version = load_versions()[name]
    visitor = visit().ready_with({})
    visitor.choose("Model Version", re.compile(f"^{name}, not installed, .+ GB$"))
    message = visitor.page.locator(".st-key-missing_checkpoint")
    for words in ("Not installed", version.source.partition("/")[2], "GB", "are free there", version.checkpoint):
        expect(message).to_contain_text(words)
    expect(visitor.box("Load Model")).to_be_disabled()
    expect(visitor.button("Sample")).to_be_disabled()
    visitor.wait_for("Install the model first.")
    visitor.picture("missing_checkpoint")

    # Another model's file under that name is detected without a reload and rejected in a sentence when it is loaded.
    there = dashboard.checkpoints / version.checkpoint
    shutil.copy(paths.PROJECT / "checkpoints" / "svd_tiny.safetensors", there)
    expect(message).to_have_count(0)
    expect(visitor.button("Sample")).to_be_enabled()
    visitor.page.evaluate(WATCH_BOXES)
    visitor.tick("Load Model")
    state = visitor.page.locator(".st-key-in_memory")
    expect(state).to_contain_text(version.checkpoint)
    expect(visitor.box("Load Model")).not_to_be_checked()
    assert visitor.page.evaluate("window.mostBoxes") == 1
    visitor.picture("wrong_checkpoint")
    there.unlink()
    expect(message).to_be_visible()


def made(visitor: Visitor, seed: int) -> Visitor:
    """Make a small video with that seed."""
    visitor.ready_with({**SMALL, "seed": seed, "motion bucket id": 61, "Decode t frames at a time": 2})
    visitor.press("Sample")
    visitor.wait_for_result(seed)
    return visitor


def test_a_result_is_downloaded_in_every_format_and_restores_its_settings(visit: Visit, dashboard: Dashboard) -> None:
    visitor = made(visit(), 71)
    got: dict[str, bytes] = {}
    for label, suffix in KINDS.items():
        download = visitor.download(label)
        assert download.suggested_filename == f"dogs_svd_tiny_seed71{suffix}"
        got[label] = download.path().read_bytes()
    job = dashboard.store().jobs()[0]
    assert got["MP4"] == job.results[0].video.read_bytes()
    assert json.loads(got["JSON"]) == job.results[0].metadata
    assert json.loads(got["ComfyUI"])["extra"]["img2vid"]["settings"]["seed"] == 71
    for label in ("GIF", "WebP"):
        with Image.open(io.BytesIO(got[label])) as animation:
            assert (animation.format, animation.n_frames, animation.size) == (label.upper(), 3, (64, 64))
    with zipfile.ZipFile(io.BytesIO(got["PNG"])) as frames:
        assert len(frames.namelist()) == 3

    visitor.set({"seed": 5, "motion bucket id": 200, "T": 14, "steps": 25})
    visitor.press("Remove")
    expect(visitor.button("Sample")).to_be_disabled()
    other = visit()
    other.drop(name="dogs_svd_tiny_seed71.mp4", data=got["MP4"], kind="video/mp4")
    other.wait_for("Restored settings and image from dogs_svd_tiny_seed71.mp4.")
    expected = {**SMALL, "seed": 71, "motion bucket id": 61, "Decode t frames at a time": 2}
    for label, value in expected.items():
        expect(other.number(label)).to_have_value(str(value))
    expect(other.input).to_be_visible()
    expect(other.button("Sample")).to_be_enabled()
    other.picture("dropped_video")
    expect(visitor.number("motion bucket id")).to_have_value("200")  # the other tab keeps its settings


def test_actions_of_a_result(visit: Visit, dashboard: Dashboard) -> None:
    visitor = made(visit(), 81)
    visitor.press("Use the last frame as the next input")
    visitor.wait_for("The last frame is now the input.")
    expect(visitor.text("dogs_last, as the model sees it")).to_be_visible()
    visitor.press("Same settings, new seed")
    expect(visitor.page.locator(".st-key-result").get_by_text("seed 81 ·")).to_have_count(0)
    again, first = dashboard.store().jobs(limit=2)
    assert again.picture == first.picture
    assert again.settings == first.settings.model_copy(update={"seed": again.settings.seed})
    visitor.wait_for_result(again.settings.seed)
    visitor.press("seed 81")
    visitor.wait_for_result(81)
    visitor.press("Use these settings")
    expect(visitor.text(re.compile("^dogs, as the model sees it"))).to_be_visible()
    visitor.picture("result_actions")
