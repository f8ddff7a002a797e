"""Conversion of decoded images (palette, gray, 16 bits, CMYK, transparency, profile, rotation) to plain sRGB."""

import io
import logging
import struct
from typing import Any, cast

import numpy as np
from PIL import Image, ImageCms

from img2vid.errors import BadInput
from img2vid.media.color_spaces import ColorSpace, probe_colors, space_of_profile

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


def plain_rgb(image: Image.Image, name: str, space: ColorSpace | None = None) -> Image.Image:
    """Return the decoded `image` as upright 8-bit sRGB on white, a new image.

    Its `info` is empty but for "alpha", the transparency of an image that is not opaque.
    `space` is the color space if the file declares one by numbers; it precedes the profile in `info`. `name` is the
    image's name in errors. Raise BadInput for values that are not 8- or 16-bit brightnesses.
    """
    turn = _turn(image)
    profile = image.info.get("icc_profile")
    if space is None and profile:
        space = space_of_profile(profile)
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image, name, exact=space is None and not profile)
    colors, alpha = _split_alpha(image)
    if space is None or colors.mode == "CMYK":
        rgb = _to_srgb(colors, profile)
    else:
        rgb = colors.convert("RGB")
        rgb = rgb if space.is_srgb() else Image.fromarray(space.to_srgb(np.asarray(rgb)))
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, BACKGROUND), alpha)
    if turn is not None:
        rgb = rgb.transpose(turn)
        alpha = alpha and alpha.transpose(turn)
    if rgb is image:
        rgb = image.copy()
    rgb.info = {} if alpha is None or alpha.getextrema() == (255, 255) else {"alpha": alpha}
    return rgb


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the rotation that makes the image upright. Damaged EXIF data is ignored, as in every viewer."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return None


def _eight_bits(image: Image.Image, name: str, *, exact: bool) -> Image.Image:
    """Reduce 16-bit gray to 8 bits, because Pillow's conversion clips at 255.

    Round the values if they are `exact`. Otherwise take the high bytes, as Pillow and browsers do before they convert
    colors.
    """
    values = np.asarray(image)
    if image.mode == "F" or int(values.min()) < 0 or int(values.max()) > 0xFFFF:
        raise BadInput(f"{name} has 32-bit values; save it with 8 or 16 bits per channel")
    short = (values.astype(np.uint32) * 255 + 0x7FFF) // 0xFFFF if exact else values >> 8
    gray = Image.fromarray(short.astype(np.uint8))
    if (key := image.info.get("transparency")) is not None:
        gray.putalpha(Image.fromarray((values != key).astype(np.uint8) * 255))
    return gray


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
    space: str = cast(Any, profile).profile.xcolor_space.strip()  # untyped in Pillow
    if space == "RGB" and image.mode == "L":  # common: a gray image saved with the profile of its color original
        image = image.convert("RGB")
    if _PROFILE_MODES.get(space) != image.mode:
        raise ValueError(f"{space} profile in an image of mode {image.mode}")
    if space == "RGB":
        probe = probe_colors()
        seen = np.asarray(_through(profile, Image.fromarray(probe)))
        if np.abs(seen.astype(int) - probe).max() <= 1:
            return image
    return _through(profile, image)


def _through(profile: ImageCms.ImageCmsProfile, image: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        profile,
        cast(Any, ImageCms).createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        # The faster conversion of gray is wrong in the shadows.
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | (ImageCms.Flags.NOOPTIMIZE if image.mode == "L" else 0),
    )
    assert converted is not None  # None is returned only when converting in place
    return converted
