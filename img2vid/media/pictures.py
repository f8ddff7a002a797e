"""Image loading: files and uploads become upright sRGB images, and images become the model's input frame."""

import io
import math
import re
import struct
import threading
import zlib
from collections.abc import Generator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageFilter

from img2vid.errors import BadInput, shown
from img2vid.files import reason
from img2vid.media.color import plain_rgb
from img2vid.media.cutouts import center_object
from img2vid.media.isobmff import nclx_space, with_known_brand
from img2vid.media.picture_files import refuse_address
from img2vid.media.picture_kinds import READ, picture_kind
from img2vid.media.png import read_png

FrameMode = Literal["crop", "fit", "object"]

MAX_PIXELS = {"JPEG": 200_000_000, "WEBP": 64_000_000}
"""Pixel limits of formats, checked before decoding. The largest phone cameras stay just below JPEG's."""
MOST_PIXELS = 100_000_000
"""Pixel limit of formats that are not listed; like WebP, they can only be decoded whole, which takes up to 1 GB."""
MOST_BYTES = 200 * 2**20
"""Largest picture file that the HTTP API accepts; the page's is `maxUploadSize` in .streamlit/config.toml."""
MOST_SIDE = 500_000
"""Limit of each side; a decoder takes memory for each row, also if it has few pixels."""

# JPEGs are decoded at reduced size while both sides keep this many pixels, twice a frame's largest side.
_ENOUGH = 4096
# Images with more pixels are reduced further, as long as both sides keep the last number of pixels.
_LARGE, _LESS = 64_000_000, (2048, 1024)

# Exceptions that Pillow's decoders raise on damaged files.
_DAMAGE = (OSError, RuntimeError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error, zlib.error)

# Segments with a length; in between are pixels, whose bytes 0xff precede other values.
_JPEG_SEGMENT = re.compile(rb"\xff([\xc0-\xcf\xda-\xfe])")

_pillow_limit = threading.Lock()


def load_picture(
    source: Path | bytes, *, name: str | None = None, max_pixels: int | None = None, enough: int = _ENOUGH
) -> Image.Image:
    """Load an image file, or the contents of one, as an upright 8-bit sRGB image of mode RGB.

    Reads JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF and HEIC. Takes the first frame of an animation, applies EXIF rotation,
    converts declared color spaces and HDR, scales 16-bit gray, and puts transparency on white; `info["alpha"]` of the
    result keeps it. Large JPEGs are decoded
    at a half, a quarter or an eighth of their size while both sides keep `enough` pixels; other very large images are
    halved. `name` is the image's name in errors.

    Raise BadInput for anything that cannot be read as an image, is cut off, or has more than `max_pixels` pixels
    (default: the format's limit).
    """
    known = name or (source.name if isinstance(source, Path) else "")
    label = f"'{shown(known)}'" if known else "the image"
    data = _read(source, label) if isinstance(source, Path) else source
    kind = _kind(data, label)
    png = read_png(data) if kind == "PNG" else None
    with closing(_decode(png.data if png else data, kind, label, max_pixels, enough)) as image:
        if png is not None:
            image.info["icc_profile"] = png.profile
            # Pillow decodes 16-bit gray with transparency as RGBA, which a gray profile does not fit.
            return plain_rgb(image.convert("LA") if png.gray_alpha else image, label, png.space)
        if kind == "BMP":
            image.info["icc_profile"] = _bmp_profile(data)
        heif = kind in ("AVIF", "HEIC") and not image.info.get("icc_profile")
        return plain_rgb(image, label, nclx_space(data) if heif else None)


def frame_picture(
    image: Image.Image, width: int, height: int, *, mode: FrameMode = "crop", offset: float = 0.5, share: float = 0.9
) -> Image.Image:
    """Return the exact input frame of a model of `width` x `height` pixels.

    "crop" scales the image to cover the frame and trims the excess; "fit" shows all of it and fills the bars with a
    strongly blurred enlargement, which moves more naturally than black. `offset` is the position along the side that
    does not fit: 0 is left or top, 1 right or bottom, 0.5 the center. Both enlarging and reducing use Lanczos
    resampling, which is sharp, has no staircase artifacts when enlarging, and uses integer arithmetic, so every machine
    makes the same frame. "object" cuts out the object, which takes `share` of the frame; see `media.cutouts`.

    Raise BadInput for sizes below 1, an offset outside 0 to 1, an unknown mode, and a picture without an object.
    """
    _check_frame(width, height, mode, offset)
    if mode == "object":
        return center_object(image, width, height, share)
    if mode == "crop":
        return _cover(image, width, height, offset)
    return _letterbox(image, width, height, offset)


def prepare_picture(
    image: Image.Image, width: int, height: int, *, mode: FrameMode = "crop", offset: float = 0.5, share: float = 0.9
) -> npt.NDArray[np.float32]:
    """Return the image of `frame_picture` for the engine: float32 (3, height, width), RGB from -1 to 1."""
    frame = frame_picture(image, width, height, mode=mode, offset=offset, share=share)
    pixels = np.moveaxis(np.asarray(frame, dtype=np.float32), -1, 0)
    return np.ascontiguousarray(pixels / 127.5 - 1.0, dtype=np.float32)


def _read(path: Path, label: str) -> bytes:
    refuse_address(path)
    if path.is_dir():
        raise BadInput(f"{label} is a folder; choose an image in it")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{label} is not in {path.absolute().parent}; check the name") from None
    except OSError as error:
        raise BadInput(f"cannot read {label} ({reason(error)}); check the file permissions") from error


