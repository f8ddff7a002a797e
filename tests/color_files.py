"""Pictures that declare their colors in every way, for comparison with what a browser draws.

tests/data/browser_colors.json has the colors that Chromium drew; tests/browser/test_browser_colors.py draws them again.
"""

import struct
from typing import Any

import numpy as np
from made_pictures import (
    ADOBE,
    BT709_CURVE,
    P3,
    REC2020,
    SRGB,
    SRGB_CURVE,
    avif,
    bmp,
    chrm,
    chunk,
    cicp,
    encoded,
    gama,
    gray_profile,
    iccp,
    png,
    quarters,
    rgb_profile,
    with_nclx,
)
from PIL import Image

_DARK = ((0, 2, 4), (8, 12, 16), (3, 6, 9), (5, 5, 5))
_BETWEEN = (
    np.array([0x0040, 0x0180, 0x01FF, 0x9AFF], np.uint16).reshape(2, 2, 1).repeat(24, 0).repeat(32, 1).repeat(3, 2)
)
"""16-bit values that browsers cut to 8 bits."""
_GRAYS = ((3,), (90,), (160,), (220,))
_BRIGHT = ((150, 150, 150), (170, 170, 170), (190, 190, 190), (200, 200, 200))
_CLEAR = ((220, 40, 30, 128), (40, 190, 60, 255), (40, 60, 210, 60), (225, 180, 150, 0))
_P3 = rgb_profile(P3, SRGB_CURVE)


def color_files() -> dict[str, bytes]:
    profiles = {f"profile: {name}": data for name, data in _profiles().items()}
    return {**_png_files(), **_code_points(), **profiles, **_other_formats()}


def _light(peak: int) -> tuple[bytes, bytes]:
    return b"cLLI", struct.pack(">II", peak * 10_000, 100 * 10_000)


def _with_chunks(image: Image.Image, *chunks: tuple[bytes, bytes], **options: Any) -> bytes:
    data = encoded(image, **options)
    return data[:33] + b"".join(chunk(*each) for each in chunks) + data[33:]


def _png_files() -> dict[str, bytes]:
    color, dark, bright = quarters(), quarters(_DARK, 16), quarters(_BRIGHT)
    palette = Image.fromarray(color).quantize(8)
    damaged = chunk(*gama(1))[:-1] + b"?"
    plain = png(color)
    return {
        "gAMA 1": png(color, [gama(1)]),
        "gAMA 1, 16 bits, dark": png(dark, [gama(1)]),
        "gAMA 1, 16 bits, interlaced": png(dark, [gama(1)], interlaced=True),
        "gAMA 1, 16 bits, cut": png(_BETWEEN, [gama(1)]),
        "gAMA 1, 16 bits, gray, cut": png(_BETWEEN[..., :1], [gama(1)]),
        "gAMA 0.55": png(color, [gama(0.55)]),
        "gAMA 1/2.2 alone": png(dark, [gama(0.45455)]),
        "gAMA 1/2.2 and cHRM": png(quarters(_DARK), [gama(0.45455), chrm(SRGB)]),
        "gAMA and cHRM of P3": png(color, [gama(0.45455), chrm(P3)]),
        "gAMA and cHRM with another white": png(color, [gama(0.5), chrm(REC2020, (0.3457, 0.3585))]),
        "cHRM alone": png(color, [chrm(P3)]),
        "impossible cHRM": png(color, [gama(1), chrm((0,) * 6, (0, 0))]),
        "gAMA of 0": png(color, [gama(0)]),
        "gAMA twice": png(color, [gama(1), gama(0.45455)]),
        "gAMA with a wrong checksum": plain[:33] + damaged + plain[33:],
        "gAMA after the pixels": plain[:-12] + chunk(*gama(1)) + plain[-12:],
        "sRGB before gAMA": png(color, [gama(1), chrm(P3), (b"sRGB", b"\0")]),
        "iCCP before sRGB": png(color, [(b"sRGB", b"\0"), iccp(_P3)]),
        "iCCP before gAMA": png(color, [gama(1), iccp(_P3)]),
        "damaged iCCP, gAMA": png(color, [gama(1), iccp(b"nonsense")]),
        "cICP before iCCP": png(color, [cicp(12, 13), iccp(rgb_profile(SRGB, 1))]),
        "unknown cICP, gAMA": png(color, [gama(1), cicp(99, 13)]),
        "narrow cICP, gAMA": png(color, [gama(1), cicp(12, 13, 0, 0)]),
        "gray": png(quarters(_GRAYS), [gama(1)]),
        "gray, 16 bits": png(quarters(_GRAYS, 16), [gama(1)]),
        "gray and alpha, 16 bits": png(quarters(((3, 128), (9, 255), (16, 0), (22, 60)), 16), [gama(1)]),
        "gray, PQ": png(quarters(((60,), (90,), (160,), (200,))), [cicp(9, 16)]),
        "alpha, 16 bits": png(quarters(_CLEAR, 16), [gama(1)]),
        "palette, gAMA": _with_chunks(palette, gama(1)),
        "palette, cICP, transparency": _with_chunks(palette, cicp(12, 13), transparency=0),
        "tRNS, 16 bits": png(dark, [gama(1), (b"tRNS", struct.pack(">3H", *(257 * value for value in _DARK[1])))]),
        "tRNS, gray, 16 bits": png(quarters(_GRAYS, 16), [(b"tRNS", struct.pack(">H", 257 * 90))]),
        "PQ, light 300": png(bright, [cicp(9, 16), _light(300)]),
        "PQ, light 4000": png(bright, [cicp(9, 16), _light(4000)]),
        "PQ, 16 bits": png(dark, [cicp(9, 16)]),
        "HLG, light 300": png(bright, [cicp(9, 18), _light(300)]),
    }


