"""Image files of frames: stills, animations, zips of frames and contact sheets.

Exports are made from the MP4 on disk, so they are available for every stored video.
"""

import io
import json
import math
import tempfile
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from img2vid.errors import BadInput
from img2vid.files import whole_file, write_folder
from img2vid.media.videos import check_frame, frame_rate, not_written, read_frames, read_metadata, write_video
from img2vid.orbit import Orbit, transforms

Frames = NDArray[np.uint8]
Playback = Literal["once", "boomerang", "loop"]
"""Order of frames in an export: as they are, forward and back, or with an end that fades into the start."""
GIF_BITS = 8
WEBP_QUALITY = 90
POSES = "transforms.json"
COLUMNS = 4
"""Frames per row of a contact sheet, as in the reference demo."""
SHEET_WIDTH = 1280
"""Maximum width of a contact sheet; frames are scaled down to it, never up."""


def as_png(frame: Frames) -> bytes:
    """Return one frame, uint8 (H, W, 3), as a PNG file."""
    return _encode(check_frame(frame), ".png")


def as_animation(frames: Frames, suffix: str, *, fps: float) -> bytes:
    """Return frames (T, H, W, 3) as a file that loops, ".gif" or ".webp".

    GIF frame times are multiples of 10 ms, and each frame has its own palette of 256 colors.

    Raise BadInput for another suffix, frames of another shape and fps below 1.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise BadInput(f"frames must be uint8 of shape (T, H, W, 3), got {frames.dtype} of shape {frames.shape}")
    milliseconds = float(1000 / frame_rate(fps))
    options: dict[str, Any]
    if suffix == ".gif":
        options = {"duration": _gif_times(len(frames), milliseconds), "bits": GIF_BITS, "disposal": 1}
    elif suffix == ".webp":
        options = {"duration": round(milliseconds), "quality": WEBP_QUALITY}
    else:
        raise BadInput(f"an animation must end in .gif or .webp, got {suffix!r}")
    return _encode(frames, suffix, is_batch=True, loop=0, **options)


def _gif_times(count: int, milliseconds: float) -> list[int] | int:
    """Return the time of each frame, or a number for a single frame, which Pillow expects then."""
    # Round cumulative times so that the total stays right: at 6 fps 17, 16, 17 hundredths.
    ends = [round(milliseconds * index / 10) for index in range(count + 1)]
    times = [10 * max(after - before, 1) for before, after in pairwise(ends)]
    return times if count > 1 else times[0]


def _encode(pixels: Frames, suffix: str, **options: Any) -> bytes:
    # imageio does not type the options of its plugins.
    return cast(Any, iio).imwrite("<bytes>", pixels, plugin="pillow", extension=suffix, **options)


def write_still(path: Path, frame: Frames) -> None:
    """Write one frame, uint8 (H, W, 3), atomically as PNG, replacing an existing file."""
    with _image_file(path) as part:
        part.write_bytes(as_png(frame))


def write_animation(path: Path, frames: Frames, *, fps: float) -> None:
    """Write `as_animation` atomically, replacing an existing file. Raise MediaError if writing fails."""
    with _image_file(path) as part:
        part.write_bytes(as_animation(frames, path.suffix.lower(), fps=fps))


@contextmanager
def _image_file(path: Path) -> Generator[Path, None, None]:
    """Yield a temporary path that replaces `path` at the end. Raise MediaError for an OSError."""
    try:
        with whole_file(path) as part:
            yield part
    except OSError as error:
        raise not_written(path, error) from error


def animation_of(video: Path, kind: str, *, fps: float, playback: Playback = "once") -> bytes:
    """Return the video as a "gif" or "webp" file of that frame rate. Raise BadInput."""
    return as_animation(arranged(read_frames(video), playback), f".{kind}", fps=fps)


def video_of(video: Path, *, fps: float, playback: Playback) -> bytes:
    """Return the video as an MP4 file with other playback and the same metadata. Raise BadInput."""
    if playback == "once":
        return video.read_bytes()
    metadata = {**read_metadata(video), "playback": playback}
    with tempfile.TemporaryDirectory() as folder:
        return write_video(
            Path(folder) / "video.mp4", arranged(read_frames(video), playback), fps=fps, metadata=metadata
        ).read_bytes()


def arranged(frames: Frames, playback: Playback) -> Frames:
    """Return frames (T, H, W, 3) in the order of a playback, so that a player which repeats them shows no jump.

    boomerang: T frames forward and T - 2 back. loop: T - k frames, k = T // 4; the last k fade into the first k, so
    frame i < k is (1 - a) x[T - k + i] + a x[i] with a = (i + 1) / (k + 1).
    """
    count = len(frames)
    if playback == "boomerang":
        return np.concatenate([frames, frames[-2:0:-1]])
    blended = count // 4
    if playback == "once" or not blended:
        return frames
    weights = (np.arange(1, blended + 1) / (blended + 1))[:, None, None, None]
    start = (1 - weights) * frames[-blended:] + weights * frames[:blended]
    return np.concatenate([np.rint(start).astype(np.uint8), frames[blended : count - blended]])


def frames_as_zip(video: Path, path: Orbit | None = None) -> bytes:
    """Return `frame_files` in a zip. Raise BadInput if the video cannot be read."""
    packed = io.BytesIO()
    # PNG is already compressed.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, data in frame_files(read_frames(video), video.stem, path):
            archive.writestr(name, data)
    return packed.getvalue()


def frame_files(frames: Frames, stem: str, path: Orbit | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of PNG files of all frames, numbered from 001.

    path: camera path, which adds transforms.json, the file of camera poses that reconstruction programs read.
    """
    names = [f"{stem}_{number:03}.png" for number in range(1, len(frames) + 1)]
    for name, frame in zip(names, frames, strict=True):
        yield name, as_png(frame)
    if path is not None and len(path.azimuths) == len(frames):
        poses = transforms(path, names, width=frames.shape[2], height=frames.shape[1])
        yield POSES, json.dumps(poses, indent=1).encode()


def write_frames(video: Path, path: Orbit | None = None) -> Path:
    """Write `frame_files` to a new folder beside a video, and return it. Raise BadInput or MediaError."""
    frames, folder = read_frames(video), video.with_name(f"{video.stem}_frames")
    try:
        return write_folder(folder, frame_files(frames, video.stem, path))
    except OSError as error:
        raise not_written(folder, error) from error


def last_frame(video: Path) -> bytes:
    """Return the last frame as a PNG file. Raise BadInput if the video cannot be read."""
    return as_png(read_frames(video)[-1])


def first_frame(video: Path) -> bytes:
    """Return the first frame as a PNG file. Raise BadInput if the video cannot be read."""
    return as_png(read_frames(video, most=1)[0])


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
    return _encode(np.asarray(sheet), ".png")
