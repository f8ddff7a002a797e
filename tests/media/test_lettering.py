"""Text rendering: nothing overflows its field, and truncation is marked."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from img2vid.media.lettering import CUT, MARGIN, draw, font_size, line_height, width_of, wrap


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=80), st.integers(20, 400), st.integers(1, 4))
def test_every_line_fits(text: str, width: int, most: int) -> None:
    lines = wrap(text, 14, width, most)
    assert len(lines) <= most
    assert all(not line or width_of(line, 14) <= width + 1 for line in lines)


def test_long_words_are_wrapped_between_words_and_cut_at_the_end() -> None:
    width = width_of("motion bucket", 14)
    assert wrap("motion bucket id 127", 14, width, 2) == ["motion bucket", "id 127"]
    assert wrap("motion bucket id 127", 14, width, 1) == [f"motion buck{CUT}"]
    assert wrap("one\ntwo", 14, width, 3) == ["one", "two"]
    assert wrap("", 14, width, 3) == []
    assert wrap("word", 14, 4, 3) == [""]


def test_letters_grow_with_the_picture_and_never_get_too_small_to_read() -> None:
    sizes = [font_size(height) for height in (16, 96, 360, 576, 2048)]
    assert sizes == sorted(sizes) and sizes[0] == 12 and sizes[2] == 20 and sizes[-1] == 28


def test_words_stand_where_they_are_asked_to() -> None:
    def columns(side: str) -> tuple[int, int]:
        field = draw(["word"], 14, 200, line_height(14), side)  # pyright: ignore[reportArgumentType]
        found = np.nonzero((field > 150).all(axis=-1).any(axis=0))[0]
        return int(found.min()), int(found.max())

    assert columns("left")[0] < MARGIN + 3
    assert 70 < columns("middle")[0] < columns("middle")[1] < 130
    assert 200 - columns("right")[1] < MARGIN + 4
