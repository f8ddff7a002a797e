"""Settings of pictures: validation, seeds, names and metadata."""

from typing import Any

import pytest

from img2vid.errors import BadInput
from img2vid.text_to_image.settings import ImageSettings, image_settings_of, make_image_settings


def test_lines_of_a_prompt_are_joined() -> None:
    assert make_image_settings({"prompt": " a\n lighthouse\t"}).prompt == "a lighthouse"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": "  "}, "there is no prompt; describe the picture in a few words"),
        ({"prompt": "x" * 2001}, "a prompt must be printable text of at most 2000 characters"),
        ({"prompt": "a\0b"}, "a prompt must be printable text of at most 2000 characters"),
        ({"steps": 0}, "the picture's steps must be a whole number from 1 to 150, got 0"),
        ({"guidance": "much"}, "the picture's guidance must be a number from 1 to 30, got 'much'"),
        ({"seed": True}, "the picture's seed must be a whole number from 0 to 4294967295, got True"),
        ({"seed": 2**32 - 1, "candidates": 2}, "the image seed must be at most 4294967294, got 4294967295"),
        ({"width": 100}, "the picture's width must be a multiple of 8, got 100"),
        ({"size": 1}, "there is no setting 'size'; the settings are model, prompt"),
    ],
    ids=["empty", "long", "zero byte", "steps", "guidance", "bool", "last seed", "width", "unknown"],
)
def test_invalid_values_are_refused_in_a_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        make_image_settings({"prompt": "a dog", **values})
    assert str(caught.value).startswith(message)


def test_each_candidate_has_the_next_seed() -> None:
    image = ImageSettings(prompt="a dog", seed=5, candidates=3)
    assert [(one.seed, one.candidates) for one in map(image.one, range(3))] == [(5, 1), (6, 1), (7, 1)]


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a lighthouse in a storm, oil painting, highly detailed", "a lighthouse in a storm, oil painting"),
        ("../../etc/passwd", "etc passwd"),
        ("x" * 100, "x" * 40),
        ("...", "picture"),
        ("/", "picture"),
    ],
)
def test_files_are_named_after_the_first_words(prompt: str, name: str) -> None:
    assert ImageSettings(prompt=prompt).name == name


def test_metadata_is_read_and_what_is_not_valid_is_ignored() -> None:
    image = ImageSettings(prompt="a dog", negative_prompt="text", seed=9)
    assert image_settings_of({"image": {**image.model_dump(), "checkpoint": "x", "newer": 1}}) == image
    for found in (None, [], "a dog", {"prompt": 1}, {"prompt": ""}, {"prompt": "a", "seed": -1}):
        assert image_settings_of({"image": found}) is None
    assert image_settings_of({}) is None
