"""Input: a pasted picture, the crop frame, and several files dropped at once."""

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

from dashboard import Dashboard, until
from PIL import Image
from playwright.sync_api import Locator, expect
from visitor import PHOTO, SMALL, Visit, Visitor

from img2vid import paths
from img2vid.jobs.job import Job

COPY = """
async ([data, text]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))
    const kinds = { 'image/png': new Blob([bytes], { type: 'image/png' }) }
    if (text) kinds['text/plain'] = new Blob([text], { type: 'text/plain' })
    await navigator.clipboard.write([new ClipboardItem(kinds)])
}
"""
DROP = """
(files) => {
    const data = new DataTransfer()
    for (const [name, content] of Object.entries(files)) {
        const size = Number(content)
        const bytes = size ? new Uint8Array(size) : Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))
        data.items.add(new File([bytes], name))
    }
    const zone = document.querySelector('[data-testid=stFileUploaderDropzone]')
    for (const name of ['dragenter', 'dragover', 'drop']) {
        zone.dispatchEvent(new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true }))
    }
}
"""


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def copy(visitor: Visitor, text: str = "") -> None:
    """Put a picture on the clipboard, and a text with it."""
    packed = io.BytesIO()
    with Image.open(PHOTO) as photo:
        photo.resize((240, 360)).save(packed, "PNG")
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.page.evaluate(COPY, [text_of(packed.getvalue()), text])


def drop(visitor: Visitor, files: Mapping[str, bytes | int]) -> None:
    """Drop files on Input; a number is the size of a file of zeros."""
    given = {name: str(data) if isinstance(data, int) else text_of(data) for name, data in files.items()}
    expect(visitor.page.get_by_test_id("stFileUploaderDropzone")).to_be_visible()
    visitor.page.evaluate(DROP, given)


def tab_file(visitor: Visitor) -> dict[str, Any]:
    return json.loads((visitor.home / "tabs" / f"{visitor.tab}.json").read_text(encoding="utf-8"))


def jobs_of(dashboard: Dashboard, seed: int) -> list[Job]:
    """Return the finished jobs with that seed."""
    return [job for job in dashboard.store().jobs() if job.seed == seed and job.results]


def is_square(frame: Locator) -> bool:
    at = frame.bounding_box()
    return at is not None and abs(at["width"] - at["height"]) < 1


def wait_for_offset(visitor: Visitor, frame: Locator, offset: float) -> None:
    """Wait until frame, slider and tab have that offset."""
    until(lambda: visitor.kept()["crop_offset"] == offset, f"crop offset {offset}")
    expect(frame).to_have_attribute("aria-valuenow", f"{offset:g}")
    expect(
        visitor.page.locator("[class*=st-key-crop_offset]").get_by_text(f"{offset:.2f}", exact=True).first
    ).to_be_visible()


def test_a_pasted_picture_gets_the_crop_that_its_frame_is_moved_to(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit()
    expect(visitor.page.locator("[data-testid=stFileUploaderDropzoneInstructions]")).to_be_visible()
    copy(visitor)
    visitor.page.keyboard.press("Control+V")
    expect(visitor.text("pasted, as the model sees it")).to_be_visible()
    visitor.set({**SMALL, "seed": 41})

    frame = visitor.page.get_by_role("slider", name="Crop", exact=True)
    until(lambda: is_square(frame), "the crop of a square video")
    whole = visitor.page.get_by_role("img", name="The whole input, pasted").bounding_box()
    at = frame.bounding_box()
    assert whole is not None and at is not None
    middle, range_ = at["x"] + at["width"] / 2, whole["height"] - at["height"]
    visitor.page.mouse.move(middle, at["y"] + at["height"] / 2)
    visitor.page.mouse.down()
    visitor.page.mouse.move(middle, at["y"] + at["height"] / 2 - 0.3 * range_, steps=3)
    visitor.page.mouse.up()
    wait_for_offset(visitor, frame, 0.2)
    moved = frame.bounding_box()
    assert moved is not None and abs(moved["y"] - whole["y"] - 0.2 * range_) < 2

    frame.focus()
    for key in ("PageDown", "ArrowDown", "ArrowDown", "ArrowUp"):
        visitor.page.keyboard.press(key)
    visitor.press("Sample")  # at once: the last key is not lost
    visitor.wait_for_result(41)
    wait_for_offset(visitor, frame, 0.31)
    (job,) = jobs_of(dashboard, 41)
    assert (job.settings.crop_offset, job.picture_name) == (0.31, "pasted")
    visitor.reload()
    wait_for_offset(visitor, frame, 0.31)

    # Text that comes with a picture, as from an office program, is pasted into a field that has the focus.
    copy(visitor, "30")
    visitor.number("fps").fill("")
    visitor.page.keyboard.press("Control+V")
    visitor.page.keyboard.press("Enter")
    until(lambda: visitor.kept()["fps"] == 30, "the pasted number")
    assert visitor.kept()["crop_offset"] == 0.31  # a new picture would have reset it


def test_dropped_pictures_become_a_video_each(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit()
    good = {name: (paths.PROJECT / "assets" / f"{name}.jpg").read_bytes() for name in ("brook", "dogs", "mountains")}
    files = {f"{name}.jpg": data for name, data in good.items()}
    drop(visitor, {"broken.jpg": PHOTO.read_bytes()[:3000], **files, "scan.png": 201 * 2**20})
    visitor.wait_for("3 images: Sample makes a video of each.")
    message = visitor.page.get_by_test_id("stAlert").filter(has_text="'broken.jpg' is damaged or incomplete")
    expect(message).to_contain_text("Also left out: 'scan.png'.")
    visitor.picture("batch")
    visitor.page.get_by_text("Details").click()
    visitor.wait_for("'scan.png' has 201 MB, more than the limit of 200 MB; use a smaller file.")

    visitor.set({**SMALL, "seed": 42})
    visitor.reload()
    visitor.wait_for("3 images: Sample makes a video of each.")
    visitor.press("Sample")
    until(lambda: len(jobs_of(dashboard, 42)) == 3, "three videos")
    jobs = jobs_of(dashboard, 42)
    assert sorted(job.picture_name for job in jobs) == [*good]
    assert len({job.results[0].video.read_bytes() for job in jobs}) == 3
    assert tab_file(visitor)["picture"]["name"] == "brook"
    visitor.wait_for_result(42)