def _code_points() -> dict[str, bytes]:
    files = {
        f"cICP {primaries}": png(quarters(), [cicp(primaries, 13)]) for primaries in (4, 5, 6, 7, 8, 9, 10, 11, 12, 22)
    }
    for transfer in (1, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 18):
        files[f"cICP transfer {transfer}"] = png(quarters(), [cicp(1, transfer)])
    for pair in ((1, 1), (1, 8), (2, 2), (2, 16), (9, 1), (9, 16), (9, 18), (12, 2), (12, 13)):
        files[f"nclx {pair}"] = avif(nclx=pair)
    return files


def _profiles() -> dict[str, bytes]:
    color, dark = quarters(), quarters(_DARK, 16)
    table = (np.linspace(0, 1, 256) ** 3 * 65535).round().astype(np.uint16)
    code_points = [(b"cicp", b"cicp\0\0\0\0" + bytes((9, 16, 0, 1)))]
    return {
        "P3": png(color, [iccp(_P3)]),
        "P3, alpha": png(quarters(_CLEAR), [iccp(_P3)]),
        "linear, named sRGB": png(color, [iccp(rgb_profile(SRGB, 1, "sRGB linear"))]),
        "linear, named sRGB, 16 bits": png(dark, [iccp(rgb_profile(SRGB, 1, "sRGB linear"))]),
        "linear, dark": png(quarters(_DARK), [iccp(rgb_profile(P3, 1))]),
        "linear, 16 bits, cut": png(_BETWEEN, [iccp(rgb_profile(SRGB, 1))]),
        "gray, 16 bits, cut": png(_BETWEEN[..., :1], [iccp(gray_profile(1))]),
        "gray, dark": png(quarters(((1,), (2,), (3,), (9,))), [iccp(gray_profile(1))]),
        "Adobe RGB named sRGB": png(color, [iccp(rgb_profile(ADOBE, 2.2, "sRGB IEC61966-2.1"))]),
        "sRGB under another name": png(color, [iccp(rgb_profile(SRGB, SRGB_CURVE, "monitor"))]),
        "BT.709": png(color, [iccp(rgb_profile(SRGB, BT709_CURVE))]),
        "gamma 1.8, version 2": png(color, [iccp(rgb_profile(ADOBE, 1.8, version=2))]),
        "table, 16 bits": png(dark, [iccp(rgb_profile(SRGB, table))]),
        "gray": png(quarters(_GRAYS, 16), [iccp(gray_profile(1))]),
        "gray, gray and alpha": png(quarters(((3, 128), (9, 255), (16, 0), (22, 60)), 16), [iccp(gray_profile(1))]),
        "gray, in a color image": png(color, [iccp(gray_profile(1))]),
        "RGB, in a gray image": png(quarters(_GRAYS[1:] + _GRAYS[1:2]), [iccp(rgb_profile(SRGB, 1))]),
        "PQ by code points": png(color, [iccp(rgb_profile(REC2020, 2.2, extra=code_points))]),
    }


def _other_formats() -> dict[str, bytes]:
    image = Image.fromarray(quarters())
    gray = Image.fromarray(quarters(((30,), (90,), (160,), (220,)))[..., 0])
    exact: dict[str, Any] = {"quality": 100, "subsampling": 0}
    large = rgb_profile(P3, SRGB_CURVE, extra=[(b"priv", bytes(200_000))])
    linear = rgb_profile(P3, 1)
    inks = Image.fromarray(
        quarters(((200, 30, 20, 0), (20, 190, 60, 40), (0, 0, 0, 255), (255, 255, 255, 255))), "CMYK"
    )
    return {
        "JPEG, large P3": encoded(image, "JPEG", icc_profile=large, **exact),
        "JPEG, linear": encoded(image, "JPEG", icc_profile=rgb_profile(SRGB, 1, "sRGB"), **exact),
        "JPEG, gray": encoded(gray, "JPEG", icc_profile=gray_profile(1.0), quality=100),
        "JPEG, CMYK": encoded(inks, "JPEG", quality=100),
        "BMP, profile": bmp(quarters(), linear),
        "WebP, Rec. 2020": encoded(image, "WEBP", lossless=True, icc_profile=rgb_profile(REC2020, 2.4)),
        "AVIF, P3": avif(icc_profile=_P3),
        "AVIF, profile and nclx": with_nclx(avif(icc_profile=_P3), 9, 16),
    }
