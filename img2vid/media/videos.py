"""Videos out: frames become H.264 files that every browser and player shows, with the settings inside, and back.

The colours are converted with the BT.709 matrix and tagged as such: without tags players guess another matrix for small
videos than for large ones, and colours shift. The same frames and metadata give the same bytes: no time stamps are
written, and the number of encoder threads, on which x264's decisions depend, does not follow the machine. Nor does
anything follow from x264's look ahead, whose results vary with what the memory held before.
"""

import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image

from img2vid.errors import BadInput, MediaError
from img2vid.files import publish, temporary_file, whole_file

Frame = npt.NDArray[np.uint8]

COMPANIONS = (".png", ".json", ".gif", ".webp", ".csv")
"""Suffixes of what may lie beside a video under its name: its first frame, its settings, an animation, a table."""

_ENCODER = {
    "crf": "18",
    "preset": "medium",
    "threads": "4",
    "x264-params": "mbtree=0:b-adapt=0:scenecut=0",
}

# Flags of FFmpeg's scaler by number, since older releases of PyAV do not name the last four: how chroma is averaged and
# spread out again, and that rounding is exact and the same on every processor.
_AREA, _BICUBIC, _FULL_CHROMA_OUT, _FULL_CHROMA_IN, _ACCURATE, _BITEXACT = 0x20, 0x4, 0x2000, 0x4000, 0x40000, 0x80000
_TO_YUV = _AREA | _FULL_CHROMA_IN | _ACCURATE | _BITEXACT
_TO_RGB = _BICUBIC | _FULL_CHROMA_OUT | _ACCURATE | _BITEXACT


def write_video(path: Path, frames: Iterable[Frame], *, fps: float, metadata: Mapping[str, object]) -> Path:
    """Write frames, each uint8 (H, W, 3), as an H.264 MP4; returns the path, which differs where `path` was taken.

    No file is ever replaced: `video.mp4` becomes `video_2.mp4` and so on, also where only `video.json` or `video.png`
    exists, so write those after the video. `metadata` is kept as JSON in the file's comment. H.264 needs even sides: an
    odd one grows by one pixel, a copy of the edge. Whatever stops the writing, nothing is left behind.

    Raises BadInput for no frames, unequal or wrong frames, fps below 1 and metadata that JSON cannot hold,
    MediaError where encoding or writing fails; errors raised by `frames` pass through as they are.
    """
    rate = frame_rate(fps)
    comment = _to_json(metadata)
    checked = _checked(frames)
    try:
        with temporary_file(path.parent) as part:
            _encode(part, checked, rate, comment)
            return publish(part, path, companions=COMPANIONS)
    except (FFmpegError, OSError) as error:
        raise _not_written(path, error) from error


def read_frames(path: Path) -> Frame:
    """All frames of a video as uint8 (T, H, W, 3); raises BadInput where it cannot be read."""
    try:
        with _open(path) as container:
            decoded = [_to_rgb(frame) for stream in container.streams.video[:1] for frame in container.decode(stream)]
    except (FFmpegError, OSError) as error:
        raise _not_read(path, error) from error
    if not decoded:
        raise BadInput(f"'{path.name}' holds no frames; choose another video")
    return np.stack(decoded)


def read_metadata(path: Path) -> dict[str, Any]:
    """The settings that `write_video` put into the file; raises BadInput where there are none."""
    try:
        with _open(path) as container:
            comment: str = container.metadata.get("comment", "null")
        settings: object = json.loads(comment)
    except (FFmpegError, OSError) as error:
        raise _not_read(path, error) from error
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise BadInput(f"'{path.name}' carries no settings; only videos made by img2vid do")
    return cast("dict[str, Any]", settings)


def write_still(path: Path, frame: Frame) -> None:
    """Write one frame, uint8 (H, W, 3), as PNG, whole or not at all; a file of that name is replaced."""
    try:
        with whole_file(path) as part:
            Image.fromarray(_check_frame(frame)).save(part, format="PNG")
    except OSError as error:
        raise _not_written(path, error) from error


def write_json(path: Path, mapping: Mapping[str, object]) -> None:
    """Write readable JSON in UTF-8, whole or not at all; a file of that name is replaced."""
    text = _to_json(mapping, indent=2, ensure_ascii=False)
    try:
        with whole_file(path) as part:
            part.write_text(text + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise _not_written(path, error) from error


def frame_rate(fps: float) -> Fraction:
    """Frames per second as containers write them down, or BadInput."""
    if not (math.isfinite(fps) and 1 <= fps <= 1000):
        raise BadInput(f"the frame rate must lie between 1 and 1000 frames per second, got {fps}; try 6")
    return Fraction(fps).limit_denominator(1001)  # 1001 is the denominator of the television rates such as 29.97


def _to_json(mapping: Mapping[str, object], *, indent: int | None = None, ensure_ascii: bool = True) -> str:
    try:
        return json.dumps(dict(mapping), indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the settings cannot be kept as JSON ({error}); use text, finite numbers, lists") from error


def _check_frame(frame: Frame) -> Frame:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise BadInput(f"a frame must be uint8 of shape (H, W, 3), got {frame.dtype} of shape {frame.shape}")
    return frame


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames with even sides, after the check that there are any and that all are alike."""
    shape: tuple[int, ...] | None = None
    for frame in frames:
        if shape not in (None, _check_frame(frame).shape):
            raise BadInput(f"all frames of a video must have one shape, got {frame.shape} after {shape}")
        shape = frame.shape
        height, width = shape[0] % 2, shape[1] % 2
        yield np.ascontiguousarray(np.pad(frame, ((0, height), (0, width), (0, 0)), mode="edge"))
    if shape is None:
        raise BadInput("a video needs at least one frame, got none")


def _encode(part: Path, frames: Iterator[Frame], rate: Fraction, comment: str) -> None:
    first = next(frames)
    # faststart puts the index before the frames, so that browsers can start to play before the file is complete.
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    # PyAV's types leave the parameters of its containers and packets open.
    with cast(Any, av.open(str(part), "w", format="mp4", options=options)) as container:
        container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=rate, options=_ENCODER)
        _describe(stream.codec_context, width=first.shape[1], height=first.shape[0])
        for index, frame in enumerate(chain([first], frames)):
            picture = VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=_TO_YUV,
            )
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _describe(context: VideoCodecContext, *, width: int, height: int) -> None:
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709


@contextmanager
def _open(path: Path) -> Generator[Any, None, None]:
    """The opened container, as MP4 only: among FFmpeg's other formats are lists that name further files and servers.

    It is given an open file instead of a name: FFmpeg would take a name such as "a:b.mp4" for a server's address.
    """
    with path.open("rb") as file, cast(Any, av.open(file, format="mp4")) as container:
        yield container


def _to_rgb(frame: VideoFrame) -> Frame:
    rgb = frame.reformat(format="rgb24", dst_colorspace=Colorspace.ITU709, interpolation=_TO_RGB)
    return cast(Frame, rgb.to_ndarray())


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _not_written(path: Path, error: Exception) -> MediaError:
    return MediaError(f"could not write '{path}' ({_reason(error)}); check that the folder is writable and has space")


def _not_read(path: Path, error: Exception) -> BadInput:
    return BadInput(f"'{path}' cannot be read as a video ({_reason(error)}); choose an MP4 made by img2vid")
