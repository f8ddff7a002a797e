"""Color match against closed forms."""

import numpy as np
import pytest

from img2vid.media.color_match import color_distance, match_colors, to_lab, to_rgb, transport

NOISE = np.random.default_rng(7)


def colors(scale: tuple[float, float, float], count: int = 4000) -> np.ndarray:
    return NOISE.standard_normal((count, 3)) * scale


def picture(low: int, high: int) -> np.ndarray:
    return NOISE.integers(low, high, (24, 32, 3)).astype(np.uint8)


def test_known_colors_in_lab() -> None:
    """Values of sRGB white, black and red in CIE Lab under D65."""
    frame = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(to_lab(frame), [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.2]], atol=0.05)


def test_lab_and_back() -> None:
    frame = picture(0, 256)
    assert np.abs(to_rgb(to_lab(frame), 24, 32).astype(int) - frame).max() <= 1


def test_along_the_axes_the_map_is_the_ratio_of_the_spreads() -> None:
    whole = colors((1, 1, 1), 100_000)
    whole = (whole - whole.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(whole, rowvar=False))).T
    found = transport(whole * (4, 2, 1), whole * (2, 6, 1))
    np.testing.assert_allclose(found, np.diag([0.5, 3, 1]), atol=1e-3)


def test_the_map_is_symmetric_positive_and_gives_the_covariance() -> None:
    source, target = colors((9, 4, 2)) @ rotation(0.4), colors((3, 8, 5)) @ rotation(1.1)
    found = transport(source, target)
    np.testing.assert_allclose(found, found.T, atol=1e-9)
    assert np.linalg.eigvalsh(found).min() > 0
    moved = np.cov(source @ found, rowvar=False)
    np.testing.assert_allclose(moved, np.cov(target, rowvar=False), atol=0.02)


def rotation(angle: float) -> np.ndarray:
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def test_a_set_is_mapped_to_itself() -> None:
    source = colors((9, 4, 2))
    np.testing.assert_allclose(transport(source, source), np.eye(3), atol=1e-9)


def test_the_distance_of_gray_frames_is_that_of_mean_and_spread() -> None:
    """Of two lightnesses each, with the same probability: the larger of both distances moves to the larger."""
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    frames[0, :, :4], frames[0, :, 4:], frames[1, :, :4], frames[1, :, 4:] = 50, 100, 60, 180
    one, other = (np.unique(to_lab(frame)[:, 0].round(6)) for frame in frames)
    assert color_distance(*frames) == pytest.approx(np.sqrt(np.mean((other - one) ** 2)), rel=0.02)
    assert color_distance(frames[0], frames[0]) == pytest.approx(0, abs=1e-3)


def test_faded_frames_get_the_first_frames_colors() -> None:
    first = picture(60, 190)
    faded = np.rint(first * 0.7 + 40).astype(np.uint8)
    assert color_distance(faded, first) > 3
    matched = match_colors(np.stack([first, faded]), first)
    assert np.abs(matched.astype(int) - first).mean() < 1
    assert color_distance(matched[1], first) < 0.5


def test_a_flat_frame_takes_the_mean_color() -> None:
    flat = np.full((1, 24, 32, 3), 90, np.uint8)
    first = picture(100, 140)
    matched = match_colors(flat, first)[0]
    assert matched.std(axis=(0, 1)).max() == 0
    np.testing.assert_allclose(to_lab(matched).mean(axis=0), to_lab(first).mean(axis=0), atol=0.5)


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_frames_stay(level: int) -> None:
    frame = np.full((24, 32, 3), level, np.uint8)
    assert (match_colors(frame[np.newaxis], frame) == level).all()
