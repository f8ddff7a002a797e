"""Input: images, examples, the crop, invalid files, and videos that restore their settings."""

import base64
import io
import json

import numpy as np
import pytest
from driving import PHOTO, Open, caption, drop, drop_bytes, said, selectbox
from fake_service import FakeService
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from workflows import changed, image_to_video, text_to_video

from img2vid import paths
from img2vid.media.pictures import frame_picture, load_picture
from img2vid.ui.shared import pictures

FILES = paths.PROJECT / "tests" / "data" / "inputs" / "metadata"


def test_the_preview_is_the_frame_that_the_model_sees(open_page: Open) -> None:
    page = drop(open_page(), PHOTO)
    page.slider(key="crop_offset").set_value(0.2).run()
    assert "dogs, as the model sees it" in caption(page)
    kept = next((paths.home() / "inputs").iterdir())
    shown = Image.open(io.BytesIO(pictures.framed(kept, 160, 96, "crop", 0.2)))
    assert list(shown.get_flattened_data()) == list(
        frame_picture(load_picture(PHOTO), 160, 96, offset=0.2).get_flattened_data()
    )


def test_the_crop_offset_is_offered_only_when_the_crop_trims_the_image(open_page: Open) -> None:
    page = drop(open_page(), PHOTO)
    assert page.slider(key="crop_offset").value == 0.5
    square = io.BytesIO()
    Image.new("RGB", (320, 192)).save(square, format="PNG")
    drop_bytes(page, square.getvalue(), "same shape.png")
    assert not page.slider
    page.number_input(key="height").set_value(128).run()
    assert page.slider(key="crop_offset").value == 0.5


@pytest.mark.parametrize(("size", "offset"), [((160, 96), 0.25), ((160, 96), 1.0), ((64, 160), 0.6)])
def test_the_movable_frame_is_the_crop_that_the_model_sees(size: tuple[int, int], offset: float) -> None:
    side, share = pictures.trimmed(PHOTO, *size)
    image = load_picture(PHOTO)
    left, top, right, bottom = 0.0, 0.0, float(image.width), float(image.height)
    if side == "width":
        left = offset * (1 - share) * image.width
        right = left + share * image.width
    else:
        top = offset * (1 - share) * image.height
        bottom = top + share * image.height
    expected = image.resize(size, Image.Resampling.LANCZOS, box=(left, top, right, bottom))
    shown = Image.open(io.BytesIO(pictures.framed(PHOTO, *size, "crop", offset)))
    difference = np.abs(np.asarray(expected, np.int16) - np.asarray(shown.convert("RGB"), np.int16))
    assert side == ("height" if size == (160, 96) else "width")
    assert difference.max() <= 2
    packed = base64.b64decode(pictures.whole(PHOTO).removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(packed)) as whole:
        assert whole.width / whole.height == pytest.approx(image.width / image.height, rel=0.01)


def test_only_a_crop_has_an_offset_and_a_new_picture_begins_in_the_middle(open_page: Open) -> None:
    page = drop(open_page(), PHOTO)
    page.selectbox(key="fitting").set_value("fit").run()
    assert not page.slider
    page.selectbox(key="fitting").set_value("crop").run()
    page.slider(key="crop_offset").set_value(0.2).run()
    page.selectbox(key="fitting").set_value("fit").run()
    assert page.slider(key="crop_offset").value == 0.2  # it moves the whole picture, so it is not hidden
    page.selectbox(key="fitting").set_value("object").run()
    assert not page.slider
    page.selectbox(key="fitting").set_value("crop").run()
    drop(page, PHOTO, "another.jpg")
    assert page.slider[0].value == 0.5
    page.slider[0].set_value(0.3).run()
    page.button(key="remove_input").click().run()
    page.button(key="example_dogs").click().run()
    assert page.slider[0].value == 0.5


def test_examples_are_offered_until_an_input_is_set(open_page: Open) -> None:
    page = open_page()
    offered = [button.label for button in page.button if str(button.key).startswith("example_")]
    assert offered == ["brook", "dandelion", "dogs", "mountains"]
    page.button(key="example_brook").click().run()
    assert "brook, as the model sees it" in caption(page)
    assert not [button for button in page.button if str(button.key).startswith("example_")]
    page.button(key="remove_input").click().run()
    assert page.button(key="sample").disabled
    assert [button for button in page.button if str(button.key).startswith("example_")]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("notes.txt", b"hello", "'notes.txt' is not a supported image; use JPEG, PNG or WebP."),
        ("empty.png", b"", "'empty.png' is empty; choose a JPEG, PNG or WebP image."),
        ("cut.jpg", PHOTO.read_bytes()[:3000], "'cut.jpg' is damaged or incomplete; save or download it again."),
        ("phone.heic", b"\0\0\0\x18ftypheic" + bytes(16), "is a HEIC image that cannot be read here"),
        ("film.mp4", b"\0\0\0\x18ftypisom" + bytes(16), "'film.mp4' is not a video made by img2vid; add an image"),
        ("newer.mp4", (FILES / "sampler_1.mp4").read_bytes(), "Sampler must be one of EulerEDMSampler, "),
        ("list.json", b'{"a": 1}', "'list.json' has no img2vid settings"),
        ("torn.json", b'{"settings": ', "'torn.json' is not valid JSON: Expecting value"),
        ("deep.json", b'{"settings":' * 9999, "'deep.json' is not valid JSON: nested more than 64 levels deep; add an"),
        ("a\x1b.json", b'{"settings": {"version": "' + b"x" * 9999, r"'a\x1b.json' is not valid JSON"),
        ("old.json", b'{"settings": {"version": "svd9"}}', "There is no model version 'svd9'"),
        ("odd.json", b'{"settings": {"version": "svd", "fps": 0}}', "Fps must be a whole number from 1 to 1000"),
    ],
)
def test_an_invalid_file_is_reported_in_one_line_and_the_input_stays(
    open_page: Open, name: str, data: bytes, message: str
) -> None:
    page = drop(open_page(), PHOTO)
    drop_bytes(page, data, name)
    text = said(page.error)
    assert message in text
    assert "\n" not in text
    assert "dogs, as the model sees it" in caption(page)
    assert not page.button(key="sample").disabled
    page.number_input(key="fps").set_value(9).run()
    assert not page.error


