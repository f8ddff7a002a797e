"""Pictures in: files and uploads become upright sRGB images, and images become the frame that a model is given."""

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
"""Pictures with more pixels are refused before they are decoded; the largest telephone cameras stay just below."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
"""Names that count as pictures when a folder is searched."""

# Named one by one: some of Pillow's other readers start external programs, and none of them is for photographs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")

# A JPEG is decoded smaller as long as both sides keep this many pixels, twice the largest side of a frame.
_ENOUGH = 4096

# What Pillow's decoders raise on damaged files.
_DAMAGE = (OSError, RuntimeError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error, zlib.error)

_pillow_limit = threading.Lock()


def load_picture(
    source: Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS, enough: int = _ENOUGH
) -> Image.Image:
    """A picture file, or the contents of one, as an upright 8-bit sRGB image of mode RGB.

    Reads JPEG, PNG, WebP, BMP, GIF, TIFF and AVIF. The first frame of an animation is taken, EXIF rotation is applied,
    colour profiles are converted, 16-bit grey is scaled, and transparency is laid over white. JPEGs far larger than
    any frame come back at a half, a quarter or an eighth of their size: as long as both sides keep `enough` pixels.
    `name` is what errors call the picture.

    Raises BadInput for whatever cannot be read as a picture, or has more than `max_pixels` pixels.
    """
    known = name or (source.name if isinstance(source, Path) else "")
    label = f"'{known}'" if known else "the picture"
    data = _read(source, label) if isinstance(source, Path) else source
    with closing(_open(data, label)) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise BadInput(
                f"{label} has {width} x {height} pixels, and at most {max_pixels:,} can be read; scale it down first"
            )
        _decode(image, label, enough)
        return plain_rgb(image, label)


def list_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files as given, with each folder replaced by the pictures directly inside it, sorted by name.

    Raises BadInput for a path that does not exist and for a folder without pictures.
    """
    return [picture for path in paths for picture in _expand(path)]


def frame_picture(
    image: Image.Image, width: int, height: int, *, mode: FrameMode = "crop", offset: float = 0.5
) -> Image.Image:
    """Exactly what a model of `width` x `height` pixels will be shown, as an image.

    "crop" scales the picture until it covers the frame and cuts off what sticks out; "fit" shows all of it and fills
    the bars with a strongly blurred enlargement of it, which moves more naturally than black would. `offset` says
    where along the side that does not fit: 0 keeps the left or top part (or places the picture there), 1 the right or
    bottom, 0.5 the centre.
    Enlarging and reducing both use Lanczos resampling: sharp, without the staircases that averaging over areas gives
    when it enlarges, and computed in integers, so that every machine makes the same frame.

    Raises BadInput for sizes below 1, for an offset outside 0 to 1 and for an unknown mode.
    """
    _check_frame(width, height, mode, offset)
    if mode == "crop":
        return _cover(image, width, height, offset)
    return _letterbox(image, width, height, offset)


def prepare_picture(
    image: Image.Image, width: int, height: int, *, mode: FrameMode = "crop", offset: float = 0.5
) -> npt.NDArray[np.float32]:
    """The picture of `frame_picture` as an array for the engine: float32, (3, height, width), RGB from -1 to 1."""
    frame = frame_picture(image, width, height, mode=mode, offset=offset)
    pixels = np.moveaxis(np.asarray(frame, dtype=np.float32), -1, 0)
    return np.ascontiguousarray(pixels / 127.5 - 1.0, dtype=np.float32)


def _read(path: Path, label: str) -> bytes:
    if path.is_dir():
        raise BadInput(f"{label} is a folder; name one of the pictures in it")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"there is no file {label} in {path.absolute().parent}; check the name") from None
    except OSError as error:
        raise BadInput(f"{label} cannot be read ({error.strerror}); check the permissions of the file") from error


def _open(data: bytes, label: str) -> Image.Image:
    """Read the header only."""
    if not data:
        raise BadInput(f"{label} is empty; choose a JPEG, PNG or WebP picture")
    try:
        with _without_pillow_limit():
            return Image.open(io.BytesIO(data), formats=_FORMATS)
    except _DAMAGE as error:
        raise BadInput(f"{label} {_other_kind(data)}") from error


@contextmanager
def _without_pillow_limit() -> Generator[None, None, None]:
    """Pillow's limit is one for the whole program and lower than ours, which is checked right after the header."""
    with _pillow_limit:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _other_kind(data: bytes) -> str:
    """What else the file may be, judged by its first bytes, as the second half of a sentence."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "is a HEIC picture, which cannot be read here; save it as JPEG or PNG"
    if (brand and brand not in (b"avif", b"avis")) or data[:4] == b"\x1aE\xdf\xa3" or data[8:12] == b"AVI ":
        return "is a video; save one of its frames as a PNG or JPEG picture and use that"
    return "is not a picture that can be read; use JPEG, PNG or WebP"


def _decode(image: Image.Image, label: str, enough: int) -> None:
    try:
        image.draft(None, (enough, enough))
        image.load()
    except MemoryError as error:
        raise BadInput(f"{label} does not fit into the memory of this machine; scale it down first") from error
    except _DAMAGE as error:
        raise BadInput(f"{label} is damaged or incomplete; save or download it again") from error


def _expand(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BadInput(f"there is no file or folder '{path}'; check the name")
    pictures = [file for file in path.iterdir() if _looks_like_picture(file)]
    if not pictures:
        raise BadInput(f"the folder '{path}' holds no pictures; it needs files ending in {', '.join(sorted(SUFFIXES))}")
    return sorted(pictures, key=lambda file: (file.name.casefold(), file.name))


def _looks_like_picture(file: Path) -> bool:
    # macOS leaves a hidden companion `._photo.jpg` beside each file on foreign drives.
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _check_frame(width: int, height: int, mode: str, offset: float) -> None:
    if width < 1 or height < 1:
        raise BadInput(f"a frame needs at least 1 x 1 pixels, got {width} x {height}; try 1024 x 576")
    if not 0.0 <= offset <= 1.0:  # also refuses nan
        raise BadInput(f"the crop offset must lie between 0 and 1, got {offset}; 0.5 is the centre")
    if mode not in get_args(FrameMode):
        raise BadInput(f"unknown way to frame a picture: {mode!r}; use one of {', '.join(get_args(FrameMode))}")


def _cover(image: Image.Image, width: int, height: int, offset: float) -> Image.Image:
    scale = max(width / image.width, height / image.height)
    cut_width, cut_height = min(image.width, width / scale), min(image.height, height / scale)
    left, top = (image.width - cut_width) * offset, (image.height - cut_height) * offset
    # Rounding must not push the far edges out of the picture.
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
