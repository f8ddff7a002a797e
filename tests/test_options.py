"""Engine options: one list of values for the page, the command line and the engine, and stored options."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2vid.engine.interface import DTYPES
from img2vid.errors import BadInput
from img2vid.options import CHOICES, NATIVE_ONLY, OPTIONS, LoadOptions, whole_number


def test_every_option_has_a_label_a_help_text_and_a_valid_default() -> None:
    LoadOptions().check()
    assert all(about["label"] and about["help"].endswith(".") for about in OPTIONS.values())
    assert OPTIONS.keys() == {field.name for field in fields(LoadOptions)}


def test_the_engine_has_every_format_and_the_choices_of_sgm_are_options() -> None:
    assert tuple(DTYPES) == CHOICES["precision"][1:] == CHOICES["decoder_precision"][1:]
    LoadOptions(**NATIVE_ONLY).check()


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ({}, {}),
        ({"precision": "bf16", "memory": "cloud", "threads": True, "compile": 1, "unknown": 2}, {"precision": "bf16"}),
        ({"provider": None, "threads": 4, "device": "cuda:1"}, {"threads": 4, "device": "cuda:1"}),
        ({"threads": -1, "allow_pickle": True}, {"allow_pickle": True}),
    ],
)
def test_stored_options_that_are_invalid_get_their_defaults(stored: dict[str, Any], found: dict[str, Any]) -> None:
    assert LoadOptions.of_stored(stored) == LoadOptions(**found)


@given(st.integers(1, 1000))
def test_whole_numbers_in_range_are_accepted(number: int) -> None:
    assert whole_number("--steps", str(number), 1, 1000) == number


@given(st.integers(max_value=0) | st.integers(min_value=1001) | st.floats() | st.text(alphabet="abc -.", max_size=4))
def test_other_values_are_rejected(given_value: object) -> None:
    with pytest.raises(BadInput, match="--steps must be a whole number from 1 to 1000, got "):
        whole_number("--steps", str(given_value), 1, 1000)
