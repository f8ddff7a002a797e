"""Several files added at once: a batch of images, settings among them, and files that are left out."""

import io
import json
import struct
import zlib
from collections.abc import Callable

import pytest
from driving import PHOTO, Open, caption, drop, drop_all, drop_bytes, open_at, said, tab_of
from fake_service import FakeService
from PIL import Image
from streamlit.testing.v1 import AppTest

from img2vid import paths
from img2vid.media.pictures import MOST_BYTES
from img2vid.ui.uploads import MOST_PICTURES, TOO_LARGE, take_uploads


def png(color: str, size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


THREE = {"red.png": png("red"), "green.png": png("green"), "blue.png": png("blue", (48, 64))}


def draw_compare() -> None:
    from img2vid.ui.compare.page import compare

    compare()


def draw_sweeps() -> None:
    from img2vid.ui.sweeps.page import sweeps

    sweeps()


BROKEN = {"broken.png": png("red")[:50], "text.png": b"hello"}
SETTINGS = json.dumps({"settings": {"version": "svd_tiny", "fps": 9, "crop_offset": 0.1}}).encode()


def names(page: AppTest) -> list[str]:
    """Return the names of the batch's pictures."""
    return [button.label for button in page.button if str(button.key).endswith(".png")]


def test_each_picture_of_a_batch_becomes_a_job_with_the_same_settings(open_page: Open, service: FakeService) -> None:
    page = drop_all(open_page(), {**THREE, **BROKEN, "empty.png": b""})
    assert names(page) == ["red", "green", "blue"]
    assert "3 images: Sample makes a video of each." in caption(page)
    assert "3 images, 2.3 s clip each, estimate available" in caption(page)
    text = said(page.error)
    assert (
        text.startswith("'broken.png' is damaged or incomplete;") and "Also left out: 'text.png', 'empty.png'." in text
    )
    (details,) = [code.value for code in page.code if "'text.png' is not a supported image" in code.value]
    assert "'empty.png' is empty" in details

    page.number_input(key="seed").set_value(5).run()
    page.button(key="sample").click().run()
    jobs = service.store.queue()
    assert [job.picture_name for job in jobs] == ["red", "green", "blue"]
    assert all(job.settings == jobs[0].settings for job in jobs) and jobs[0].seed == 5
    assert [job.picture.read_bytes() for job in jobs] == [*THREE.values()]
    page.button(key="sample").click().run()
    assert "Already in the queue. Change the seed for a new video." in caption(page)
    assert len(service.store.queue()) == 3


def test_a_new_picture_says_that_it_replaces_the_batch(open_page: Open) -> None:
    page = drop_all(open_page(), THREE)
    assert "Replaced" not in caption(page)
    drop(page, PHOTO)
    assert "Replaced the batch of 3 images." in caption(page)
    drop(page, PHOTO)
    assert "Replaced" not in caption(page)


def test_a_batch_survives_a_reload_and_shrinks_to_one_picture(open_page: Open) -> None:
    page = drop_all(open_page(), THREE)
    page = open_page(tab_of(page))
    assert names(page) == ["red", "green", "blue"]
    for name in ("red", "blue"):
        next(button for button in page.button if button.label == name).click().run()
    assert "green, as the model sees it" in caption(page) and not names(page)
    drop_all(page, THREE)
    page.button(key="remove_input").click().run()
    assert page.button(key="sample").disabled
    page = drop_all(page, {"one.png": THREE["red.png"], "same.png": THREE["red.png"]})
    assert "one, as the model sees it" in caption(page)


def test_one_bad_job_does_not_end_the_batch(open_page: Open, service: FakeService) -> None:
    page = drop_all(open_page(), THREE)
    drop = next(path for path in (paths.home() / "inputs").iterdir() if path.read_bytes() == THREE["green.png"])
    data = drop.read_bytes()
    drop.unlink()
    page.button(key="sample").click().run()
    assert [job.picture_name for job in service.store.queue()] == ["red", "blue"]
    assert "2 of 3 queued. 'green' cannot be read (No such file or directory)." in said(page.error)
    drop.write_bytes(data)
    page.button(key="sample").click().run()
    assert "1 of 3 queued; the others are in the queue already." in caption(page)


@pytest.mark.parametrize("draw", [draw_compare, draw_sweeps])
def test_compare_and_sweeps_use_the_first_picture(open_page: Open, draw: Callable[[], None]) -> None:
    tab = tab_of(drop_all(open_page(), THREE))
    assert "3 images: this page uses the first." in caption(open_at(draw, tab))


@pytest.mark.parametrize("order", [["a.json", "red.png", "blue.png"], ["red.png", "blue.png", "a.json"]])
def test_settings_among_pictures_are_restored_for_them(open_page: Open, order: list[str]) -> None:
    files = {**THREE, "a.json": SETTINGS}
    page = drop_all(open_page(), {name: files[name] for name in order})
    assert names(page) == ["red", "blue"]
    assert page.number_input(key="fps").value == 9
    assert page.slider(key="crop_offset").value == 0.1
    assert "Restored settings from a.json." in caption(page) and "no image" not in caption(page)


def test_a_video_among_pictures_restores_its_settings_without_its_picture(
    open_page: Open, service: FakeService
) -> None:
    page = drop(open_page(), PHOTO)
    page.number_input(key="seed").set_value(77).run()
    page.button(key="sample").click().run()
    video = service.finishes(service.store.jobs()[0]).results[0].video
    page.number_input(key="seed").set_value(1).run()
    drop_all(page, {"made.mp4": video.read_bytes(), "red.png": THREE["red.png"], "a.json": SETTINGS})
    assert page.number_input(key="seed").value == 77
    assert "red, as the model sees it" in caption(page)
    assert said(page.error) == "'a.json' restores settings too; add it on its own. Restored settings from made.mp4."


def test_a_file_above_the_limit_is_named_with_its_size(open_page: Open) -> None:
    page = open_page()
    page.file_uploader[0].set_value(
        [("scan.tif", str(312 * 2**20 - 5).encode(), TOO_LARGE), ("red.png", THREE["red.png"], "image/png")]
    )
    page.run()
    assert said(page.error) == "'scan.tif' has 312 MB, more than the limit of 200 MB; use a smaller file."
    assert "red, as the model sees it" in caption(page)


def test_the_page_and_the_http_api_have_the_same_limit(open_page: Open) -> None:
    assert open_page().file_uploader[0].proto.max_upload_size_mb * 2**20 == MOST_BYTES


def test_a_batch_has_a_limit(home: object) -> None:
    many = [(f"{index}.png", "image/png", png(f"rgb({index}, 0, 0)")) for index in range(MOST_PICTURES + 1)]
    found = take_uploads(many, MOST_BYTES, [])
    assert found.picture is not None and len(found.more_pictures) == MOST_PICTURES - 1
    assert found.problems == (("50.png", "'50.png' exceeds the limit of 50 images; add it later"),)


def test_an_image_without_an_object_keeps_the_others_visible(open_page: Open) -> None:
    page = drop_all(open_page(), THREE)
    page.selectbox(key="fitting").set_value("object").run()
    assert not page.exception and names(page) == ["red", "green", "blue"]


def test_an_image_with_too_many_pixels_is_named(open_page: Open) -> None:
    small = png("red")
    header = b"IHDR" + struct.pack(">II", 20_000, 10_000) + small[24:29]
    page = drop_bytes(
        open_page(), small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:], "poster.png"
    )
    assert said(page.error) == (
        "'poster.png' has 20000 \u00d7 10000 pixels, more than the limit of 100,000,000 for PNG; scale it down first."
    )
