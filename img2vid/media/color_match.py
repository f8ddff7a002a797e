"""Color match of frames: the Monge-Kantorovich map between the colors of two pictures, in CIE Lab."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Floats = NDArray[np.float64]
_SMALLEST = 1e-3
"""Variance in Lab that is added to each direction, so that flat pictures have a map; far below the visible 1."""


def to_lab(frame: Frames) -> Floats:
    """Convert sRGB pixels, uint8 (H, W, 3), to CIE Lab (D65), (H * W, 3): L from 0 to 100."""
    import cv2  # only here: pages do not need it

    pixels = frame.astype(np.float32) / 255
    lab: NDArray[np.float32] = cast(Any, cv2).cvtColor(pixels, cast(Any, cv2).COLOR_RGB2Lab)
    return cast(Any, lab.astype(np.float64)).reshape(-1, 3)


def to_rgb(lab: Floats, height: int, width: int) -> Frames:
    """Convert CIE Lab, (H * W, 3), to sRGB pixels, uint8 (H, W, 3). Colors outside of sRGB are clipped."""
    import cv2

    pixels = cast(Any, lab.astype(np.float32)).reshape(height, width, 3)
    rgb: NDArray[np.float32] = cast(Any, cv2).cvtColor(pixels, cast(Any, cv2).COLOR_Lab2RGB)
    return np.rint(rgb.clip(0, 1) * 255).astype(np.uint8)


def transport(source: Floats, target: Floats) -> Floats:
    """Return the linear Monge-Kantorovich map between the covariances of two sets of colors, (N, 3) each, as (3, 3).

    A = S^(-1/2) (S^(1/2) T S^(1/2))^(1/2) S^(-1/2), with S and T the covariances, is the symmetric matrix with
    A S A = T that moves colors least (Pitie and Kokaram 2007).
    """
    s, t = _covariance(source), _covariance(target)
    root, back = _power(s, 0.5), _power(s, -0.5)
    return back @ _power(root @ t @ root, 0.5) @ back


def match_colors(frames: Frames, target: Frames) -> Frames:
    """Return frames (T, H, W, 3) with the mean and covariance of the colors of `target`, (H, W, 3), in Lab.

    Each frame has its own map, so equal frames stay equal and there is no step where clips are joined.
    """
    wanted = to_lab(target)
    matched = [_matched(frame, wanted) for frame in frames]
    return np.stack(matched)


def color_distance(frame: Frames, other: Frames) -> float:
    """Return how far the map moves the colors of a frame to those of another, in Lab units (root mean square).

    It is the Wasserstein distance of two normal distributions, |m - n|^2 + tr(S + T - 2 (S^(1/2) T S^(1/2))^(1/2)), so
    it sees fading as well as a change of the mean. About 2 is visible.
    """
    source, target = to_lab(frame), to_lab(other)
    s, t = _covariance(source), _covariance(target)
    root = _power(s, 0.5)
    spread = np.trace(s + t - 2 * _power(root @ t @ root, 0.5))
    return float(np.sqrt(np.square(source.mean(axis=0) - target.mean(axis=0)).sum() + max(spread, 0.0)))


def _matched(frame: Frames, wanted: Floats) -> Frames:
    colors = to_lab(frame)
    moved = (colors - colors.mean(axis=0)) @ transport(colors, wanted) + wanted.mean(axis=0)
    return to_rgb(moved, *frame.shape[:2])


def _covariance(colors: Floats) -> Floats:
    centered = colors - colors.mean(axis=0)
    return centered.T @ centered / len(colors) + _SMALLEST * np.eye(3)


def _power(matrix: Floats, exponent: float) -> Floats:
    """Return a power of a symmetric positive definite matrix."""
    found: Any = np.linalg.eigh(matrix)
    return (found.eigenvectors * found.eigenvalues.clip(_SMALLEST**2) ** exponent) @ found.eigenvectors.T
