"""Exports of a finished video: GIF or WebP, zip of frames, single frames, contact sheet.

All are made from the MP4 on disk, so they are available for every stored video.
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
"""Frames per row of a contact sheet, as in the reference demo."""
SHEET_WIDTH = 1280
"""Maximum width of a contact sheet; frames are scaled down to it, never up."""


def animation_of(video: Path, kind: str, *, fps: float) -> bytes:
    """Return the video as a "gif" or "webp" file of that frame rate. Raise BadInput or MediaError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"animation.{kind}"
        write_animation(path, read_frames(video), fps=fps)
        return path.read_bytes()


def frames_as_zip(video: Path) -> bytes:
    """Return all frames as PNG files, numbered from 001, in a zip. Raise BadInput if the video cannot be read."""
    packed = io.BytesIO()
    # PNG is already compressed.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for number, frame in enumerate(read_frames(video), start=1):
            archive.writestr(f"{video.stem}_{number:03}.png", as_png(frame))
    return packed.getvalue()


def last_frame(video: Path) -> bytes:
    """Return the last frame as a PNG file. Raise BadInput if the video cannot be read."""
    return as_png(read_frames(video)[-1])


def first_frame(video: Path) -> bytes:
    """Return the first frame as a PNG file. Raise BadInput if the video cannot be read."""
    return as_png(read_frames(video)[0])


def contact_sheet(video: Path) -> bytes:
    """Return all frames as one PNG file, four per row. Raise BadInput if the video cannot be read."""
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
    """Return one frame, uint8 (H, W, 3), as a PNG file."""
    return _png(Image.fromarray(frame))


def _png(image: Image.Image) -> bytes:
    packed = io.BytesIO()
    image.save(packed, format="PNG")
    return packed.getvalue()