def _kind(data: bytes, label: str) -> str:
    """Return the kind of image. Raise BadInput for other files."""
    if not data:
        raise BadInput(f"{label} is empty; choose a JPEG, PNG or WebP image")
    kind = picture_kind(data)
    if kind in READ:
        return kind
    if kind == "a video":
        raise BadInput(f"{label} is a video; save one of its frames as PNG or JPEG and use that")
    raise BadInput(f"{label} is {kind or 'not a supported image'}; use JPEG, PNG or WebP")


def _bmp_profile(data: bytes) -> bytes | None:
    """Return the profile of a BMP file with header version 5, which Pillow does not report."""
    if data[14:18] != b"\x7c\0\0\0" or data[70:74] != b"DEBM":
        return None
    start, size = (int.from_bytes(data[at : at + 4], "little") for at in (126, 130))
    return data[14 + start : 14 + start + size]


def _decode(data: bytes, kind: str, label: str, max_pixels: int | None, enough: int) -> Image.Image:
    """Return the decoded image. Raise BadInput if it is too large or pixels are missing."""
    try:
        image = _open(data, kind)
        limit = max_pixels or MAX_PIXELS.get(kind, MOST_PIXELS)
        if image.width * image.height > limit:
            raise BadInput(
                f"{label} has {image.width} x {image.height} pixels, more than the limit of {limit:,}"
                f" for {kind}; scale it down first"
            )
        if max(image.size) > MOST_SIDE:
            raise BadInput(
                f"{label} has {image.width} x {image.height} pixels, more than {MOST_SIDE:,} on one side; crop it first"
            )
        try:
            return _load(image, kind, enough)
        except OSError:
            whole = _without_end_marker(data, enough) if kind == "JPEG" else None
            if whole is None:
                raise
            return whole
    except MemoryError as error:
        raise BadInput(f"{label} is too large for this machine's memory; scale it down first") from error
    except _DAMAGE as error:
        if kind == "HEIC":
            raise BadInput(f"{label} is a HEIC image that cannot be read here; save it as JPEG or PNG") from error
        raise BadInput(f"{label} is damaged or incomplete; save or download it again") from error


def _open(data: bytes, kind: str) -> ImageFile.ImageFile:
    """Open an image and read only its header."""
    if kind == "HEIC":
        from pillow_heif import register_heif_opener  # pyright: ignore[reportUnknownVariableType]

        register_heif_opener()
    if kind in ("AVIF", "HEIC"):
        data = with_known_brand(data, kind)
    with _without_pillow_limit():
        return Image.open(io.BytesIO(data), formats=("HEIF" if kind == "HEIC" else kind,))


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


def _load(image: Image.Image, kind: str, enough: int) -> Image.Image:
    """Decode an image, reduced if it is very large."""
    image.draft(None, (least := _least_side(image, enough), least))
    with _without_pillow_limit() if kind == "TIFF" else nullcontext():  # checked again by the reader of TIFF
        image.load()
    if image.width * image.height <= _LARGE or min(image.size) < 2 * _LESS[-1]:
        return image
    with closing(image):
        whole = image
        if image.mode in ("1", "P") or "transparency" in image.info:  # indices and keys cannot be averaged
            whole = image.convert("RGBA" if image.has_transparency_data else "RGB")
        if whole.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
            return whole.copy()
        half = whole.reduce(2)
        half.info = {key: value for key, value in image.info.items() if key != "transparency"}
        half.getexif().update(image.getexif())
        return half


def _least_side(image: Image.Image, enough: int) -> int:
    """Return the number of pixels that both sides of a JPEG keep when it is decoded at a reduced size."""
    for least in (enough, *_LESS):
        scale = next((scale for scale in (8, 4, 2) if min(image.size) >= scale * least), 1)
        if image.width * image.height <= _LARGE * scale * scale:
            return least
    return _LESS[-1]


def _without_end_marker(data: bytes, enough: int) -> Image.Image | None:
    """Return a JPEG that lacks only its end marker, or None if pixels are missing.

    libjpeg invents missing pixels from whatever follows, so an image is whole if two endings give the same one.
    """
    if not _has_all_scans(data):
        return None
    endings = (b"", bytes(index * 89 % 255 for index in range(2000)))
    rest = data.rstrip(b"\xff")
    first, second = (_load(_open(rest + ending + b"\xff\xd9", "JPEG"), "JPEG", enough) for ending in endings)
    return first if first.tobytes() == second.tobytes() else None


def _has_all_scans(data: bytes) -> bool:
    """Return whether the scans of a JPEG give every coefficient of each component its last bit."""
    missing: set[tuple[int, int]] = set()
    at = 0
    while marker := _JPEG_SEGMENT.search(data, at):
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        kind, content = marker[1], data[marker.end() + 2 : at]
        if kind in b"\xc0\xc1\xc2" and len(content) > 5:  # frame: sequential or progressive
            last = 63 if kind == b"\xc2" else 0
            missing = {(component, index) for component in content[6::3] for index in range(last + 1)}
        elif kind == b"\xda" and len(content) > 5 and content[-1] & 15 == 0:
            components, (first, last) = content[1:-3:2], content[-3:-1]
            missing -= {(component, index) for component in components for index in range(first, last + 1)}
    return not missing


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
