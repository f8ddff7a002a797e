"""Composites of several clips: side by side, as a wipe, or in a grid with axis labels.

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
class Labelled:
    """A clip with its label: frames are uint8 (T, H, W, 3), fps is in frames per second."""

    label: str
    frames: Frames
    fps: float


Cell = Labelled | str | None
"""A clip, a placeholder text such as "failed", or nothing."""


def side_by_side(clips: Sequence[Labelled], align: Align = "time") -> tuple[Frames, float]:
    """Show all clips in a row at one height, each above its label. Return frames (T, H, W, 3) and frames per second.

    Raise BadInput if there are no clips or frames have another shape.
    """
    return grid([[replace(clip, label="") for clip in clips]], [""], [clip.label for clip in clips], align)


def grid(
    cells: Sequence[Sequence[Cell]], rows: Sequence[str], columns: Sequence[str], align: Align = "time"
) -> tuple[Frames, float]:
    """Show clips row by row at one height with axis labels. Return frames (T, H, W, 3) and frames per second.

    `rows` and `columns` are the axis labels, at the left and above. A clip's own label is shown below it. Raise
    BadInput if the numbers of labels and cells differ, there are no clips, or frames have another shape.
    """
    _check(cells, rows, columns)
    clips = [cell for line in cells for cell in line if isinstance(cell, Labelled)]
    indices, fps = aligned(clips, align)
    shown = dict(zip(map(id, clips), indices, strict=True))
    length = max(map(len, indices))
    layout = _Layout(cells, rows, columns, length)
    composite = np.empty((length, layout.height, layout.width, 3), np.uint8)
    composite[:] = layout.background()
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            if isinstance(cell, Labelled):
                top, left, height, width = layout.picture(row, column, cell)
                small = _resized(cell.frames, width, height)
                composite[:, top : top + height, left : left + width] = small[shown[id(cell)]]
    return composite, fps


def sheet(cells: Sequence[Sequence[Cell]], rows: Sequence[str], columns: Sequence[str]) -> Frames:
    """Return the middle frame of each clip in the layout of `grid`, as one image (H, W, 3).

    Raise BadInput as `grid` does.
    """
    _check(cells, rows, columns)
    stills = [[_middle(cell) if isinstance(cell, Labelled) else cell for cell in line] for line in cells]
    return grid(stills, rows, columns, "stretch")[0][0]


def wipe(left: Labelled, right: Labelled, align: Align = "time") -> tuple[Frames, float]:
    """Show both clips in one frame, the left one on the left of an edge that moves to the right side and back.

    Frames are repeated if the edge would jump visibly. Return frames (T, H, W, 3) and frames per second. Raise BadInput
    for frames of another shape.
    """
    _check([[left, right]], [""], ["", ""])
    (first, second), fps = aligned([left, right], align)
    times = math.ceil(SMOOTH / fps)
    first, second = np.repeat(first, times), np.repeat(second, times)
    length = len(first)
    height, width = _wipe_size(left, right, length)
    before, after = (_on_ground(clip.frames, width, height) for clip in (left, right))
    band = _two_labels(left.label, right.label, width, height)
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


def reduced(clip: Labelled, rows: int, columns: int) -> Labelled:
    """Scale a clip down to the size it has in a composite of that many rows and columns. Clips are never enlarged."""
    _check([[clip]], [""], [""])
    length, height = clip.frames.shape[:2]
    ratio = _ratio(clip.frames)
    high = min(_common_height(height, [ratio] * columns, rows, length), height)
    return replace(clip, frames=_resized(clip.frames, max(round(ratio * high), 1), high))


def aligned(clips: Sequence[Labelled], align: Align) -> tuple[list[NDArray[np.intp]], float]:
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
        self._high = _common_height(max(height for _, height in known), ratios, len(rows), length)
        self._wide = [max(round(ratio * self._high), 1) for ratio in ratios]
        self._font = lettering.font_size(self._high)
        self._side = self._side_width()
        self._top = self._band_height(columns, self._wide)
        captions = [[cell.label if isinstance(cell, Labelled) else "" for cell in line] for line in cells]
        self._captions = [self._band_height(line, self._wide) for line in captions]
        self.width = self._even(self._side + sum(self._wide) + GAP * (len(columns) - 1))
        self.height = self._even(self._top + sum(self._captions) + len(rows) * self._high + GAP * (len(rows) - 1))

    def picture(self, row: int, column: int, clip: Labelled) -> tuple[int, int, int, int]:
        """Return top, left, height and width of a clip's image."""
        top, left = self._place(row, column)
        width = min(max(round(_ratio(clip.frames) * self._high), 1), self._wide[column])
        return top, left + (self._wide[column] - width) // 2, self._high, width

    def background(self) -> Frames:
        """Return all static parts as (H, W, 3)."""
        ground = np.empty((self.height, self.width, 3), np.uint8)
        ground[:] = GROUND
        for column, label in enumerate(self._columns):
            self._write(ground, label, (0, self._place(0, column)[1]), (self._top, self._wide[column]))
        for row, label in enumerate(self._rows):
            self._write(ground, label, (self._place(row, 0)[0], 0), (self._high, self._side - GAP))
        for row, line in enumerate(self._cells):
            for column, cell in enumerate(line):
                top, left = self._place(row, column)
                if isinstance(cell, Labelled):
                    place = (top + self._high, left)
                    self._write(ground, cell.label, place, (self._captions[row], self._wide[column]))
                else:
                    ground[top : top + self._high, left : left + self._wide[column]] = EMPTY
                    self._notice(ground, cell or "", (top, left), self._wide[column])
        return ground

    def _place(self, row: int, column: int) -> tuple[int, int]:
        top = self._top + row * (self._high + GAP) + sum(self._captions[:row])
        return top, self._side + sum(self._wide[:column]) + GAP * column

    def _side_width(self) -> int:
        wanted = max(lettering.width_of(label, self._font) for label in self._rows)
        if wanted <= 2 * lettering.MARGIN:
            return 0
        # Wrap long labels to leave room for the images.
        return min(wanted, max(sum(self._wide) // 5, SMALLEST * 2 // 3)) + GAP

    def _band_height(self, labels: Sequence[str], widths: Sequence[int]) -> int:
        wrapped = (lettering.wrap(label, self._font, width, LINES) for label, width in zip(labels, widths, strict=True))
        lines = max(map(len, wrapped), default=0)
        return lines * lettering.line_height(self._font) + 2 * lettering.MARGIN if lines else 0

    def _write(self, ground: Frames, text: str, place: tuple[int, int], size: tuple[int, int]) -> None:
        (top, left), (height, width) = place, size
        if text and height > 0 and width > 0:
            lines = lettering.wrap(
                text, self._font, width, max(min(LINES, height // lettering.line_height(self._font)), 1)
            )
            ground[top : top + height, left : left + width] = lettering.draw(lines, self._font, width, height)

    def _notice(self, ground: Frames, text: str, place: tuple[int, int], width: int) -> None:
        """Write a placeholder text on a field slightly smaller than the cell."""
        lines = lettering.wrap(text, self._font, width - 2 * GAP, LINES)
        if lines:
            height = min(len(lines) * lettering.line_height(self._font) + 2 * GAP, self._high)
            top, left = place[0] + (self._high - height) // 2, place[1] + GAP
            field = lettering.draw(lines, self._font, width - 2 * GAP, height, ground=EMPTY)
            ground[top : top + height, left : left + width - 2 * GAP] = field

    @staticmethod
    def _even(side: int) -> int:
        return side + side % 2


def _check(cells: Sequence[Sequence[Cell]], rows: Sequence[str], columns: Sequence[str]) -> None:
    if len(rows) != len(cells) or any(len(line) != len(columns) for line in cells):
        found = [len(line) for line in cells]
        raise BadInput(
            f"a grid needs a label for each row and column, got {len(rows)} and {len(columns)} for rows of {found}"
        )
    clips = [cell for line in cells for cell in line if isinstance(cell, Labelled)]
    if not clips:
        raise BadInput("there are no clips to show; make at least one first")
    for clip in clips:
        frames = clip.frames
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
            raise BadInput(f"frames must be uint8 of shape (T, H, W, 3), got {frames.dtype} of shape {frames.shape}")


def _shape_of_column(cells: Sequence[Cell]) -> tuple[float, int] | None:
    """Return the widest aspect ratio and the largest height of a column, or None without clips."""
    clips = [cell.frames for cell in cells if isinstance(cell, Labelled)]
    return (max(map(_ratio, clips)), max(frames.shape[1] for frames in clips)) if clips else None


def _common_height(highest: int, ratios: Sequence[float], rows: int, length: int) -> int:
    """Return the common height of all images: the largest one, within limits, and enough for labels if possible."""
    most = min(LARGEST / sum(ratios), LARGEST / rows, math.sqrt(MOST_BYTES / (3 * length * rows * sum(ratios))))
    return max(math.floor(min(max(highest, SMALLEST / min(ratios)), most)), 2)


def _wipe_size(left: Labelled, right: Labelled, length: int) -> tuple[int, int]:
    """Return even height and width that fit both clips."""
    ratio = max(_ratio(left.frames), _ratio(right.frames))
    height = _common_height(max(left.frames.shape[1], right.frames.shape[1]), [ratio], 1, length)
    # Both labels share one image width.
    height = max(height, min(round(2 * SMALLEST / ratio), LARGEST))
    return height + height % 2, 2 * max(round(ratio * height / 2), 1)


def _two_labels(left: str, right: str, width: int, height: int) -> Frames:
    """Return a band with one label at its left edge and one at its right edge, (height, width, 3)."""
    size = lettering.font_size(height)
    halves = [lettering.wrap(label, size, width // 2, LINES) for label in (left, right)]
    high = max(map(len, halves)) * lettering.line_height(size) + 2 * lettering.MARGIN
    high += high % 2
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


def _middle(clip: Labelled) -> Labelled:
    middle = len(clip.frames) // 2
    return replace(clip, frames=clip.frames[middle : middle + 1])


def _ratio(frames: Frames) -> float:
    return frames.shape[2] / frames.shape[1]
