"""Composites of several clips: in a grid with axis labels, or as a wipe.

Labels have bands of their own and never cover an image. Clips are scaled down so that the images of a composite take at
most `LARGEST` pixels a side and `MOST_BYTES` for all frames. Very small clips are enlarged to make room for labels. All
sides are even, as H.264 requires.

Clips of 16 cells at 25 frames of 1024 x 576 would take 0.7 GB at full size. Calling `reduced` on each clip after
reading it keeps their total under `MOST_BYTES`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from img2vid.errors import BadInput
from img2vid.media import lettering
from img2vid.media.lettering import GROUND, INK
from img2vid.media.videos import frame_rate

Frames = NDArray[np.uint8]
"""Shape (T, H, W, 3), or (H, W, 3) for a single frame."""
Color = tuple[int, int, int]
Align = Literal["time", "stretch"]
"""Alignment of clips of different lengths.

time: each plays at its own speed, at the highest of their frame rates, and shorter ones hold their last frame. stretch:
each is spread over the frames of the longest one, at its frame rate.
"""

LARGEST = 2560
"""Largest side of a composite in pixels, without labels."""
MOST_BYTES = 400_000_000
"""Largest size of all frames of a composite in bytes, without labels."""
SMALLEST = 160
"""Minimum image width in pixels for legible labels."""
GAP = 4
"""Pixels between two images."""
EMPTY = (44, 46, 51)
"""Color of a cell without a clip."""
LINES = 3
"""Maximum lines per label."""
SMOOTH = 24
"""Minimum frames per second of a moving edge."""


@dataclass(frozen=True)
class Clip:
    """Frames, uint8 (T, H, W, 3), and their number per second."""

    frames: Frames
    fps: float


Cell = Clip | str
"""A clip, or the text in its place, such as "failed"."""


def grid(
    cells: Sequence[Sequence[Cell]], rows: Sequence[str], columns: Sequence[str], align: Align = "time"
) -> tuple[Frames, float]:
    """Show clips row by row at one height with axis labels. Return frames (T, H, W, 3) and frames per second.

    `rows` and `columns` are the axis labels, at the left and above. Raise BadInput if the numbers of labels and cells
    differ, there are no clips, or frames have another shape.
    """
    _check(cells, rows, columns)
    clips = [cell for line in cells for cell in line if isinstance(cell, Clip)]
    indices, fps = aligned(clips, align)
    shown = dict(zip(map(id, clips), indices, strict=True))
    length = max(map(len, indices))
    layout = _Layout(cells, rows, columns, length)
    composite = np.empty((length, layout.height, layout.width, 3), np.uint8)
    composite[:] = layout.background()
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            if isinstance(cell, Clip):
                top, left = layout.place(row, column)
                fitted = _on_ground(cell.frames, layout.wide[column], layout.high)[shown[id(cell)]]
                composite[:, top : top + layout.high, left : left + layout.wide[column]] = fitted
    return composite, fps


def sheet(cells: Sequence[Sequence[Cell]], rows: Sequence[str], columns: Sequence[str]) -> Frames:
    """Return the middle frame of each clip in the layout of `grid`, as one image (H, W, 3).

    Raise BadInput as `grid` does.
    """
    _check(cells, rows, columns)
    stills = [[_middle(cell) if isinstance(cell, Clip) else cell for cell in line] for line in cells]
    return grid(stills, rows, columns, "stretch")[0][0]


def wipe(left: Clip, right: Clip, labels: Sequence[str], align: Align = "time") -> tuple[Frames, float]:
    """Show both clips in one frame, the left one on the left of an edge that moves to the right side and back.

    `labels` has one for each clip. Frames are repeated if the edge would jump visibly. Return frames (T, H, W, 3) and
    frames per second. Raise BadInput for frames of another shape.
    """
    _check([[left, right]], [""], ["", ""])
    (first, second), fps = aligned([left, right], align)
    times = math.ceil(SMOOTH / fps)
    first, second = np.repeat(first, times), np.repeat(second, times)
    length = len(first)
    height, width = _wipe_size(left, right, length)
    before, after = (_on_ground(clip.frames, width, height) for clip in (left, right))
    band = _two_labels(labels, width, height)
    composite = np.empty((length, len(band) + height, width, 3), np.uint8)
    composite[:, : len(band)] = band
    line = max(width // 320, 1)
    for number in range(length):
        edge = round(width * (1 - abs(1 - 2 * number / length)))
        picture = composite[number, len(band) :]
        picture[:] = after[second[number]]
        picture[:, :edge] = before[first[number]][:, :edge]
        picture[:, max(edge - line, 0) : min(edge + line, width)] = INK
    return composite, fps * times


def reduced(clip: Clip, rows: int, columns: int) -> Clip:
    """Scale a clip down to the size it has in a composite of that many rows and columns. Clips are never enlarged."""
    _check([[clip]], [""], [""])
    length, height = clip.frames.shape[:2]
    ratio = _ratio(clip.frames)
    high = min(_common_height(height, [ratio] * columns, rows, length), height)
    return replace(clip, frames=_resized(clip.frames, max(round(ratio * high), 1), high))


def aligned(clips: Sequence[Clip], align: Align) -> tuple[list[NDArray[np.intp]], float]:
    """Return each clip's frame index per composite frame, and the composite's frames per second."""
    rates = [frame_rate(clip.fps) for clip in clips]
    lengths = [len(clip.frames) for clip in clips]
    if align == "stretch":
        longest = max(range(len(clips)), key=lambda index: (lengths[index], rates[index]))
        last = max(lengths[longest] - 1, 1)
        steps = [
            np.array([round(number * (length - 1) / last) for number in range(lengths[longest])], np.intp)
            for length in lengths
        ]
        return steps, clips[longest].fps
    fastest = max(rates)
    count = max(math.ceil(Fraction(length) * fastest / rate) for length, rate in zip(lengths, rates, strict=True))
    times = [
        np.array([min(math.floor(number * rate / fastest), length - 1) for number in range(count)], np.intp)
        for length, rate in zip(lengths, rates, strict=True)
    ]
    return times, max(clip.fps for clip in clips)


class _Layout:
    """Positions of everything in a grid, in pixels."""

    def __init__(self, cells: Sequence[Sequence[Cell]], rows: Sequence[str], columns: Sequence[str], length: int):
        self._cells, self._rows, self._columns = cells, rows, columns
        shapes = [_shape_of_column([line[column] for line in cells]) for column in range(len(columns))]
        known = [shape for shape in shapes if shape is not None]
        usual = max(ratio for ratio, _ in known)
        ratios = [usual if shape is None else shape[0] for shape in shapes]
        self.high = _common_height(max(height for _, height in known), ratios, len(rows), length)
        self.wide = [max(round(ratio * self.high), 1) for ratio in ratios]
        self._font = lettering.font_size(self.high)
        self._side = self._side_width()
        self._top = self._band_height()
        self.width = _even(self._side + sum(self.wide) + GAP * (len(columns) - 1))
        self.height = _even(self._top + len(rows) * self.high + GAP * (len(rows) - 1))

    def background(self) -> Frames:
        """Return all static parts as (H, W, 3)."""
        ground = np.empty((self.height, self.width, 3), np.uint8)
        ground[:] = GROUND
        for column, label in enumerate(self._columns):
            self._write(ground, label, (0, self.place(0, column)[1]), (self._top, self.wide[column]))
        for row, label in enumerate(self._rows):
            self._write(ground, label, (self.place(row, 0)[0], 0), (self.high, self._side - GAP))
        for row, line in enumerate(self._cells):
            for column, cell in enumerate(line):
                if isinstance(cell, str):
                    self._write(ground, cell, self.place(row, column), (self.high, self.wide[column]), EMPTY)
        return ground

    def place(self, row: int, column: int) -> tuple[int, int]:
        """Return top and left of a cell."""
        return self._top + row * (self.high + GAP), self._side + sum(self.wide[:column]) + GAP * column

    def _side_width(self) -> int:
        wanted = max(lettering.width_of(label, self._font) for label in self._rows)
        if wanted <= 2 * lettering.MARGIN:
            return 0
        # Wrap long labels to leave room for the images.
        return min(wanted, max(sum(self.wide) // 5, SMALLEST * 2 // 3)) + GAP

    def _band_height(self) -> int:
        pairs = zip(self._columns, self.wide, strict=True)
        lines = max(len(lettering.wrap(label, self._font, width, LINES)) for label, width in pairs)
        return lines * lettering.line_height(self._font) + 2 * lettering.MARGIN if lines else 0

    def _write(
        self, image: Frames, text: str, place: tuple[int, int], size: tuple[int, int], ground: Color = GROUND
    ) -> None:
        """Write a text in the middle of a field. A field without height or width stays empty."""
        (top, left), (height, width) = place, size
        if height > 0 and width > 0:
            most = max(min(LINES, height // lettering.line_height(self._font)), 1)
            lines = lettering.wrap(text, self._font, width, most)
            image[top : top + height, left : left + width] = lettering.draw(
                lines, self._font, width, height, ground=ground
            )


def _even(side: int) -> int:
    return side + side % 2


def _check(cells: Sequence[Sequence[Cell]], rows: Sequence[str], columns: Sequence[str]) -> None:
    if len(rows) != len(cells) or any(len(line) != len(columns) for line in cells):
        found = [len(line) for line in cells]
        raise BadInput(
            f"a grid needs a label for each row and column, got {len(rows)} and {len(columns)} for rows of {found}"
        )
    clips = [cell for line in cells for cell in line if isinstance(cell, Clip)]
    if not clips:
        raise BadInput("there are no clips to show; make at least one first")
    for clip in clips:
        frames = clip.frames
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
            raise BadInput(f"frames must be uint8 of shape (T, H, W, 3), got {frames.dtype} of shape {frames.shape}")


def _shape_of_column(cells: Sequence[Cell]) -> tuple[float, int] | None:
    """Return the widest aspect ratio and the largest height of a column, or None without clips."""
    clips = [cell.frames for cell in cells if isinstance(cell, Clip)]
    return (max(map(_ratio, clips)), max(frames.shape[1] for frames in clips)) if clips else None


def _common_height(highest: int, ratios: Sequence[float], rows: int, length: int) -> int:
    """Return the common height of all images: the largest one, within limits, and enough for labels if possible."""
    most = min(LARGEST / sum(ratios), LARGEST / rows, math.sqrt(MOST_BYTES / (3 * length * rows * sum(ratios))))
    return max(math.floor(min(max(highest, SMALLEST / min(ratios)), most)), 2)


def _wipe_size(left: Clip, right: Clip, length: int) -> tuple[int, int]:
    """Return even height and width that fit both clips."""
    ratio = max(_ratio(left.frames), _ratio(right.frames))
    height = _common_height(max(left.frames.shape[1], right.frames.shape[1]), [ratio], 1, length)
    # Both labels share one image width.
    height = max(height, min(round(2 * SMALLEST / ratio), LARGEST))
    return _even(height), 2 * max(round(ratio * height / 2), 1)


def _two_labels(labels: Sequence[str], width: int, height: int) -> Frames:
    """Return a band with one label at its left edge and one at its right edge, (height, width, 3)."""
    size = lettering.font_size(height)
    halves = [lettering.wrap(label, size, width // 2, LINES) for label in labels]
    high = _even(max(map(len, halves)) * lettering.line_height(size) + 2 * lettering.MARGIN)
    first = lettering.draw(halves[0], size, width // 2, high, "left")
    second = lettering.draw(halves[1], size, width - width // 2, high, "right")
    return np.concatenate([first, second], axis=1)


def _on_ground(frames: Frames, width: int, height: int) -> Frames:
    """Center a clip in frames of the given size, as large as it fits: (T, height, width, 3)."""
    fitting = min(width / frames.shape[2], height / frames.shape[1])
    wide, high = min(round(frames.shape[2] * fitting), width), min(round(frames.shape[1] * fitting), height)
    small = _resized(frames, max(wide, 1), max(high, 1))
    if small.shape[1:3] == (height, width):
        return small
    whole = np.empty((len(frames), height, width, 3), np.uint8)
    whole[:] = GROUND
    top, left = (height - small.shape[1]) // 2, (width - small.shape[2]) // 2
    whole[:, top : top + small.shape[1], left : left + small.shape[2]] = small
    return whole


def _resized(frames: Frames, width: int, height: int) -> Frames:
    if frames.shape[1:3] == (height, width):
        return frames
    size, way = (width, height), Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, way)) for frame in frames])


def _middle(clip: Clip) -> Clip:
    middle = len(clip.frames) // 2
    return replace(clip, frames=clip.frames[middle : middle + 1])


def _ratio(frames: Frames) -> float:
    return frames.shape[2] / frames.shape[1]
