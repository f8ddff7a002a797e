"""The invisible watermark of the reference demo: 48 bits in the blue chroma of every frame.

The scheme is "dwtDct" of the package invisible-watermark, whose decoder reads these frames; the package itself is not
needed. The chroma U (blue minus luma) is averaged over 2 x 2 pixels and doubled, which is the coarse band of a Haar
transform. Every 4 x 4 block of it, 8 x 8 pixels, encodes one bit in its largest value except the first: that value
moves to a quarter (0) or three quarters (1) of the way between two multiples of 36. Block n holds bit n mod 48.

Three differences from the package's encoder are compatible with its decoder. The largest value reaches its target
either by lowering it and all larger values, or by raising it, whichever changes less; the package leaves larger values
next to a lowered one and then misreads smooth images. Red is unchanged and so, to rounding, is luma. All frames of at
least 48 blocks, 64 x 48 pixels, are marked; the package needs 65,536 pixels.
"""

import numpy as np
import numpy.typing as npt

from img2vid.errors import BadInput

Frames = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]

MESSAGE = 0b101100111110110010010000011110111011000110011110
"""Bits that the reference demo writes, most significant first."""

_LENGTH = 48
_BITS = np.array([MESSAGE >> (_LENGTH - 1 - index) & 1 for index in range(_LENGTH)], dtype=np.float32)
_STEP = 36.0

# U = 128 + 0.492 (B - Y) with Y = 0.299 R + 0.587 G + 0.114 B. Raising U by one at constant Y and R changes B by 2.032
# and G by -0.395.
_U_OF_RGB = np.array([-0.492 * 0.299, -0.492 * 0.587, 0.492 * (1 - 0.114)], dtype=np.float32)
_GREEN_PER_U, _BLUE_PER_U = -0.395, 2.032


def can_carry_watermark(height: int, width: int) -> bool:
    """Return True if a frame of this size has a block for every bit."""
    return (height // 8) * (width // 8) >= _LENGTH


def embed_watermark(frames: Frames) -> Frames:
    """Return a marked copy of frames, uint8 (T, H, W, 3).

    Raise BadInput for frames too small to carry the mark, see `can_carry_watermark`.
    """
    _check(frames)
    return np.stack([_embed(frame) for frame in frames])


def _check(frames: Frames) -> None:
    if frames.ndim != 4 or frames.dtype != np.uint8 or frames.shape[3] != 3 or frames.shape[0] < 1:
        raise BadInput(f"frames must be uint8 of shape (T, H, W, 3), got {frames.dtype} of shape {frames.shape}")
    if not can_carry_watermark(*frames.shape[1:3]):
        size = f"{frames.shape[2]} x {frames.shape[1]}"
        raise BadInput(f"frames of {size} pixels are too small for the watermark; it needs 48 blocks of 8 x 8 pixels")


def _blocks(frame: Frames) -> _Floats:
    """Return the coarse band of U in blocks, (rows, columns, 16), scaled as in invisible-watermark's transform."""
    rows, columns = frame.shape[0] // 8, frame.shape[1] // 8
    pixels = frame[: rows * 8, : columns * 8].astype(np.uint16)
    pairs = pixels[0::2] + pixels[1::2]
    quads = pairs[:, 0::2] + pairs[:, 1::2]
    band = quads.astype(np.float32) @ (_U_OF_RGB / 2) + 256
    return np.reshape(np.swapaxes(np.reshape(band, (rows, 4, columns, 4)), 1, 2), (rows, columns, 16))


def _embed(frame: Frames) -> Frames:
    blocks = _blocks(frame)
    rows, columns = blocks.shape[:2]
    # A band value is twice the average U of its four pixels, so each pixel takes half of the change.
    change = np.swapaxes(np.reshape((_marked(blocks) - blocks) / 2, (rows, columns, 4, 4)), 1, 2)
    per_pixel = np.repeat(np.repeat(np.reshape(change, (rows * 4, columns * 4)), 2, axis=0), 2, axis=1)

    marked = np.array(frame)
    covered = marked[: rows * 8, : columns * 8]
    for channel, weight in ((1, _GREEN_PER_U), (2, _BLUE_PER_U)):
        covered[..., channel] = np.minimum(255, np.maximum(0, np.rint(covered[..., channel] + weight * per_pixel)))
    return marked


def _marked(blocks: _Floats) -> _Floats:
    """Encode the bits: lower all values above the mark below, or raise the largest to the mark above."""
    bits = np.resize(_BITS, blocks.shape[:2])[..., None]
    mark = (0.25 + 0.5 * bits) * _STEP
    largest = blocks[..., 1:].max(axis=-1, keepdims=True)
    below = mark + _STEP * np.floor((largest - mark) / _STEP)
    above = below + _STEP

    others = np.arange(16) > 0
    carrier = np.argmax(blocks[..., 1:], axis=-1)[..., None] + 1
    lowered = np.where(others, np.minimum(blocks, below), blocks)
    raised = np.where(others & (np.arange(16) == carrier), above, blocks)
    lowering_costs_less = ((blocks - lowered) ** 2).sum(-1, keepdims=True) < (above - largest) ** 2
    return np.where(lowering_costs_less, lowered, raised)
