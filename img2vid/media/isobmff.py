"""Color declarations of AVIF and HEIC files (ISO/IEC 23008-12), which Pillow does not report."""

import struct
from collections.abc import Iterator

from img2vid.media.color_spaces import HDR_PEAK, ColorSpace, from_code_points

_MOST_BOXES = 10_000
_KNOWN_BRANDS = {
    "AVIF": (b"avif", b"avis"),
    "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
}


def with_known_brand(data: bytes, kind: str) -> bytes:
    """Return an AVIF or HEIC file under a major brand that its reader accepts; files may declare a general one."""
    brands = _KNOWN_BRANDS[kind]
    return data if data[8:12] in brands else b"".join((data[:8], brands[0], data[12:]))


def nclx_space(data: bytes) -> ColorSpace | None:
    """Return the color space of the main picture's nclx box, or None if it has none or it is damaged."""
    try:
        boxes = _properties(data)
        for kind, content in boxes:
            if kind == b"colr" and content[:4] == b"nclx":
                primaries, transfer = struct.unpack_from(">2H", content, 4)
                return from_code_points(primaries, transfer, peak=_peak(boxes))
    except (IndexError, struct.error):
        pass
    return None


def _peak(boxes: list[tuple[bytes, bytes]]) -> float:
    """Return the brightest luminance of an HDR picture in nits."""
    for kind, content in boxes:
        if kind == b"clli" and (peak := struct.unpack_from(">H", content)[0]):
            return float(peak)
    for kind, content in boxes:
        if kind == b"mdcv" and (peak := struct.unpack_from(">I", content, 16)[0]):
            return peak / 10_000
    return HDR_PEAK


def _properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return type and content of the boxes that describe the main picture."""
    meta = next((content[4:] for kind, content in _boxes(data) if kind == b"meta"), b"")
    parts = dict(_boxes(meta))
    main = parts.get(b"pitm", b"")
    item = int.from_bytes(main[4:6] if main[:1] == b"\0" else main[4:8], "big")
    described = dict(_boxes(parts.get(b"iprp", b"")))
    properties = list(_boxes(described.get(b"ipco", b"")))
    return [
        properties[index - 1] for index in _indices(described.get(b"ipma", b""), item) if 0 < index <= len(properties)
    ]


def _indices(ipma: bytes, wanted: int) -> list[int]:
    """Return the numbers of an item's properties, from 1."""
    if not ipma:
        return []
    version, wide = ipma[0], ipma[3] & 1
    (count,) = struct.unpack_from(">I", ipma, 4)
    at = 8
    for _ in range(count):
        item, number = struct.unpack_from(">IB" if version else ">HB", ipma, at)
        at += 5 if version else 3
        if item == wanted:
            mask = 0x7FFF if wide else 0x7F
            return [index & mask for index in struct.unpack_from(f">{number}{'H' if wide else 'B'}", ipma, at)]
        at += number * (2 if wide else 1)
    return []


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the boxes of a file or a box."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = len(data) if size == 0 else at + size
        if end < start:
            return
        yield kind, data[start:end]
        at = end
