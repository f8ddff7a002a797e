"""Metrics for videos of a small model, in addition to img2vid/media/measures.py: steadiness and motion."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from img2vid.media.measures import psnr

Frames = NDArray[np.uint8]
"""Shape (T, H, W, 3)."""


def least_neighbour_psnr(frames: Frames) -> float:
    """Return the lowest PSNR between neighboring frames."""
    return min(psnr(a, b) for a, b in pairwise(frames))


def least_contrast(frames: Frames, picture: Frames) -> float:
    """Return the smallest standard deviation of a frame's pixels over that of the image."""
    return float(min(frame.std() for frame in frames) / picture.std())


def flows(frames: Frames) -> NDArray[np.float32]:
    """Return the dense optical flow (Farneback 2003) between neighboring frames in pixels, (T - 1, H, W, 2)."""
    gray = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
    start = np.zeros((*gray[0].shape, 2), np.float32)
    fields = [cv2.calcOpticalFlowFarneback(a, b, start.copy(), 0.5, 3, 15, 3, 5, 1.2, 0) for a, b in pairwise(gray)]
    return np.stack(fields).astype(np.float32)


def mean_flow(frames: Frames) -> float:
    """Return the mean length of the flow in pixels per frame."""
    return float(np.linalg.norm(flows(frames), axis=-1).mean())


def motion_similarity(a: Frames, b: Frames) -> float:
    """Return the cosine similarity of two clips' flow fields: 1 for equal motion, 0 for unrelated motion."""
    u, v = flows(a).ravel(), flows(b).ravel()
    return float(u @ v / max(float(np.linalg.norm(u) * np.linalg.norm(v)), 1e-10))
