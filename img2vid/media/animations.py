"""Animated GIF and WebP export, for places that do not play videos."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from img2vid.errors import BadInput, MediaError
from img2vid.files import whole_file
from img2vid.media.videos import frame_rate

Frames = NDArray[np.uint8]
WEBP_QUALITY = 90
GIF_COLOURS = 256


def write_animation(path: Path, frames: Frames, *, fps: float) -> None:
    """Write frames (T, H, W, 3) atomically as a looping GIF or WebP, replacing an existing file.

    GIF frame times are multiples of 10 ms, and each frame has its own palette of 256 colors.

    Raise BadInput for another suffix, frames of another shape or fps below 1, and MediaError if writing fails.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise BadInput(f"an animation must end in {' or '.join(WRITERS)}, got {path.name!r}")
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise BadInput(f"frames must be uint8 of shape (T, H, W, 3), got {frames.dtype} of shape {frames.shape}")
    milliseconds = float(1000 / frame_rate(fps))
    try:
        with whole_file(path) as part:
            write(part, [Image.fromarray(frame) for frame in frames], milliseconds)
    except OSError as error:
        raise MediaError(f"cannot write {path}: {error}") from error


def _write_gif(path: Path, frames: list[Image.Image], milliseconds: float) -> None:
    # Round cumulative times so that the total stays right: at 6 fps 17, 16, 17 hundredths.
    ends = [round(milliseconds * count / 10) for count in range(len(frames) + 1)]
    lengths = [10 * max(after - before, 1) for before, after in pairwise(ends)]
    paletted = [frame.quantize(GIF_COLOURS, method=Image.Quantize.MEDIANCUT) for frame in frames]
    paletted[0].save(
        path, format="GIF", save_all=True, append_images=paletted[1:], duration=lengths, loop=0, disposal=1
    )


def _write_webp(path: Path, frames: list[Image.Image], milliseconds: float) -> None:
    frames[0].save(
        path,
        format="WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=round(milliseconds),
        loop=0,
        quality=WEBP_QUALITY,
    )


WRITERS: dict[str, Callable[[Path, list[Image.Image], float], None]] = {".gif": _write_gif, ".webp": _write_webp}
"""Writer functions by suffix."""
