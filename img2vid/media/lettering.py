"""Text rendering in Pillow's built-in font, with wrapping and truncation."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GROUND, INK = (24, 25, 28), (236, 237, 240)
SMALLEST_FONT, LARGEST_FONT = 12, 28
"""Font size limits in pixels; smaller text is illegible."""
MARGIN = 5
"""Horizontal margin in pixels."""
CUT = "…"
Side = Literal["left", "middle", "right"]


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def font_size(height: int) -> int:
    """Return the font size in pixels for images of that height."""
    return min(max(round(height / 18), SMALLEST_FONT), LARGEST_FONT)


def line_height(size: int) -> int:
    """Return the line spacing in pixels."""
    return round(size * 1.35)


def width_of(text: str, size: int) -> int:
    """Return the width of a text's longest line in pixels, including margins."""
    return round(max((_length(line, size) for line in text.splitlines()), default=0.0) + 0.5) + 2 * MARGIN


def wrap(text: str, size: int, width: int, most: int) -> list[str]:
    """Wrap a text to at most `most` lines of at most `width` pixels including margins. Truncated text ends in "…"."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and not _fits(longer, size, width):
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    if len(lines) > most:
        # Mark the last line as truncated.
        lines = [*lines[: most - 1], f"{lines[most - 1]}{CUT}"]
    return [_cut(line, size, width) for line in lines]


def draw(
    lines: Sequence[str],
    size: int,
    width: int,
    height: int,
    side: Side = "middle",
    ground: tuple[int, int, int] = GROUND,
) -> NDArray[np.uint8]:
    """Draw lines of text on a field of (H, W, 3), centered or aligned to its left or right edge."""
    image = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(image)
    step = line_height(size)
    top = (height - step * len(lines)) / 2
    for number, line in enumerate(lines):
        room = width - _length(line, size)
        x = {"left": MARGIN, "middle": room / 2, "right": room - MARGIN}[side]
        pen.text((x, top + step * (number + 0.5)), line, fill=INK, font=_font(size), anchor="lm")
    return np.asarray(image, dtype=np.uint8)


def _cut(line: str, size: int, width: int) -> str:
    if _fits(line, size, width):
        return line
    kept = line.removesuffix(CUT)
    while kept and not _fits(kept + CUT, size, width):
        kept = kept[:-1]
    return kept.rstrip() + CUT if kept else ""


def _fits(line: str, size: int, width: int) -> bool:
    return _length(line, size) + 2 * MARGIN <= width


def _length(line: str, size: int) -> float:
    return _font(size).getlength(line)
