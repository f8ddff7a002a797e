"""Video metrics on clips with known results."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from img2vid.errors import BadInput
from img2vid.media.measures import (
    absolute_difference,
    contrast,
    drift,
    flicker,
    flicker_along,
    motion,
    motion_energy,
    psnr,
    sharpness,
    ssim,
)

Clip = NDArray[np.uint8]
CLIPS = arrays(np.uint8, (4, 5, 6, 3))


def flat(*levels: int, height: int = 6, width: int = 8) -> Clip:
    """Return a clip with one gray per frame."""
    return np.stack([np.full((height, width, 3), level, np.uint8) for level in levels])


def board(low: int, high: int, size: int = 8) -> Clip:
    """Return one frame, a checkerboard of single pixels."""
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


def test_differences_are_per_frame_and_do_not_wrap_around() -> None:
    """As bytes, 3 - 5 is 254."""
    assert absolute_difference(flat(3, 10, 255), flat(5, 10, 0)).tolist() == [2, 0, 255]
    half = flat(0)
    half[:, :, :4] = 100
    assert absolute_difference(half, flat(0)).tolist() == [50]


def test_clips_of_different_sizes_are_refused() -> None:
    with pytest.raises(BadInput, match=r"^clips must have the same size to be compared, got 2 x 6 x 8 and 3 x 6 x 8$"):
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
    """All four neighbors differ by d from the pixel, so the Laplacian is 4 d or -4 d, half of the time each."""
    assert sharpness(board(100, 110)) == pytest.approx([1600])
    assert sharpness(np.concatenate([board(100, 110), board(0, 0)])) == pytest.approx([1600, 0])


def test_gray_weighs_the_colors_as_the_eye_does() -> None:
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        colored = np.zeros_like(board(0, 100))
        colored[..., channel] = board(0, 100)[..., channel]
        assert sharpness(colored) == pytest.approx([(400 * weight) ** 2])


def test_frames_too_small_for_a_laplacian_have_no_sharpness() -> None:
    assert sharpness(flat(1, 2, height=2)).tolist() == [0, 0]


@given(CLIPS)
def test_turned_and_reversed_clips_measure_alike(clip: Clip) -> None:
    turned, reversed_ = clip.transpose(0, 2, 1, 3), clip[::-1]
    assert motion_energy(turned) == pytest.approx(motion_energy(clip))
    assert flicker(reversed_) == pytest.approx(flicker(clip))
    assert sharpness(turned) == pytest.approx(sharpness(clip))
    assert flicker(clip) <= 2 * max(np.abs(np.diff(clip.astype(float), axis=0)).mean(axis=(1, 2, 3))) + 1e-9


# Along a clip


def texture(height: int, width: int, seed: int = 0) -> Clip:
    """Return one frame of soft spots, (H, W, 3), with unique neighborhoods."""
    spots = np.random.default_rng(seed).normal(size=(height // 4, width // 4))
    image = Image.fromarray(spots.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    gray = np.clip(128 + 45 * np.asarray(image), 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def shifted(dx: float, dy: float, frames: int = 4, height: int = 96, width: int = 160) -> Clip:
    """Return a clip that moves by (dx, dy) pixels per frame."""
    edge = 48
    whole = Image.fromarray(texture(height + 2 * edge, width + 2 * edge))
    matrices = [(1, 0, edge - t * dx, 0, 1, edge - t * dy) for t in range(frames)]
    moved = [whole.transform((width, height), Image.Transform.AFFINE, m, Image.Resampling.BICUBIC) for m in matrices]
    return np.stack([np.asarray(frame) for frame in moved])


@pytest.mark.parametrize(("dx", "dy"), [(1.0, 0.0), (0.0, -2.0), (3.0, 4.0), (0.5, 0.0), (-8.0, 6.0)])
def test_motion_is_how_far_things_move(dx: float, dy: float) -> None:
    assert motion(shifted(dx, dy)) == pytest.approx(np.full(3, math.hypot(dx, dy)), rel=0.05, abs=0.05)


def test_motion_counts_the_part_that_moves_and_no_noise_of_the_codec() -> None:
    half = shifted(4.0, 0.0)
    still = np.repeat(half[:1], len(half), axis=0)
    half[:, :48] = still[:, :48]
    assert motion(half) == pytest.approx(np.full(3, 2.0), rel=0.12)
    assert motion(still) == pytest.approx(np.zeros(3), abs=1e-6)
    noise = np.random.default_rng(1).normal(0, 1.5, still.shape)
    assert motion(np.clip(still + noise, 0, 255).astype(np.uint8)).max() < 0.1


def test_motion_follows_a_clip_that_speeds_up() -> None:
    slow, fast = shifted(1.0, 0.0, frames=2), shifted(5.0, 0.0, frames=2)
    lengths = [float(motion(clip)[0]) for clip in (slow, fast)]
    assert lengths == pytest.approx([1, 5], rel=0.05)


def test_motion_of_tiny_or_single_frames_is_undefined() -> None:
    assert motion(flat(1)).tolist() == []
    assert motion(flat(1, 200, 1, height=11, width=300)).tolist() == [0, 0]
    assert motion(flat(0, 0, height=12, width=12)).tolist() == [0]


def test_structure_is_the_same_only_where_all_is() -> None:
    one, other = texture(64, 80), texture(64, 80, seed=1)
    assert ssim(one, one) == pytest.approx(1)
    assert ssim(one, other) == pytest.approx(ssim(other, one))
    assert abs(ssim(one, other)) < 0.2
    assert ssim(np.stack([one, one]), np.stack([one, other])) == pytest.approx((1 + ssim(one, other)) / 2)


@pytest.mark.parametrize(("a", "b"), [(100, 120), (0, 255), (10, 10)])
def test_structure_of_plain_frames_has_a_closed_form(a: int, b: int) -> None:
    """Without variance only the means are left: (2 a b + C1) / (a^2 + b^2 + C1)."""
    c1 = (0.01 * 255) ** 2
    got = ssim(flat(a, height=16, width=16)[0], flat(b, height=16, width=16)[0])
    assert got == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), rel=1e-9)


def test_noise_lowers_structure_more_than_brightness_of_the_same_error() -> None:
    clear = texture(96, 96)
    noise = np.random.default_rng(0).normal(0, 12, clear.shape[:2])[..., None]
    noisy = np.clip(clear + noise, 0, 255).astype(np.uint8)
    brighter = np.clip(clear.astype(int) + 12, 0, 255).astype(np.uint8)
    assert psnr(noisy, clear) == pytest.approx(psnr(brighter, clear), abs=1)
    assert ssim(noisy, clear) < ssim(brighter, clear) - 0.05


def test_structure_needs_frames_of_one_size_and_room_for_a_window() -> None:
    with pytest.raises(BadInput, match="clips must have the same size to be compared, got 16 x 16 and 16 x 17"):
        ssim(flat(1, height=16, width=16)[0], flat(1, height=16, width=17)[0])
    with pytest.raises(BadInput, match=r"^SSIM needs frames of at least 11 x 11 pixels, got 10 x 16$"):
        ssim(flat(1, height=10, width=16)[0], flat(1, height=10, width=16)[0])


def test_contrast_is_the_spread_of_gray() -> None:
    clip = np.concatenate([board(100, 110), board(0, 255), flat(7, height=8, width=8)])
    assert contrast(clip) == pytest.approx([5, 127.5, 0])


def test_flicker_is_measured_per_position() -> None:
    assert flicker_along(flat(10, 20, 30, 20, 30)).tolist() == [0, 20, 20]
    assert flicker(flat(10, 20, 30, 20, 30)) == pytest.approx(40 / 3)
    assert flicker_along(flat(1, 2)).tolist() == []


@given(st.floats(1, 1e3), st.floats(-0.9, 2), st.integers(2, 60))
def test_drift_of_an_even_change_is_that_change(mean: float, change: float, count: int) -> None:
    series = mean * (1 + change * (np.linspace(0, 1, count) - 0.5))
    assert drift(series.tolist()) == pytest.approx(change, abs=1e-9)


def test_drift_of_constant_or_short_clips_is_undefined() -> None:
    assert [drift(values) for values in ([], [3.0], [2.0, 2.0, 2.0], [0.0, 0.0], [1.0, 5.0, 1.0])] == [0, 0, 0, 0, 0]


def test_drift_of_fading_noise_is_seen_in_sharpness_and_contrast() -> None:
    frame = texture(64, 80).astype(float) - 128
    fading = np.stack([np.clip(128 + frame * scale, 0, 255) for scale in np.linspace(1, 0.6, 9)]).astype(np.uint8)
    assert drift(contrast(fading).tolist()) == pytest.approx(-0.5, abs=0.02)  # from 1.25 to 0.75 of the mean
    assert drift(sharpness(fading).tolist()) == pytest.approx(-0.96, abs=0.08)  # the same of the squares
