"""Measures of clips whose answer can be told beforehand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from img2vid.errors import BadInput
from img2vid.media.measures import absolute_difference, flicker, motion_energy, psnr, sharpness

Clip = NDArray[np.uint8]
CLIPS = arrays(np.uint8, (4, 5, 6, 3))


def flat(*levels: int, height: int = 6, width: int = 8) -> Clip:
    """A clip with one grey for each frame."""
    return np.stack([np.full((height, width, 3), level, np.uint8) for level in levels])


def board(low: int, high: int, size: int = 8) -> Clip:
    """One frame, a chessboard of single pixels."""
    squares = np.indices((size, size)).sum(axis=0) % 2
    return np.repeat(np.where(squares, high, low).astype(np.uint8)[None, ..., None], 3, axis=3)


# Against another clip


def test_a_clip_is_infinitely_near_to_itself() -> None:
    assert psnr(flat(3, 200), flat(3, 200)) == math.inf
    assert absolute_difference(flat(3, 200), flat(3, 200)).tolist() == [0, 0]


@pytest.mark.parametrize(("step", "decibels"), [(1, 48.1308), (5, 34.1514), (255, 0.0)])
def test_psnr_of_an_even_difference(step: int, decibels: float) -> None:
    assert psnr(flat(0, 0), flat(step, step)) == pytest.approx(decibels, abs=1e-4)
    assert psnr(flat(step)[0], flat(0)[0]) == pytest.approx(decibels, abs=1e-4)


def test_differences_are_told_frame_by_frame_and_do_not_wrap_around() -> None:
    """As bytes, 3 - 5 is 254."""
    assert absolute_difference(flat(3, 10, 255), flat(5, 10, 0)).tolist() == [2, 0, 255]
    half = flat(0)
    half[:, :, :4] = 100
    assert absolute_difference(half, flat(0)).tolist() == [50]


def test_clips_of_different_sizes_are_refused() -> None:
    with pytest.raises(BadInput, match=r"^only clips of one size can be compared, got 2 x 6 x 8 and 3 x 6 x 8$"):
        psnr(flat(1, 1), flat(1, 1, 1))
    with pytest.raises(BadInput, match="got 1 x 6 x 8 and 1 x 6 x 9"):
        absolute_difference(flat(1), flat(1, width=9))


@given(CLIPS, CLIPS)
def test_comparing_is_the_same_both_ways_round(a: Clip, b: Clip) -> None:
    assert psnr(a, b) == psnr(b, a)
    assert np.array_equal(absolute_difference(a, b), absolute_difference(b, a))
    assert (psnr(a, b) == math.inf) == np.array_equal(a, b)


# Of one clip


def test_a_still_clip_neither_moves_nor_flickers() -> None:
    assert motion_energy(flat(7, 7, 7)) == flicker(flat(7, 7, 7)) == 0


def test_brightness_that_rises_evenly_moves_without_flicker() -> None:
    assert motion_energy(flat(10, 15, 20, 25)) == 5
    assert flicker(flat(10, 15, 20, 25)) == 0


def test_brightness_that_goes_up_and_down_flickers_twice_as_much_as_it_moves() -> None:
    assert motion_energy(flat(100, 110, 100, 110)) == 10
    assert flicker(flat(100, 110, 100, 110)) == 20


def test_a_flash_is_flicker() -> None:
    assert motion_energy(flat(0, 0, 255, 0, 0)) == 255 / 2
    assert flicker(flat(0, 0, 255, 0, 0)) == (255 + 510 + 255) / 3


@pytest.mark.parametrize("clip", [flat(9), flat(9, 30)], ids=["one frame", "two frames"])
def test_too_few_frames_cannot_flicker(clip: Clip) -> None:
    assert flicker(clip) == 0
    assert motion_energy(clip) == (21 if len(clip) == 2 else 0)


def test_flat_frames_and_even_slopes_have_no_sharpness() -> None:
    slope = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[None, None, :, None], 6, axis=1).repeat(3, axis=3)
    assert sharpness(flat(0, 128)).tolist() == [0, 0]
    assert sharpness(slope) == pytest.approx([0], abs=1e-15)


def test_sharpness_of_a_chessboard() -> None:
    """All four neighbours differ by d from the pixel: the Laplacian is 4 d or -4 d, half of the time each."""
    assert sharpness(board(100, 110)) == pytest.approx([1600])
    assert sharpness(np.concatenate([board(100, 110), board(0, 0)])) == pytest.approx([1600, 0])


def test_grey_weighs_the_colours_as_the_eye_does() -> None:
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        coloured = np.zeros_like(board(0, 100))
        coloured[..., channel] = board(0, 100)[..., channel]
        assert sharpness(coloured) == pytest.approx([(400 * weight) ** 2])


def test_frames_too_small_for_a_laplacian_have_no_sharpness() -> None:
    assert sharpness(flat(1, 2, height=2)).tolist() == [0, 0]


@given(CLIPS)
def test_turned_and_reversed_clips_measure_alike(clip: Clip) -> None:
    turned, reversed_ = clip.transpose(0, 2, 1, 3), clip[::-1]
    assert motion_energy(turned) == pytest.approx(motion_energy(clip))
    assert flicker(reversed_) == pytest.approx(flicker(clip))
    assert sharpness(turned) == pytest.approx(sharpness(clip))
    assert flicker(clip) <= 2 * max(np.abs(np.diff(clip.astype(float), axis=0)).mean(axis=(1, 2, 3))) + 1e-9
