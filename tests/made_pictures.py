"""Picture files written byte by byte: PNG chunks, ICC profiles and nclx boxes that Pillow does not write."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

pillow_heif.register_heif_opener()  # lets `encoded` write HEIF

Chunks = Sequence[tuple[bytes, bytes]]
Curve = tuple[float, ...] | float | NDArray[np.uint16]

SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
REC2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
D65 = (0.3127, 0.3290)
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

COLORS = ((220, 40, 30), (40, 190, 60), (40, 60, 210), (225, 180, 150))
"""Stored values of the four quarters: top left, top right, bottom left, bottom right."""


def quarters(colors: Sequence[Sequence[int]] = COLORS, bits: int = 8, size: tuple[int, int] = (64, 48)) -> Any:
    """Return pixels (H, W, C) with one color in each quarter; 8-bit colors are scaled to `bits`."""
    width, height = size
    scale, kind = (257, np.uint16) if bits == 16 else (1, np.uint8)
    pixels = np.zeros((height, width, len(colors[0])), kind)
    for index, color in enumerate(colors):
        top, left = index // 2 * height // 2, index % 2 * width // 2
        pixels[top : top + height // 2, left : left + width // 2] = np.array(color, np.uint32) * scale
    return pixels


def centers(image: Image.Image) -> list[tuple[int, ...]]:
    """Return the colors in the middle of the four quarters."""
    pixels = np.asarray(image)
    rows, columns = (image.height // 4, image.height * 3 // 4), (image.width // 4, image.width * 3 // 4)
    return [tuple(int(value) for value in pixels[row, column]) for row in rows for column in columns]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: Any, chunks: Chunks = (), *, end: bool = True, interlaced: bool = False) -> bytes:
    """Write pixels (H, W, 1 to 4) of 8 or 16 bits; `chunks` precede the pixels."""
    height, width, channels = pixels.shape
    bits = 16 if pixels.dtype == np.uint16 else 8
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, interlaced)
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [pixels[y::step_y, x::step_x] for y, x, step_y, step_x in passes]
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for part in parts for row in part)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *(chunk(kind, data) for kind, data in chunks),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b"") if end else b"",
        )
    )


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 100_000))


def chrm(primaries: Sequence[float], white: Sequence[float] = D65) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in (*white, *primaries)))


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> tuple[bytes, bytes]:
    return b"cICP", bytes((primaries, transfer, matrix, full))


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"profile\0\0" + zlib.compress(profile)


def colorants(primaries: Sequence[float], white: Sequence[float] = D65) -> NDArray[np.float64]:
    """Return the matrix from linear RGB to XYZ relative to D50, as in ICC profiles."""

    def xyz(x: float, y: float) -> NDArray[np.float64]:
        return np.array([x / y, 1, (1 - x - y) / y])

    corners = np.stack([xyz(*primaries[at : at + 2]) for at in (0, 2, 4)], axis=1)
    light = xyz(*white)
    to_xyz = corners * np.linalg.solve(corners, light)
    adapt = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ np.array(_D50) / (_BRADFORD @ light)) @ _BRADFORD
    return adapt @ to_xyz


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _curve(curve: Curve) -> bytes:
    if isinstance(curve, np.ndarray):
        return b"curv\0\0\0\0" + struct.pack(">I", len(curve)) + curve.astype(">u2").tobytes()
    if isinstance(curve, tuple):
        return b"para\0\0\0\0" + struct.pack(">HH", 3 if len(curve) == 5 else 4, 0) + _fixed(*curve)
    if curve == 1:
        return b"curv\0\0\0\0" + struct.pack(">I", 0)
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(curve * 256))


def _text(name: str, version: int) -> bytes:
    if version == 4:
        text = name.encode("utf-16-be")
        return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    text = name.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)


def profile(tags: dict[bytes, bytes], space: bytes = b"RGB ", version: int = 4, connection: bytes = b"XYZ ") -> bytes:
    """Pack tags into an ICC display or, for CMYK, output profile."""
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", tag, start + len(body), len(data))
        body += data
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    header = struct.pack(">I4sB3s4s4s4s", start + len(body), bytes(4), version, bytes(3), kind, space, connection)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*_D50) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


def rgb_profile(
    primaries: Sequence[float], curve: Curve, name: str = "a profile", *, version: int = 4, extra: Any = ()
) -> bytes:
    """Return a matrix profile: `curve` is a gamma, the parameters of a `para` tag or a table."""
    matrix = colorants(primaries)
    tags = {b"desc": _text(name, version), b"cprt": _text("none", version), b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50)}
    for index, letter in enumerate((b"r", b"g", b"b")):
        tags[letter + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(*matrix[:, index])
        tags[letter + b"TRC"] = _curve(curve)
    return profile({**tags, **dict(extra)}, version=version)


def gray_profile(curve: Curve, name: str = "gray") -> bytes:
    white = b"XYZ \0\0\0\0" + _fixed(*_D50)
    return profile(
        {b"desc": _text(name, 4), b"cprt": _text("none", 4), b"wtpt": white, b"kTRC": _curve(curve)}, b"GRAY"
    )


def _table(channels: int, to_pcs: Any) -> bytes:
    """Return an mft2 table of `channels` inputs in Lab (ICC version 2 encoding), 9 points a side."""
    points = np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * channels, indexing="ij"), axis=-1).reshape(-1, channels)
    lab = np.array([to_pcs(point) for point in points])
    packed = np.stack([lab[:, 0] * 652.8, (lab[:, 1] + 128) * 256, (lab[:, 2] + 128) * 256], axis=1)
    ramp = struct.pack(">2H", 0, 65535)
    return (
        b"mft2\0\0\0\0"
        + bytes((channels, 3, 9, 0))
        + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
        + struct.pack(">2H", 2, 2)
        + ramp * channels
        + packed.clip(0, 65535).round().astype(">u2").tobytes()
        + ramp * 3
    )


def _lab(linear: Any) -> list[float]:
    """Return Lab of linear sRGB."""
    ratio = colorants(SRGB) @ linear / np.array(_D50)
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), ratio * 7.787 + 16 / 116)
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


def cmyk_profile() -> bytes:
    """Return a printer with dull inks: full black is dark gray, full cyan a grayish blue."""
    inks = np.array([[0.9, 0.35, 0.1], [0.15, 0.85, 0.4], [0.02, 0.12, 0.9]]).T

    def to_pcs(cmyk: Any) -> list[float]:
        return _lab((1 - inks @ cmyk[:3] / 1.6) * (1 - 0.97 * cmyk[3]))

    white = b"XYZ \0\0\0\0" + _fixed(*_D50)
    tags = {b"desc": _text("inks", 2), b"cprt": _text("none", 2), b"wtpt": white, b"A2B0": _table(4, to_pcs)}
    return profile(tags, b"CMYK", 2, b"Lab ")


def table_profile() -> bytes:
    """Return an RGB profile that is a table alone: red and blue exchanged, gamma 2."""

    def to_pcs(rgb: Any) -> list[float]:
        return _lab(np.square(rgb[::-1]))

    white = b"XYZ \0\0\0\0" + _fixed(*_D50)
    tags = {b"desc": _text("table", 2), b"cprt": _text("none", 2), b"wtpt": white, b"A2B0": _table(3, to_pcs)}
    return profile(tags, b"RGB ", 2, b"Lab ")


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bmp(pixels: Any, profile: bytes) -> bytes:
    """Write pixels (H, W, 3) with a header of version 5; the width is a multiple of 4."""
    rows = pixels[::-1, :, ::-1].tobytes()
    height, width, _ = pixels.shape
    header = struct.pack("<IiiHHII", 124, width, height, 1, 24, 0, len(rows)) + bytes(32)
    header += b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(rows), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 138 + len(rows) + len(profile), 0, 0, 138) + header + rows + profile


def with_nclx(data: bytes, primaries: int, transfer: int) -> bytes:
    """Replace primaries and transfer in all nclx boxes of an AVIF or HEIC file."""
    assert b"colrnclx" in data
    parts = data.split(b"colrnclx")
    return parts[0] + b"".join(b"colrnclx" + struct.pack(">HH", primaries, transfer) + part[4:] for part in parts[1:])


def avif(colors: Sequence[Sequence[int]] = COLORS, nclx: tuple[int, int] | None = None, **options: object) -> bytes:
    image = Image.fromarray(quarters(colors))
    data = encoded(image, "AVIF", quality=100, subsampling="4:4:4", **options)
    return with_nclx(data, *nclx) if nclx else data


def heic(
    colors: Sequence[Sequence[int]] = COLORS, nclx: tuple[int, int] | None = None, *, bits: int = 8, **options: object
) -> bytes:
    """Write a HEIC file with 8 bits or, if `bits` is 16, with 10."""
    pixels = quarters(colors, bits)
    file = pillow_heif.from_bytes("RGB;16" if bits == 16 else "RGB", (64, 48), pixels.tobytes())
    buffer = io.BytesIO()
    file.save(buffer, quality=-1, chroma=444, **options)
    return with_nclx(buffer.getvalue(), *nclx) if nclx else buffer.getvalue()