def test_a_windows_path_as_a_name_is_only_a_name(open_page: Open) -> None:
    page = drop(open_page(), PHOTO, r"C:\pictures\two dogs.jpg")
    assert "two dogs, as the model sees it" in caption(page)


def test_an_uploaded_video_restores_settings_and_the_stored_input(open_page: Open, service: FakeService) -> None:
    page = drop(open_page(), PHOTO)
    page.number_input(key="motion_bucket_id").set_value(80).run()
    page.slider(key="crop_offset").set_value(0.7).run()
    page.selectbox(key="sampler").set_value("DPMPP2MSampler").run()
    page.button(key="sample").click().run()
    made = service.finishes(service.store.jobs()[0])
    video, sidecar = made.results[0].video, made.results[0].sidecar
    for path in (video, sidecar):
        page.button(key="remove_input").click().run()
        page.button(key="defaults").click().run()
        drop(page, path)
        assert f"Restored settings and image from {path.name}." in caption(page)
        assert page.number_input(key="motion_bucket_id").value == 80
        assert page.slider[0].value == 0.7
        assert page.selectbox(key="sampler").value == "DPMPP2MSampler"
        assert "dogs, as the model sees it" in caption(page)


def test_the_first_frame_of_a_foreign_video_replaces_its_image(open_page: Open, service: FakeService) -> None:
    page = drop(open_page(), PHOTO)
    page.number_input(key="seed").set_value(77).run()
    page.button(key="sample").click().run()
    result = service.finishes(service.store.jobs()[0]).results[0]
    video, settings = result.video.read_bytes(), result.sidecar.read_bytes()
    service.store.close()
    service.store.path.unlink()
    page.button(key="remove_input").click().run()
    page.button(key="dice").click().run()
    drop_bytes(page, settings, "found.json")
    assert page.number_input(key="seed").value == 77
    assert "add that too" in caption(page)
    assert page.button(key="sample").disabled
    drop_bytes(page, video, "found.mp4")
    assert "first frame is used instead" in caption(page)
    assert "dogs, as the model sees it" in caption(page)
    assert not page.button(key="sample").disabled


def test_settings_without_newer_fields_take_their_defaults(open_page: Open) -> None:
    page = open_page()
    drop_bytes(page, json.dumps({"settings": {"version": "svd_tiny", "fps": 9}}).encode(), "old.json")
    assert page.number_input(key="fps").value == 9
    assert page.number_input(key="num_steps").value == 25


def test_a_comfyui_workflow_restores_settings_and_a_png_its_picture_too(open_page: Open) -> None:
    page, workflow = open_page(), json.dumps(text_to_video())
    drop_bytes(page, workflow.encode(), "flow.json")
    assert (selectbox(page, "Model Version").value, page.number_input(key="num_steps").value) == ("svd_xt", 20)
    text = "Restored settings and prompt from the ComfyUI workflow flow.json. Without a counterpart here: seed 2375"
    assert text in caption(page) and "It contains no image; press Create or add one." in caption(page)
    assert (page.text_area(key="describe_prompt").value or "").startswith("photograph beautiful scenery")
    assert page.text_input(key="describe_negative_prompt").value == "text, watermark"
    assert (page.number_input(key="describe_steps").value, page.number_input(key="describe_guidance").value) == (15, 8)
    assert page.button(key="sample").disabled

    info, file = PngInfo(), io.BytesIO()
    info.add_text("workflow", json.dumps(changed(image_to_video(), "KSampler", 2, 9)))
    Image.new("RGB", (64, 48), "red").save(file, "PNG", pnginfo=info)
    drop_bytes(page, file.getvalue(), "made.png")
    assert (selectbox(page, "Model Version").value, page.number_input(key="num_steps").value) == ("svd", 9)
    assert "made, as the model sees it" in caption(page)


def test_a_picture_of_a_workflow_without_a_video_brings_its_prompt(open_page: Open) -> None:
    page, info, file = open_page(), PngInfo(), io.BytesIO()
    tree = text_to_video()
    tree["nodes"] = [row for row in tree["nodes"] if row["type"] != "SVD_img2vid_Conditioning"]
    info.add_text("workflow", json.dumps(tree))
    Image.new("RGB", (64, 48), "red").save(file, "PNG", pnginfo=info)
    drop_bytes(page, file.getvalue(), "made.png")
    assert "made, as the model sees it" in caption(page)
    assert selectbox(page, "Model Version").value == "svd_tiny"
    assert (page.text_area(key="describe_prompt").value or "").startswith("photograph beautiful scenery")
