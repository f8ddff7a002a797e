"""Conversion of decoded images (palette, gray, 16 bits, CMYK, transparency, profile, rotation) to plain sRGB."""

import io
import logging
import struct
from typing import Any, cast

import numpy as np
from PIL import Image, ImageCms

from img2vid.errors import BadInput

log = logging.getLogger(__name__)

BACKGROUND = (255, 255, 255)
"""Color behind transparent parts: white, as on web pages and in most viewers."""

_ORIENTATION = 0x0112  # EXIF tag of the camera orientation
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def plain_rgb(image: Image.Image, name: str) -> Image.Image:
    """Return the decoded `image` as upright 8-bit sRGB without transparency, a new image with empty `info`.

    `name` is the image's name in errors. Raise BadInput for values that are not 8- or 16-bit brightnesses.
    """
    turn = _turn(image)
    colours, alpha = _split_alpha(_eight_bits(image, name))
    rgb = _to_srgb(colours, image.info.get("icc_profile"))
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, BACKGROUND), alpha)
    if turn is not None:
        rgb = rgb.transpose(turn)
    if rgb is image:
        rgb = image.copy()
    rgb.info = {}
    return rgb


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the rotation that makes the image upright. Damaged EXIF data is ignored, as in every viewer."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return None


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Scale 16-bit gray to 8 bits, because Pillow's conversion clips at 255. Other modes are unchanged."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or int(values.min()) < 0 or int(values.max()) > 0xFFFF:
        raise BadInput(f"{name} has 32-bit values; save it with 8 or 16 bits per channel")
    return Image.fromarray(((values.astype(np.uint32) * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8))


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colors in mode L, RGB or CMYK, the modes of color profiles, and the alpha channel or None."""
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode in ("L", "RGB", "CMYK"):
        return image, alpha
    if image.mode in ("1", "LA"):
        return image.convert("L"), alpha
    # Convert through RGBA because not every mode with transparency converts to RGB directly.
    return image.convert("RGBA").convert("RGB"), alpha


def _to_srgb(image: Image.Image, profile_data: bytes | None) -> Image.Image:
    """Convert mode L, RGB or CMYK to sRGB, using the embedded profile if it is valid."""
    if profile_data:
        try:
            return _through_profile(image, profile_data)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            log.warning("Invalid color profile in the image, assuming sRGB: %s", error)
    return image if image.mode == "RGB" else image.convert("RGB")


def _through_profile(image: Image.Image, profile_data: bytes) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_data))
    details = cast(Any, profile).profile  # untyped in Pillow
    space: str = details.xcolor_space.strip()
    if space == "RGB" and image.mode == "L":  # common: a gray image saved with the profile of its color original
        image = image.convert("RGB")
    if _PROFILE_MODES.get(space) != image.mode:
        raise ValueError(f"{space} profile in an image of mode {image.mode}")
    if space == "RGB" and (details.profile_description or "").startswith("sRGB"):
        return image
    converted = ImageCms.profileToProfile(
        image,
        profile,
        cast(Any, ImageCms).createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # None is returned only when converting in place
    return converted
