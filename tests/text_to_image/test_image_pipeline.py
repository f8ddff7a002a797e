"""A picture from a prompt: a PNG file that carries its settings to the video."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2vid import inference, paths, pipeline
from img2vid.media.pictures import load_picture
from img2vid.media.png import with_text
from img2vid.options import LoadOptions
from img2vid.progress import Event
from img2vid.text_to_image.pipeline import KEYWORD, load_image_model, make_picture, origin_of
from img2vid.text_to_image.settings import ImageSettings, image_settings_of
from img2vid.text_to_image.versions import find_image_version
from img2vid.versions import ModelVersion

IMAGE = ImageSettings(
    model="tiny_sdxl", prompt="a lighthouse ☃", negative_prompt="text", seed=3, steps=2, height=64, width=64
)


@pytest.fixture(scope="module")
def made(sdxl: Path) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMG2VID_CHECKPOINTS", str(sdxl))
        options = inference.resolve(LoadOptions(device="cpu"))
        events: list[Event] = []
        model = load_image_model(find_image_version("tiny_sdxl"), options, events.append)
        data = make_picture(model, IMAGE, events.append)
    assert list(dict.fromkeys(event.stage for event in events)) == ["load", "prompt", "sample", "decode", "write"]
    return data


def test_the_file_carries_its_settings(made: bytes) -> None:
    origin = origin_of(made)
    assert origin == {**IMAGE.model_dump(), "checkpoint": "tiny_sdxl.safetensors"}
    assert image_settings_of({"image": origin}) == IMAGE


def test_the_picture_is_read_like_any_other(made: bytes) -> None:
    picture = load_picture(made)
    assert picture.size == (64, 64)
    with Image.open(io.BytesIO(made)) as image:
        assert np.array_equal(np.asarray(image), np.asarray(picture))
        assert json.loads(image.info[KEYWORD])["image"]["prompt"] == IMAGE.prompt


def test_the_video_of_the_picture_has_the_prompt(made: bytes, tiny: ModelVersion, tmp_path: Path) -> None:
    model = inference.load(tiny, LoadOptions(device="cpu"))
    settings = tiny.settings({"num_frames": 2, "num_steps": 1, "height": 64, "width": 64})
    (result,) = pipeline.run(model, load_picture(made), settings, tmp_path, name="x", image=origin_of(made))
    assert image_settings_of(result.metadata) == IMAGE
    (without,) = pipeline.run(model, load_picture(made), settings, tmp_path, name="x")
    assert "image" not in without.metadata


def test_other_pictures_have_no_origin(made: bytes) -> None:
    assert origin_of((paths.PROJECT / "assets" / "dogs.jpg").read_bytes()) is None
    assert origin_of(made[:100]) is None
    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, format="PNG")
    assert origin_of(plain.getvalue()) is None
    for text in ("", "{", "[]", "{}", '{"image": {"prompt": ""}}', '{"image": {"prompt": "a", "steps": 1e9}}'):
        assert origin_of(with_text(plain.getvalue(), KEYWORD, text)) is None
