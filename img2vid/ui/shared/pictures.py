"""Cached images: the input as the model sees it, thumbnails, contact sheets.

Plain lru_caches are used because Streamlit's caches log warnings if the module is imported outside a page.
"""

import base64
import io
from functools import lru_cache
from pathlib import Path

from PIL import Image

from img2vid.media.exports import contact_sheet
from img2vid.media.pictures import FrameMode, frame_picture, load_picture

THUMBNAIL = (240, 144)
"""Width and height; the excess is cropped."""
WHOLE = 720
"""Longest side of a whole input in pixels."""


@lru_cache(maxsize=4)
def loaded(path: Path) -> Image.Image:
    """Return a decoded input, shared by all callers: do not modify. Input files are named by hash and never change."""
    return load_picture(path)


@lru_cache(maxsize=64)
def framed(path: Path, width: int, height: int, fitting: FrameMode, offset: float, share: float = 0.9) -> bytes:
    """Return exactly the frame that the model sees, as a PNG file."""
    packed = io.BytesIO()
    frame = frame_picture(loaded(path), width, height, mode=fitting, offset=offset, share=share)
    frame.save(packed, format="PNG")
    return packed.getvalue()


def trimmed(path: Path, width: int, height: int) -> tuple[str, float]:
    """Return the dimension of an input that a crop to this size trims, "width", "height" or "", and the share kept."""
    image = loaded(path)
    scale = max(width / image.width, height / image.height)
    if image.width * scale - width >= 1:
        return "width", width / (image.width * scale)
    return ("height", height / (image.height * scale)) if image.height * scale - height >= 1 else ("", 1.0)


@lru_cache(maxsize=16)
def whole(path: Path) -> str:
    """Return a whole input, reduced, as a data URL."""
    image = loaded(path).copy()
    image.thumbnail((WHOLE, WHOLE))
    packed = io.BytesIO()
    image.save(packed, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode()}"


@lru_cache(maxsize=480)
def small(path: Path, width: int, height: int, fitting: FrameMode, offset: float, share: float) -> bytes:
    """Return a small JPEG of the frame that the model sees."""
    scale = min(THUMBNAIL[0] / max(width, height), 1.0)
    size = (max(round(side * scale), 1) for side in (width, height))
    image = frame_picture(load_picture(path, enough=THUMBNAIL[0]), *size, mode=fitting, offset=offset, share=share)
    packed = io.BytesIO()
    image.save(packed, format="JPEG", quality=88)
    return packed.getvalue()


@lru_cache(maxsize=480)
def thumbnail(path: Path, changed: float) -> bytes:
    """Return a small JPEG of an image file; `changed` is its modification time, part of the cache key."""
    image = frame_picture(load_picture(path, enough=max(THUMBNAIL)), *THUMBNAIL)
    packed = io.BytesIO()
    image.save(packed, format="JPEG", quality=88)
    return packed.getvalue()


@lru_cache(maxsize=16)
def sheet(video: Path, changed: float) -> bytes:
    """Return a contact sheet of all frames of a video; `changed` as for `thumbnail`."""
    return contact_sheet(video)


@lru_cache(maxsize=1)
def no_still() -> bytes:
    """Return a gray placeholder thumbnail for a video without a first-frame image."""
    packed = io.BytesIO()
    Image.new("RGB", THUMBNAIL, (128, 128, 128)).save(packed, format="JPEG")
    return packed.getvalue()
