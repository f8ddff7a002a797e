"""A finished video in other forms: a GIF or WebP, a zip of its frames, its last frame, one sheet of all frames.

All are made from the MP4 on disk, so that they can be had long after the run, from whatever video was kept.
"""

import io
import math
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from img2vid.media.animations import write_animation
from img2vid.media.videos import read_frames

Frames = NDArray[np.uint8]
COLUMNS = 4
"""Frames in a row of a sheet, as in the reference demo."""
SHEET_WIDTH = 1280
"""A sheet is at most this wide; its frames are scaled down for that, never up."""


def animation_of(video: Path, kind: str, *, fps: float) -> bytes:
    """The video as a "gif" or "webp" file of that frame rate; raises BadInput and MediaError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"animation.{kind}"
        write_animation(path, read_frames(video), fps=fps)
        return path.read_bytes()


def frames_as_zip(video: Path) -> bytes:
    """All frames as PNG files, numbered from 001, in a zip; raises BadInput for a video that cannot be read."""
    packed = io.BytesIO()
    # PNG is compressed already; compressing it again would only take time.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for number, frame in enumerate(read_frames(video), start=1):
            archive.writestr(f"{video.stem}_{number:03}.png", as_png(frame))
    return packed.getvalue()


def last_frame(video: Path) -> bytes:
    """The last frame as a PNG file; raises BadInput for a video that cannot be read."""
    return as_png(read_frames(video)[-1])


def first_frame(video: Path) -> bytes:
    """The first frame as a PNG file; raises BadInput for a video that cannot be read."""
    return as_png(read_frames(video)[0])


def contact_sheet(video: Path) -> bytes:
    """All frames in rows of four as one PNG file; raises BadInput for a video that cannot be read."""
    frames = read_frames(video)
    columns = min(COLUMNS, len(frames))
    width = min(frames.shape[2], SHEET_WIDTH // columns)
    height = max(round(frames.shape[1] * width / frames.shape[2]), 1)
    sheet = Image.new("RGBA", (columns * width, math.ceil(len(frames) / columns) * height))
    for index, frame in enumerate(frames):
        small = Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(small, (index % columns * width, index // columns * height))
    return _png(sheet)


def as_png(frame: Frames) -> bytes:
    """One frame, uint8 (H, W, 3), as a PNG file."""
    return _png(Image.fromarray(frame))


def _png(image: Image.Image) -> bytes:
    packed = io.BytesIO()
    image.save(packed, format="PNG")
    return packed.getvalue()
