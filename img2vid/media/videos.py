"""Video files: H.264 output that every browser and player supports, with embedded settings, and input.

Colors use the BT.709 matrix and are tagged as such; without tags, players choose the matrix by video size and colors
shift. Equal frames and metadata give equal bytes: no timestamps are written, the number of encoder threads, which
affects x264's decisions, is fixed, and x264's look-ahead features, whose results vary with uninitialized memory, are
disabled.
"""

import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from img2vid.documents import parse_json
from img2vid.errors import BadInput, MediaError
from img2vid.files import publish, reason, temporary_file, whole_file

Frame = npt.NDArray[np.uint8]

COMPANIONS = (".png", ".json", ".gif", ".webp", ".csv")
"""Suffixes of files stored with a video: first frame, settings, animation, table."""

_ENCODER = {
    "crf": "18",
    "preset": "medium",
    "threads": "4",
    "x264-params": "mbtree=0:b-adapt=0:scenecut=0",
}

# Numeric flags of FFmpeg's scaler, because older PyAV releases lack names for the last four. They set chroma averaging
# and interpolation, and exact rounding that is equal on every processor.
_AREA, _BICUBIC, _FULL_CHROMA_OUT, _FULL_CHROMA_IN, _ACCURATE, _BITEXACT = 0x20, 0x4, 0x2000, 0x4000, 0x40000, 0x80000
_TO_YUV = _AREA | _FULL_CHROMA_IN | _ACCURATE | _BITEXACT
_TO_RGB = _BICUBIC | _FULL_CHROMA_OUT | _ACCURATE | _BITEXACT


def write_video(path: Path, frames: Iterable[Frame], *, fps: float, metadata: Mapping[str, object]) -> Path:
    """Write frames, each uint8 (H, W, 3), as an H.264 MP4. Return the path, which differs if `path` was taken.

    Files are never replaced: `video.mp4` becomes `video_2.mp4` and so on, also if only `video.json` or `video.png`
    exists, so write those after the video. `metadata` is stored as JSON in the file's comment. H.264 needs even sides:
    an odd side is padded by one pixel that repeats the edge. A failed write leaves no files.

    Raise BadInput for no frames, invalid frames or frames of different shapes, fps below 1 and metadata that JSON
    cannot represent, and MediaError if encoding or writing fails. Exceptions from `frames` propagate unchanged.
    """
    rate = frame_rate(fps)
    comment = _to_json(metadata)
    checked = _checked(frames)
    try:
        with temporary_file(path.parent) as part:
            _encode(part, checked, rate, comment)
            return publish(part, path, companions=COMPANIONS)
    except (FFmpegError, OSError) as error:
        raise not_written(path, error) from error


