"""Reader of the watermark, independent of the code that writes it."""

import numpy as np
import numpy.typing as npt

from img2vid.media.watermark import MESSAGE


def has_watermark(frames: npt.NDArray[np.uint8]) -> bool:
    """Return True if at least 42 of the 48 bits agree in one frame: by chance about once in a million videos.

    One frame suffices, because compression keeps the mark in some frames and moves it with the motion in others.
    """
    return max(map(agreeing_bits, frames)) >= 42


def agreeing_bits(frame: npt.NDArray[np.uint8]) -> int:
    """Return how many of the 48 bits agree with MESSAGE, by majority vote over the blocks of a frame (H, W, 3)."""
    rows, columns = frame.shape[0] // 8, frame.shape[1] // 8
    red, green, blue = np.moveaxis(frame[: rows * 8, : columns * 8].astype(float), 2, 0)
    chroma = 128 + 0.492 * (blue - (0.299 * red + 0.587 * green + 0.114 * blue))
    band = 2 * chroma.reshape(rows * 4, 2, columns * 4, 2).mean(axis=(1, 3))
    blocks = band.reshape(rows, 4, columns, 4).swapaxes(1, 2).reshape(-1, 16)
    ones = blocks[:, 1:].max(axis=1) % 36 > 18
    bits = [bool(ones[place::48].mean() > 0.5) for place in range(48)]
    return sum(bit == (MESSAGE >> (47 - place) & 1) for place, bit in enumerate(bits))
