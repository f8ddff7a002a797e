"""Pictures that the page shows again and again, made once: the input as the model gets it, thumbnails, frame sheets.

The caches are plain ones: those of Streamlit complain when a module with them is imported outside of a page.
"""

import io
from functools import lru_cache
from pathlib import Path

from PIL import Image

from img2vid.media.exports import contact_sheet
from img2vid.media.pictures import FrameMode, frame_picture, load_picture

THUMBNAIL = (240, 144)
"""Width and height; what stands out is cut off."""


@lru_cache(maxsize=4)
def loaded(path: Path) -> Image.Image:
    """An input, decoded; inputs are named after their contents and never change. Do not write into it."""
    return load_picture(path)


@lru_cache(maxsize=64)
def framed(path: Path, width: int, height: int, fitting: FrameMode, offset: float) -> bytes:
    """Exactly the frame that the model will get, as a PNG file."""
    packed = io.BytesIO()
    frame_picture(loaded(path), width, height, mode=fitting, offset=offset).save(packed, format="PNG")
    return packed.getvalue()


def cut(path: Path, width: int, height: int) -> str:
    """What a frame of that size cuts off an input: "width", "height", or nothing."""
    image = loaded(path)
    scale = max(width / image.width, height / image.height)
    if image.width * scale - width >= 1:
        return "width"
    return "height" if image.height * scale - height >= 1 else ""


@lru_cache(maxsize=480)
def thumbnail(path: Path, changed: float) -> bytes:
    """A small JPEG of a picture file; `changed` is the file's time of change, so that a new one is read anew."""
    image = frame_picture(load_picture(path, enough=max(THUMBNAIL)), *THUMBNAIL)
    packed = io.BytesIO()
    image.save(packed, format="JPEG", quality=88)
    return packed.getvalue()


@lru_cache(maxsize=16)
def sheet(video: Path, changed: float) -> bytes:
    """All frames of a video on one sheet; `changed` as for `thumbnail`."""
    return contact_sheet(video)


@lru_cache(maxsize=1)
def no_still() -> bytes:
    """What stands for a video whose first frame does not lie beside it: grey, of a thumbnail's size."""
    packed = io.BytesIO()
    Image.new("RGB", THUMBNAIL, (128, 128, 128)).save(packed, format="JPEG")
    return packed.getvalue()
