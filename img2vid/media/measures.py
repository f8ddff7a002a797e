"""What a video is measured by, alone and against another one, in numbers that need no network.

A clip is uint8 (T, H, W, 3). x is its value at frame t, row i, column j and channel c, from 0 to 255; mean is the mean
over everything that its index does not name. Grey is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
"""

import math

import numpy as np
from numpy.typing import NDArray

from img2vid.errors import BadInput

Clip = NDArray[np.uint8]
"""(T, H, W, 3)."""
Whole = NDArray[np.int16]
"""Differences of 8-bit values, and differences of those, in a quarter of the memory of float64."""

PEAK = 255.0
_GREY = np.array([0.299, 0.587, 0.114])


def psnr(a: Clip, b: Clip) -> float:
    """Peak signal to noise ratio in dB: 10 log10(255^2 / mean((a - b)^2)), infinite where both are the same.

    Takes whole clips and single frames alike. Raises BadInput where they differ in shape.
    """
    error = float(np.square(_difference(a, b), dtype=np.int32).mean())
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def absolute_difference(a: Clip, b: Clip) -> NDArray[np.float64]:
    """How far two clips are apart at each frame: mean_t |a - b|, (T,). Raises BadInput where they differ in shape."""
    return np.abs(_difference(a, b)).mean(axis=(1, 2, 3))


def motion_energy(clip: Clip) -> float:
    """How much changes from frame to frame: the mean of |x[t + 1] - x[t]|; 0 for a single frame."""
    return _mean_size(np.diff(clip.astype(np.int16), axis=0))


def flicker(clip: Clip) -> float:
    """How unsteadily it changes: the mean of |(x[t + 2] - x[t + 1]) - (x[t + 1] - x[t])|.

    Brightness that rises evenly has none, brightness that goes up and down has twice its motion energy; 0 for fewer
    than three frames.
    """
    return _mean_size(np.diff(clip.astype(np.int16), n=2, axis=0))


def sharpness(clip: Clip) -> NDArray[np.float64]:
    """How much fine detail each frame has, (T,): the variance over its inner pixels of the Laplacian of its grey.

    The Laplacian is g[i - 1, j] + g[i + 1, j] + g[i, j - 1] + g[i, j + 1] - 4 g[i, j] (Pech-Pacheco et al. 2000).
    Noise counts as detail too. Frames under 3 x 3 pixels have none: 0.
    """
    if min(clip.shape[1:3]) < 3:
        return np.zeros(len(clip))
    return np.array([_laplacian(frame.astype(np.float64) @ _GREY).var() for frame in clip])


def _laplacian(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the inner pixels: (H, W) -> (H - 2, W - 2)."""
    vertical, horizontal = grey[:-2, 1:-1] + grey[2:, 1:-1], grey[1:-1, :-2] + grey[1:-1, 2:]
    return vertical + horizontal - 4 * grey[1:-1, 1:-1]


def _difference(a: Clip, b: Clip) -> Whole:
    if a.shape != b.shape:
        raise BadInput(f"only clips of one size can be compared, got {_size(a)} and {_size(b)}")
    return a.astype(np.int16) - b.astype(np.int16)


def _size(clip: Clip) -> str:
    """ "14 x 96 x 160": frames, height, width; of a single frame its height and width."""
    return " x ".join(map(str, clip.shape[:-1]))


def _mean_size(differences: Whole) -> float:
    return float(np.abs(differences).mean()) if differences.size else 0.0
