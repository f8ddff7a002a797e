"""What a video is measured by, alone and against another one, in numbers that need no network.

A clip is uint8 (T, H, W, 3). x is its value at frame t, row i, column j and channel c, from 0 to 255; mean is the mean
over everything that its index does not name. Grey is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from img2vid.errors import BadInput

Clip = NDArray[np.uint8]
"""(T, H, W, 3)."""
Whole = NDArray[np.int16]
"""Differences of 8-bit values, and differences of those, in a quarter of the memory of float64."""

PEAK = 255.0
_GREY = np.array([0.299, 0.587, 0.114])
_WINDOW = 11
"""Pixels along a side of a window of structural similarity."""
_SMALLEST_FLOW = 12
_DIS_MEDIUM = 2
"""OpenCV's preset for exact flows."""


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
    return float(flicker_along(clip).mean()) if len(clip) > 2 else 0.0


def flicker_along(clip: Clip) -> NDArray[np.float64]:
    """The same at each place of the clip, (T - 2,); empty for fewer than three frames."""
    if len(clip) < 3:
        return np.zeros(0)
    return np.abs(np.diff(clip.astype(np.int16), n=2, axis=0)).mean(axis=(1, 2, 3))


def motion(clip: Clip) -> NDArray[np.float64]:
    """How far things move from each frame to the next, in pixels, (T - 1,): the mean length of the optical flow.

    The flow is found by dense inverse search between the greys (Kroeger et al. 2016), which follows what has texture;
    what moves beneath a plain surface is not seen. Frames under 12 x 12 pixels are too small for it: 0.
    """
    if min(clip.shape[1:3]) < _SMALLEST_FLOW:
        return np.zeros(max(len(clip) - 1, 0))
    import cv2  # only here: pages that draw what was measured do without it

    flow_between = cast(Any, cv2).DISOpticalFlow_create(_DIS_MEDIUM)
    greys = [np.rint(frame @ _GREY).astype(np.uint8) for frame in clip]
    flows = (flow_between.calc(before, after, None) for before, after in pairwise(greys))
    return np.array([float(np.hypot(flow[..., 0], flow[..., 1]).mean()) for flow in flows])


def ssim(a: Clip, b: Clip) -> float:
    """Structural similarity of the greys (Wang et al. 2004), 1 where both are the same; takes clips and single frames.

    Gaussian windows of standard deviation 1.5, C1 = (0.01 * 255)^2, C2 = (0.03 * 255)^2; the mean over all windows that
    lie wholly in the picture. Raises BadInput where both differ in shape, or are smaller than a window, 11 x 11.
    """
    _difference(a, b)
    if min(a.shape[-3:-1]) < _WINDOW:
        raise BadInput(f"ssim needs frames of at least {_WINDOW} x {_WINDOW} pixels, got {_size(a)}")
    pairs: list[tuple[Clip, Clip]] = [(a, b)] if a.ndim == 3 else list(zip(a, b, strict=True))
    return float(np.mean([_ssim_of_greys(one @ _GREY, other @ _GREY) for one, other in pairs]))


def contrast(clip: Clip) -> NDArray[np.float64]:
    """The standard deviation of each frame's grey over its pixels, (T,), in levels of 255."""
    return np.array([(frame @ _GREY).std() for frame in clip])


def drift(values: Sequence[float]) -> float:
    """How much a series changes from its first to its last value, as a share of its mean, by its least squares line.

    0.1 is a tenth more at the end. 0 for a single value, and where the mean is 0.
    """
    series = np.asarray(values, dtype=np.float64)
    mean = float(series.mean()) if series.size else 0.0
    if series.size < 2 or mean == 0:
        return 0.0
    times = np.arange(series.size) - (series.size - 1) / 2
    slope = float(times @ series / (times @ times))
    return slope * (series.size - 1) / mean


def sharpness(clip: Clip) -> NDArray[np.float64]:
    """How much fine detail each frame has, (T,): the variance over its inner pixels of the Laplacian of its grey.

    The Laplacian is g[i - 1, j] + g[i + 1, j] + g[i, j - 1] + g[i, j + 1] - 4 g[i, j] (Pech-Pacheco et al. 2000).
    Noise counts as detail too. Frames under 3 x 3 pixels have none: 0.
    """
    if min(clip.shape[1:3]) < 3:
        return np.zeros(len(clip))
    return np.array([_laplacian(frame.astype(np.float64) @ _GREY).var() for frame in clip])


def _ssim_of_greys(a: Any, b: Any) -> float:
    import cv2

    def local_mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
        edge = _WINDOW // 2
        blurred: NDArray[np.float64] = cast(Any, cv2).GaussianBlur(x, (_WINDOW, _WINDOW), 1.5)
        return blurred[edge:-edge, edge:-edge]

    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a, variance_b = local_mean(a * a) - mean_a**2, local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    brightness = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return float((brightness * structure).mean())


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