def read_frames(path: Path, most: int | None = None) -> Frame:
    """Return the frames of a video, at most the first `most`, as uint8 (T, H, W, 3). Raise BadInput if unreadable."""
    try:
        with _open(path) as container:
            frames = chain.from_iterable(container.decode(stream) for stream in container.streams.video[:1])
            decoded = [_to_rgb(frame) for frame in islice(frames, most)]
        if not decoded:
            raise BadInput(f"'{path.name}' has no frames; choose another video")
        return np.stack(decoded)
    # Damage may also change a frame's size or format, or ask for more memory than there is.
    except (FFmpegError, OSError, ValueError, MemoryError) as error:
        raise _not_read(path, error) from error


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the settings that `write_video` stored in the file. Raise BadInput if there are no settings."""
    try:
        with path.open("rb") as file:
            comment = read_tags(file).get("comment", "null")
    except (FFmpegError, OSError) as error:
        raise _not_read(path, error) from error
    try:
        settings: object = parse_json(comment, path.name)
        _to_json({"": settings}, ensure_ascii=False)
    except BadInput:
        settings = None
    if not isinstance(settings, dict):
        raise BadInput(f"'{path.name}' has no settings; choose a video made by img2vid")
    return cast("dict[str, Any]", settings)


def read_tags(file: IO[bytes]) -> dict[str, str]:
    """Return the texts that describe an open MP4 file by name. Raise FFmpegError or OSError if it is unreadable."""
    with _container(file) as container:
        return dict(container.metadata)


def write_json(path: Path, mapping: Mapping[str, object]) -> None:
    """Write indented JSON in UTF-8 atomically, replacing an existing file."""
    text = _to_json(mapping, indent=2, ensure_ascii=False)
    try:
        with whole_file(path) as part:
            part.write_text(text + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise not_written(path, error) from error


def frame_rate(fps: float) -> Fraction:
    """Return the frame rate as a fraction for containers. Raise BadInput if it is out of range."""
    if not (math.isfinite(fps) and 1 <= fps <= 1000):
        raise BadInput(f"the frame rate must be between 1 and 1000 frames per second, got {fps}; try 6")
    return Fraction(fps).limit_denominator(1001)  # 1001 is the denominator of broadcast rates such as 29.97


def _to_json(mapping: Mapping[str, object], *, indent: int | None = None, ensure_ascii: bool = True) -> str:
    try:
        text = json.dumps(dict(mapping), indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)
        text.encode("utf-8")  # raises UnicodeEncodeError, a ValueError, for lone surrogates
        return text
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"the settings cannot be stored as JSON ({error}); use text, finite numbers and lists"
        ) from error


def check_frame(frame: Frame) -> Frame:
    """Return the frame. Raise BadInput unless it is uint8 (H, W, 3)."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise BadInput(f"a frame must be uint8 of shape (H, W, 3), got {frame.dtype} of shape {frame.shape}")
    return frame


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the frames padded to even sides. Raise BadInput if there are no frames or their shapes differ."""
    shape: tuple[int, ...] | None = None
    for frame in frames:
        if shape not in (None, check_frame(frame).shape):
            raise BadInput(f"all frames of a video must have the same shape, got {frame.shape} after {shape}")
        shape = frame.shape
        height, width = shape[0] % 2, shape[1] % 2
        yield np.ascontiguousarray(np.pad(frame, ((0, height), (0, width), (0, 0)), mode="edge"))
    if shape is None:
        raise BadInput("a video needs at least one frame, got none")


def _encode(part: Path, frames: Iterator[Frame], rate: Fraction, comment: str) -> None:
    first = next(frames)
    # faststart puts the index before the frames, so browsers can play before the download is complete.
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    # PyAV does not type the parameters of its containers and packets.
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


_LENIENT = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
"""Options to open files with metadata that is not UTF-8. PyAV 19 has no such option and leaves such metadata out."""


class _Source:
    """Open file for PyAV, which prints a traceback if reading raises: it keeps the error and ends the file instead."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        """Return the next bytes, or none after an error."""
        try:
            return self._file.read(size)
        except OSError as error:
            self.error = error
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position and return it, or -1 after an error."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self.error = error
            return -1


@contextmanager
def _open(path: Path) -> Generator[Any, None, None]:
    """Open a video as a file, because FFmpeg takes a name such as "a:b.mp4" for a server address."""
    with path.open("rb") as file, _container(file) as container:
        yield container


@contextmanager
def _container(file: IO[bytes]) -> Generator[Any, None, None]:
    """Open the container as MP4 only, because other FFmpeg formats can reference further files and servers."""
    source = _Source(file)
    try:
        with cast(Any, av).open(source, format="mp4", **_LENIENT) as container:
            yield container
    except FFmpegError as error:
        raise source.error or error from None
    if source.error is not None:  # at the end of a frame, where FFmpeg takes it for the end of the video
        raise source.error


def _to_rgb(frame: VideoFrame) -> Frame:
    rgb = frame.reformat(format="rgb24", dst_colorspace=Colorspace.ITU709, interpolation=_TO_RGB)
    return cast(Frame, rgb.to_ndarray())


def not_written(path: Path, error: Exception) -> MediaError:
    """Return the error for a file that could not be written."""
    return MediaError(f"cannot write '{path}' ({reason(error)})")


def _not_read(path: Path, error: Exception) -> BadInput:
    return BadInput(f"cannot read '{path}' as a video ({reason(error)}); choose an MP4 made by img2vid")
