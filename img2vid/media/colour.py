"""From what a picture file may hold (palette, grey, 16 bits, CMYK, transparency, profile, rotation) to plain sRGB."""

import io
import logging
import struct
from typing import Any, cast

import numpy as np
from PIL import Image, ImageCms

from img2vid.errors import BadInput

log = logging.getLogger(__name__)

BACKGROUND = (255, 255, 255)
"""What shows through transparent parts: white, as on the web pages and in the viewers where such pictures are seen."""

_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
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
    """The decoded `image` as upright 8-bit sRGB without transparency; a new image with empty `info`.

    `name` names the picture in the one error there is: BadInput for values that are not brightnesses of 8 or 16 bits.
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
    """How to turn the picture upright; damaged EXIF data count as none, as in every viewer."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return None


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """16-bit grey scaled to 8 bits (Pillow's own conversion cuts off everything above 255); other modes as they are."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or int(values.min()) < 0 or int(values.max()) > 0xFFFF:
        raise BadInput(f"{name} holds 32-bit measurements, not a picture; save it with 8 or 16 bits per channel")
    return Image.fromarray(((values.astype(np.uint32) * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8))


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours in mode L, RGB or CMYK, which colour profiles describe, and the opacity where there is one."""
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode in ("L", "RGB", "CMYK"):
        return image, alpha
    if image.mode in ("1", "LA"):
        return image.convert("L"), alpha
    # By way of RGBA, for not every mode with transparency goes to RGB directly.
    return image.convert("RGBA").convert("RGB"), alpha


def _to_srgb(image: Image.Image, profile_data: bytes | None) -> Image.Image:
    """Mode L, RGB or CMYK to sRGB, through the embedded profile where there is a usable one."""
    if profile_data:
        try:
            return _through_profile(image, profile_data)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            log.warning("The picture's colour profile cannot be used, sRGB is assumed: %s", error)
    return image if image.mode == "RGB" else image.convert("RGB")


def _through_profile(image: Image.Image, profile_data: bytes) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_data))
    details = cast(Any, profile).profile  # Pillow's types leave open what this is
    space: str = details.xcolor_space.strip()
    if space == "RGB" and image.mode == "L":  # common: a grey picture saved with the profile of its colour original
        image = image.convert("RGB")
    if _PROFILE_MODES.get(space) != image.mode:
        raise ValueError(f"a profile for {space} in a picture in {image.mode}")
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
