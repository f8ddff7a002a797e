"""The invisible watermark of the reference demo: 48 bits in the blue tint of every frame, read back by majority vote.

The scheme is "dwtDct" of the package invisible-watermark, whose decoder reads these frames, but nothing of that package
is needed. The chroma U (blue minus brightness) is averaged over 2 x 2 pixels and scaled by two (the coarse band of a Haar
transform); in every 4 x 4 block of that, so 8 x 8 pixels, the largest value but the first is moved onto a grid of step 36
at the quarter (bit 0) or three-quarter (bit 1) mark. Block n carries bit n mod 48.
Three things differ from that package, none of them visible to its decoder: values go to the nearest mark that keeps
them the largest of their block, only blue and green of the touched pixels change, and every frame with 48 blocks is
marked (64 x 48 pixels or more; the package refuses frames below 256 x 256 = 65,536 pixels).
"""

from typing import cast

import numpy as np
import numpy.typing as npt

from img2vid.errors import BadInput

Frames = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]

MESSAGE = 0b101100111110110010010000011110111011000110011110
"""The bits that the reference demo writes, the highest first."""

_LENGTH = 48
_BITS = np.array([MESSAGE >> (_LENGTH - 1 - index) & 1 for index in range(_LENGTH)], dtype=np.float32)
_STEP = 36.0

# U = 128 + 0.492 (B - Y) with Y = 0.299 R + 0.587 G + 0.114 B; raising U by one at constant Y and red moves B by 2.032
# and G by -0.395.
_U_OF_RGB = np.array([-0.492 * 0.299, -0.492 * 0.587, 0.492 * (1 - 0.114)], dtype=np.float32)
_GREEN_PER_U, _BLUE_PER_U = -0.395, 2.032


def can_carry_watermark(height: int, width: int) -> bool:
    """Whether a frame of this size has a block for every bit."""
    return (height // 8) * (width // 8) >= _LENGTH


def embed_watermark(frames: Frames) -> Frames:
    """A marked copy of frames, uint8 (T, H, W, 3).

    Raises BadInput for frames too small to carry the mark; ask `can_carry_watermark` first.
    """
    _check(frames)
    return np.stack([_embed(frame) for frame in frames])


def read_watermark(frames: Frames) -> float:
    """The share of the 48 bits that frames, uint8 (T, H, W, 3), agree on with MESSAGE: 1.0 if all, about 0.5 by chance.

    Every block of every frame has one vote, so more frames make the answer surer. Raises BadInput for too small frames.
    """
    _check(frames)
    votes = np.sum([_votes(frame) for frame in frames], axis=0)
    return float(np.mean((votes > 0) == (_BITS > 0)))


def has_watermark(frames: Frames) -> bool:
    """Whether at least 42 of the 48 bits agree, which chance does once in 20 million."""
    return read_watermark(frames) >= 42 / _LENGTH


def _check(frames: Frames) -> None:
    if frames.ndim != 4 or frames.dtype != np.uint8 or frames.shape[3] != 3 or frames.shape[0] < 1:
        raise BadInput(f"frames must be uint8 of shape (T, H, W, 3), got {frames.dtype} of shape {frames.shape}")
    if not can_carry_watermark(*frames.shape[1:3]):
        size = f"{frames.shape[2]} x {frames.shape[1]}"
        raise BadInput(f"frames of {size} pixels are too small for the watermark; it needs 48 blocks of 8 x 8 pixels")


def _blocks(frame: Frames) -> _Floats:
    """The coarse band of U in blocks: (rows, columns, 16), at the values of invisible-watermark's transform."""
    rows, columns = frame.shape[0] // 8, frame.shape[1] // 8
    pixels = frame[: rows * 8, : columns * 8].astype(np.float32)
    quads = pixels.reshape(rows * 4, 2, columns * 4, 2, 3).sum(axis=(1, 3))
    band = quads @ _U_OF_RGB / 2 + 256
    return cast(_Floats, band.reshape(rows, 4, columns, 4).transpose(0, 2, 1, 3).reshape(rows, columns, 16))


def _carriers(blocks: _Floats) -> npt.NDArray[np.intp]:
    """Which of a block's 16 values carries the bit, (rows, columns)."""
    return np.argmax(blocks[..., 1:], axis=-1) + 1


def _embed(frame: Frames) -> Frames:
    blocks = _blocks(frame)
    rows, columns = blocks.shape[:2]
    carriers = _carriers(blocks)
    values = np.take_along_axis(blocks, carriers[..., None], axis=-1)[..., 0]
    change = (_targets(blocks, values) - values) / 2  # of U, in each of the 2 x 2 pixels behind the value

    marked = frame.copy()
    top = np.arange(rows)[:, None] * 8 + carriers // 4 * 2
    left = np.arange(columns)[None, :] * 8 + carriers % 4 * 2
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        for channel, weight in ((1, _GREEN_PER_U), (2, _BLUE_PER_U)):
            old = frame[top + down, left + right, channel]
            marked[top + down, left + right, channel] = np.clip(np.rint(old + weight * change), 0, 255)
    return marked


def _targets(blocks: _Floats, values: _Floats) -> _Floats:
    """The nearest mark that carries each block's bit and stays above the block's second largest value."""
    bits = np.resize(_BITS, values.shape)
    mark = (0.25 + 0.5 * bits) * _STEP
    nearest = mark + _STEP * np.rint((values - mark) / _STEP)
    second = np.sort(blocks[..., 1:], axis=-1)[..., -2]
    return np.where(nearest > second + 2, nearest, nearest + _STEP * np.ceil((second + 2 - nearest) / _STEP))


def _votes(frame: Frames) -> npt.NDArray[np.int64]:
    """For every bit, the number of blocks that say one less the number that say zero."""
    blocks = _blocks(frame)
    values = np.take_along_axis(blocks, _carriers(blocks)[..., None], axis=-1).ravel()
    ones = np.where(values % _STEP > _STEP / 2, 1, -1)
    return np.array([ones[bit::_LENGTH].sum() for bit in range(_LENGTH)], dtype=np.int64)
