"""PNG files reduced to what their picture needs: pixels, palette, transparency, rotation and colors.

Text and animation chunks are never decompressed, so they cannot make a picture unreadable or fill the memory.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from img2vid.media.color_spaces import HDR_PEAK, ColorSpace, from_code_points, from_gamma

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED, _KEPT = (b"IHDR", b"PLTE", b"IDAT"), (b"tRNS", b"eXIf")
_KEY_SIZES = {b"\0": 2, b"\2": 6}
"""Bytes of a transparent color by color type: gray, RGB. Palettes have any number."""
_COLORS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cLLI", b"mDCV")
_MOST_PROFILE = 16 << 20  # bytes of a decompressed color profile


@dataclass(frozen=True)
class Png:
    """A PNG file with only the chunks that its picture needs."""

    data: bytes
    space: ColorSpace | None
    """Color space declared by numbers; None means sRGB or `profile`."""
    profile: bytes | None
    """Color profile, if it takes precedence."""
    gray_alpha: bool
    """Gray values with an alpha channel."""


def read_png(data: bytes) -> Png:
    """Read the chunks of a PNG file. A missing end marker is added; other damage is left to the decoder."""
    parts, colors = [SIGNATURE], dict[bytes, bytes]()
    pixels = False
    for kind, at, size in _chunks(data):
        end = at + 12 + size
        if kind in _NEEDED:
            pixels = pixels or kind == b"IDAT"
            # Close a chunk that the file's end cuts; the decoder decides whether pixels are missing.
            parts.append(data[at:end] if end <= len(data) else _chunk(kind, data[at + 8 : at + 8 + size]))
        elif kind in _COLORS or kind in _KEPT:
            content = data[at + 8 : end - 4]
            if data[end - 4 : end] != _checksum(kind, content):
                pass  # like every other optional chunk that is damaged
            elif kind in _COLORS and not pixels:
                colors.setdefault(kind, content)
            elif kind == b"eXIf" or (kind == b"tRNS" and size == _KEY_SIZES.get(data[25:26], size)):
                if kind == b"tRNS" and data[24:26] == b"\x10\x02":
                    # Pillow takes the high bytes of 16-bit RGB, but this key as it is.
                    parts.append(_chunk(kind, bytes((0, content[0], 0, content[2], 0, content[4]))))
                else:
                    parts.append(data[at:end])
    space, profile = _color_space(colors)
    return Png(b"".join((*parts, _chunk(b"IEND", b""))), space, profile, data[25:26] == b"\4")


def with_text(data: bytes, keyword: str, text: str) -> bytes:
    """Return a PNG file with a text chunk before its end marker; `png_texts` reads it."""
    end = len(data) - 12
    if data[end + 4 : end + 8] != b"IEND":
        raise ValueError("the PNG file does not end with its end marker")
    # Not compressed, without language and translation.
    return data[:end] + _chunk(b"iTXt", keyword.encode("latin-1") + bytes(5) + text.encode()) + data[end:]


def png_texts(data: bytes) -> dict[str, str]:
    """Return the uncompressed texts of a PNG file by keyword, also those that ComfyUI adds to animations."""
    found: dict[str, str] = {}
    for kind, at, size in _chunks(data):
        if kind in (b"tEXt", b"comf", b"iTXt"):
            keyword, _, text = data[at + 8 : at + 8 + size].partition(b"\0")
            if kind == b"iTXt":
                if text[:1] != b"\0":  # compressed
                    continue
                text = text[2:].split(b"\0", 2)[-1]
            encoding = "utf-8" if kind == b"iTXt" else "latin-1"
            found[keyword.decode("latin-1")] = text.decode(encoding, "replace")
    return found


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, offset and size of the content of each chunk before the end mark."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND" or not kind.isalpha():
            return
        yield kind, at, size
        at += 12 + size


def _checksum(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(kind + content))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + _checksum(kind, content)


def _color_space(chunks: dict[bytes, bytes]) -> tuple[ColorSpace | None, bytes | None]:
    """Return the color space or the profile, in the precedence of the standard: cICP, iCCP, sRGB, gAMA with cHRM."""
    cicp, gama, chrm = chunks.get(b"cICP", b""), chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    if len(cicp) == 4 and cicp[2:] == b"\0\1" and 2 not in cicp[:2]:
        space = from_code_points(cicp[0], cicp[1], bt709=2.4, peak=_peak(chunks))
        if space is not None:
            return space, None
    profile = _profile(chunks.get(b"iCCP", b""))
    if profile or b"sRGB" in chunks or len(gama) != 4 or gama == bytes(4):
        return None, profile
    gamma = int.from_bytes(gama, "big") / 100_000
    if len(chrm) == 32:
        white_x, white_y, *corners = (value / 100_000 for value in struct.unpack(">8I", chrm))
        return from_gamma(gamma, (*corners, white_x, white_y)), None
    # 1 / 2.2 alone is how older programs declare sRGB.
    return (None if abs(gamma * 2.2 - 1) < 0.05 else from_gamma(gamma, None)), None


def _profile(content: bytes) -> bytes | None:
    """Return the profile of an iCCP chunk, or None if it is damaged or larger than any real one."""
    unpack = zlib.decompressobj()
    try:
        profile = unpack.decompress(content.partition(b"\0")[2][1:], _MOST_PROFILE)
    except zlib.error:
        return None
    return profile if unpack.eof and profile[36:40] == b"acsp" else None


def _peak(chunks: dict[bytes, bytes]) -> float:
    """Return the brightest luminance of an HDR picture in nits."""
    light, display = chunks.get(b"cLLI", b""), chunks.get(b"mDCV", b"")
    peak = int.from_bytes(light[:4], "big") if len(light) == 8 else 0
    if not peak and len(display) == 24:
        peak = int.from_bytes(display[16:20], "big")
    return peak / 10_000 or HDR_PEAK
