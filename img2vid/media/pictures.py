"""Image loading: files and uploads become upright sRGB images, and images become the model's input frame."""

import io
import math
import struct
import threading
import zlib
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from img2vid.errors import BadInput
from img2vid.media.colour import plain_rgb

FrameMode = Literal["crop", "fit"]

MAX_PIXELS = 200_000_000
"""Pixel limit, checked before decoding; the largest phone cameras stay just below."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
"""Suffixes of images in folders."""

# An explicit list: some of Pillow's other readers start external programs, and none is for photos.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")

# JPEGs are decoded at reduced size while both sides keep this many pixels, twice a frame's largest side.
_ENOUGH = 4096

# Exceptions that Pillow's decoders raise on damaged files.
_DAMAGE = (OSError, RuntimeError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error, zlib.error)

_pillow_limit = threading.Lock()


def load_picture(
    source: Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS, enough: int = _ENOUGH
) -> Image.Image:
    """Load an image file, or the contents of one, as an upright 8-bit sRGB image of mode RGB.

    Reads JPEG, PNG, WebP, BMP, GIF, TIFF and AVIF. Takes the first frame of an animation, applies EXIF rotation,
    converts color profiles, scales 16-bit gray, and puts transparency on white. Very large JPEGs are decoded at a half,
    a quarter or an eighth of their size while both sides keep `enough` pixels. `name` is the image's name in errors.

    Raise BadInput for anything that cannot be read as an image, or has more than `max_pixels` pixels.
    """
    known = name or (source.name if isinstance(source, Path) else "")
    label = f"'{known}'" if known else "the image"
    data = _read(source, label) if isinstance(source, Path) else source
    with closing(_open(data, label)) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise BadInput(
                f"{label} has {width} x {height} pixels, more than the limit of {max_pixels:,}; scale it down first"
            )
        _decode(image, label, enough)
        return plain_rgb(image, label)


def list_pictures(paths: Sequence[Path]) -> list[Path]:
    """Return the files as given, with each folder replaced by the images directly inside it, sorted by name.

    Raise BadInput for a path that does not exist and for a folder without images.
    """
    return [picture for path in paths for picture in _expand(path)]


def frame_picture(
    image: Image.Image, width: int, height: int, *, mode: FrameMode = "crop", offset: float = 0.5
) -> Image.Image:
    """Return the exact input frame of a model of `width` x `height` pixels.

    "crop" scales the image to cover the frame and trims the excess; "fit" shows all of it and fills the bars with a
    strongly blurred enlargement, which moves more naturally than black. `offset` is the position along the side that
    does not fit: 0 is left or top, 1 right or bottom, 0.5 the center. Both enlarging and reducing use Lanczos
    resampling, which is sharp, has no staircase artifacts when enlarging, and uses integer arithmetic, so every machine
    makes the same frame.

    Raise BadInput for sizes below 1, an offset outside 0 to 1 and an unknown mode.
    """
    _check_frame(width, height, mode, offset)
    if mode == "crop":
        return _cover(image, width, height, offset)
    return _letterbox(image, width, height, offset)


def prepare_picture(
    image: Image.Image, width: int, height: int, *, mode: FrameMode = "crop", offset: float = 0.5
) -> npt.NDArray[np.float32]:
    """Return the image of `frame_picture` for the engine: float32 (3, height, width), RGB from -1 to 1."""
    frame = frame_picture(image, width, height, mode=mode, offset=offset)
    pixels = np.moveaxis(np.asarray(frame, dtype=np.float32), -1, 0)
    return np.ascontiguousarray(pixels / 127.5 - 1.0, dtype=np.float32)


def _read(path: Path, label: str) -> bytes:
    if path.is_dir():
        raise BadInput(f"{label} is a folder; choose an image in it")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"no file {label} in {path.absolute().parent}; check the name") from None
    except OSError as error:
        raise BadInput(f"cannot read {label} ({error.strerror}); check the file permissions") from error


def _open(data: bytes, label: str) -> Image.Image:
    """Open an image and read only its header."""
    if not data:
        raise BadInput(f"{label} is empty; choose a JPEG, PNG or WebP image")
    try:
        with _without_pillow_limit():
            return Image.open(io.BytesIO(data), formats=_FORMATS)
    except _DAMAGE as error:
        raise BadInput(f"{label} {_other_kind(data)}") from error


@contextmanager
def _without_pillow_limit() -> Generator[None, None, None]:
    """Disable Pillow's global size limit, which is lower than ours. Ours is checked right after the header."""
    with _pillow_limit:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _other_kind(data: bytes) -> str:
    """Return a guess of another file type from the first bytes, as the second half of a sentence."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "is a HEIC image, which is not supported; save it as JPEG or PNG"
    if (brand and brand not in (b"avif", b"avis")) or data[:4] == b"\x1aE\xdf\xa3" or data[8:12] == b"AVI ":
        return "is a video; save one of its frames as PNG or JPEG and use that"
    return "is not a supported image; use JPEG, PNG or WebP"


def _decode(image: Image.Image, label: str, enough: int) -> None:
    try:
        image.draft(None, (enough, enough))
        image.load()
    except MemoryError as error:
        raise BadInput(f"{label} is too large for this machine's memory; scale it down first") from error
    except _DAMAGE as error:
        raise BadInput(f"{label} is damaged or incomplete; save or download it again") from error


def _expand(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BadInput(f"no such file or folder: '{path}'; check the name")
    pictures = [file for file in path.iterdir() if _looks_like_picture(file)]
    if not pictures:
        raise BadInput(f"the folder '{path}' has no images; supported are {', '.join(sorted(SUFFIXES))}")
    return sorted(pictures, key=lambda file: (file.name.casefold(), file.name))


def _looks_like_picture(file: Path) -> bool:
    # macOS puts a hidden file `._photo.jpg` next to each file on foreign drives.
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _check_frame(width: int, height: int, mode: str, offset: float) -> None:
    if width < 1 or height < 1:
        raise BadInput(f"a frame needs at least 1 x 1 pixels, got {width} x {height}; try 1024 x 576")
    if not 0.0 <= offset <= 1.0:  # also rejects NaN
        raise BadInput(f"the crop offset must be between 0 and 1, got {offset}; 0.5 is the center")
    if mode not in get_args(FrameMode):
        raise BadInput(f"unknown frame mode {mode!r}; use one of {', '.join(get_args(FrameMode))}")


def _cover(image: Image.Image, width: int, height: int, offset: float) -> Image.Image:
    scale = max(width / image.width, height / image.height)
    cut_width, cut_height = min(image.width, width / scale), min(image.height, height / scale)
    left, top = (image.width - cut_width) * offset, (image.height - cut_height) * offset
    # Rounding must not push the far edges out of the image.
    right, bottom = min(image.width, left + cut_width), min(image.height, top + cut_height)
    return image.resize((width, height), Image.Resampling.LANCZOS, box=(left, top, right, bottom))


def _letterbox(image: Image.Image, width: int, height: int, offset: float) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    inner = (
        min(width, max(1, math.floor(image.width * scale + 0.5))),
        min(height, max(1, math.floor(image.height * scale + 0.5))),
    )
    whole = image.resize(inner, Image.Resampling.LANCZOS)
    if inner == (width, height):
        return whole
    blur = ImageFilter.GaussianBlur(max(width, height) / 24)
    frame = _cover(image, width, height, 0.5).filter(blur)
    frame.paste(whole, (round((width - inner[0]) * offset), round((height - inner[1]) * offset)))
    return frame
