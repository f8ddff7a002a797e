"""Video metrics that need no network, for one clip or a pair of clips.

A clip is uint8 (T, H, W, 3). x is its value at frame t, row i, column j and channel c, from 0 to 255; mean averages
over all indices that are not named. Gray is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from img2vid.errors import BadInput

Clip = NDArray[np.uint8]
"""Shape (T, H, W, 3)."""
Whole = NDArray[np.int16]
"""First and second differences of 8-bit values, in a quarter of the memory of float64."""

PEAK = 255.0
_GRAY = np.array([0.299, 0.587, 0.114])
_WINDOW = 11
"""Window side of structural similarity in pixels."""
_SMALLEST_FLOW = 12
_DIS_MEDIUM = 2
"""OpenCV's preset for accurate flow."""


def psnr(a: Clip, b: Clip) -> float:
    """Return the peak signal-to-noise ratio in dB: 10 log10(255^2 / mean((a - b)^2)), infinite if both are equal.

    Accepts clips and single frames. Raise BadInput if the shapes differ.
    """
    error = float(np.square(_difference(a, b), dtype=np.int32).mean())
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def absolute_difference(a: Clip, b: Clip) -> NDArray[np.float64]:
    """Return the difference of two clips per frame: mean_t |a - b|, (T,). Raise BadInput if the shapes differ."""
    return np.abs(_difference(a, b)).mean(axis=(1, 2, 3))


def motion_energy(clip: Clip) -> float:
    """Return the mean change between frames, the mean of |x[t + 1] - x[t]|; 0 for a single frame."""
    return _mean_size(np.diff(clip.astype(np.int16), axis=0))


def flicker(clip: Clip) -> float:
    """Return the mean second difference over time, |(x[t + 2] - x[t + 1]) - (x[t + 1] - x[t])|.

    Steadily rising brightness has no flicker; alternating brightness has twice its motion energy. 0 for fewer than
    three frames.
    """
    return float(flicker_along(clip).mean()) if len(clip) > 2 else 0.0


def flicker_along(clip: Clip) -> NDArray[np.float64]:
    """Return `flicker` at each time step, (T - 2,); empty for fewer than three frames."""
    if len(clip) < 3:
        return np.zeros(0)
    return np.abs(np.diff(clip.astype(np.int16), n=2, axis=0)).mean(axis=(1, 2, 3))


def motion(clip: Clip) -> NDArray[np.float64]:
    """Return the mean length of the optical flow between consecutive frames in pixels, (T - 1,).

    The flow is found by dense inverse search on the grays (Kroeger et al. 2016), which needs texture: motion within
    plain surfaces is not seen. Frames under 12 x 12 pixels are too small for it and give 0.
    """
    if min(clip.shape[1:3]) < _SMALLEST_FLOW:
        return np.zeros(max(len(clip) - 1, 0))
    import cv2  # only here: pages that plot stored metrics do not need it

    flow_between = cast(Any, cv2).DISOpticalFlow_create(_DIS_MEDIUM)
    grays = [np.rint(frame @ _GRAY).astype(np.uint8) for frame in clip]
    flows = (flow_between.calc(before, after, None) for before, after in pairwise(grays))
    return np.array([float(np.hypot(flow[..., 0], flow[..., 1]).mean()) for flow in flows])


def ssim(a: Clip, b: Clip) -> float:
    """Return the structural similarity of the grays (Wang et al. 2004), 1 if equal, of clips or single frames.

    Gaussian windows of standard deviation 1.5, C1 = (0.01 * 255)^2, C2 = (0.03 * 255)^2, averaged over all windows that
    lie completely in the image. Raise BadInput if the shapes differ or are smaller than a window, 11 x 11.
    """
    _difference(a, b)
    if min(a.shape[-3:-1]) < _WINDOW:
        raise BadInput(f"SSIM needs frames of at least {_WINDOW} x {_WINDOW} pixels, got {_size(a)}")
    pairs: list[tuple[Clip, Clip]] = [(a, b)] if a.ndim == 3 else list(zip(a, b, strict=True))
    return float(np.mean([_ssim_of_grays(one @ _GRAY, other @ _GRAY) for one, other in pairs]))


def contrast(clip: Clip) -> NDArray[np.float64]:
    """Return the standard deviation of each frame's gray over its pixels, (T,), in levels of 255."""
    return np.array([(frame @ _GRAY).std() for frame in clip])


def drift(values: Sequence[float]) -> float:
    """Return the change of a least squares line from the first to the last value, divided by the mean.

    0.1 means 10 % more at the end. 0 for a single value, or if the mean is 0.
    """
    series = np.asarray(values, dtype=np.float64)
    mean = float(series.mean()) if series.size else 0.0
    if series.size < 2 or mean == 0:
        return 0.0
    times = np.arange(series.size) - (series.size - 1) / 2
    slope = float(times @ series / (times @ times))
    return slope * (series.size - 1) / mean


def sharpness(clip: Clip) -> NDArray[np.float64]:
    """Return the fine detail of each frame, (T,): the variance of the Laplacian of its gray over its inner pixels.

    The Laplacian is g[i - 1, j] + g[i + 1, j] + g[i, j - 1] + g[i, j + 1] - 4 g[i, j] (Pech-Pacheco et al. 2000). Noise
    counts as detail too. Frames under 3 x 3 pixels give 0.
    """
    if min(clip.shape[1:3]) < 3:
        return np.zeros(len(clip))
    return np.array([_laplacian(frame.astype(np.float64) @ _GRAY).var() for frame in clip])


def _ssim_of_grays(a: Any, b: Any) -> float:
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


def _laplacian(gray: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Laplacian of the inner pixels: (H, W) -> (H - 2, W - 2)."""
    vertical, horizontal = gray[:-2, 1:-1] + gray[2:, 1:-1], gray[1:-1, :-2] + gray[1:-1, 2:]
    return vertical + horizontal - 4 * gray[1:-1, 1:-1]


def _difference(a: Clip, b: Clip) -> Whole:
    if a.shape != b.shape:
        raise BadInput(f"clips must have the same size to be compared, got {_size(a)} and {_size(b)}")
    return a.astype(np.int16) - b.astype(np.int16)


def _size(clip: Clip) -> str:
    """Return frames, height, width as "14 x 96 x 160"; of a single frame only height and width."""
    return " x ".join(map(str, clip.shape[:-1]))


def _mean_size(differences: Whole) -> float:
    return float(np.abs(differences).mean()) if differences.size else 0.0
