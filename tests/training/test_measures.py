"""Video metrics on cases with known results."""

import numpy as np
import pytest
from numpy.typing import NDArray
from training import measures


def texture(height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    waves = sum(np.sin(x * a + y * b + c) for a, b, c in rng.uniform(-0.5, 0.5, (6, 3)) * [1, 1, 6])
    gray = np.clip(127 + 25 * np.asarray(waves), 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def moving(pixels: int, count: int = 4) -> NDArray[np.uint8]:
    big = texture(64, 160)
    return np.stack([big[:, 30 + pixels * t : 126 + pixels * t] for t in range(count)])


def test_a_still_video_has_no_flow_and_no_difference() -> None:
    still = np.stack([texture()] * 3)
    assert measures.mean_flow(still) < 0.05
    assert measures.least_neighbour_psnr(still) > 60


def test_flow_is_the_shift_in_pixels() -> None:
    assert measures.mean_flow(moving(2)) == pytest.approx(2, rel=0.15)


def test_similarity_separates_equal_from_opposite_motion() -> None:
    assert measures.motion_similarity(moving(2), moving(2)) == pytest.approx(1)
    assert measures.motion_similarity(moving(2), moving(-2)) < -0.8


def test_contrast_sees_one_flat_frame() -> None:
    frames = np.stack([texture(), texture()])
    frames[1] = 127
    assert measures.least_contrast(frames, texture()) == 0


def test_psnr_of_a_known_error() -> None:
    a = np.full((8, 8, 3), 100, np.uint8)
    assert measures.psnr(a, a + np.uint8(1)) == pytest.approx(48.13, abs=0.01)
