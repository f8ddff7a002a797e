"""Texts that programs store in picture and video files, such as the workflow that made them."""

import io
import struct
from typing import Any, cast

from av.error import FFmpegError
from PIL import Image

from img2vid.media.picture_kinds import is_video, picture_kind
from img2vid.media.png import png_texts
from img2vid.media.videos import read_tags

_CAMERA_TAGS = range(0x0100, 0x0111)
"""EXIF tags in which ComfyUI stores texts, from the camera's model downward."""


def carried_texts(data: bytes) -> dict[str, str]:
    """Return the texts in a PNG, WebP or MP4 file by name; none if it is of another kind or damaged."""
    kind = picture_kind(data)
    if kind == "PNG":
        return png_texts(data)
    if kind == "WEBP":
        return _exif_texts(data)
    if is_video(data):
        try:
            return read_tags(io.BytesIO(data))
        except (FFmpegError, OSError, ValueError):
            return {}
    return {}


def _exif_texts(data: bytes) -> dict[str, str]:
    """Return texts of the form "name:text" among a WebP file's tags."""
    try:
        # Pillow does not type files.
        with cast(Any, Image).open(io.BytesIO(data), formats=("WEBP",)) as image:
            tags: dict[int, object] = dict(image.getexif())
    # Exceptions that Pillow raises on damaged files.
    except (OSError, RuntimeError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return {}
    pairs = (str(tags[tag]).partition(":") for tag in _CAMERA_TAGS if isinstance(tags.get(tag), str))
    return {name.strip(): text for name, colon, text in pairs if colon}
