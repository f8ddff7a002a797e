"""Recognition of files by their first bytes: pictures that can be read, and the names of other files."""

READ = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIC")
"""Pictures that can be read, under the names of Pillow's readers."""

SUFFIXES = frozenset(
    f".{name}"
    for names in ("jpg jpeg jpe jfif png apng webp bmp dib gif tif tiff", "avif avifs heic heics heif heifs hif")
    for name in names.split()
)
"""Suffixes of pictures in folders."""

_AVIF = frozenset({b"avif", b"avis"})
_HEVC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_ANY_HEIF = frozenset({b"mif1", b"mif2", b"msf1", b"miaf"})
_OTHER_BRANDS = {b"crx ": "a raw photo", b"jxl ": "a JPEG XL image", b"jp2 ": "a JPEG 2000 image"}

_VIDEO = "a video"
_FIRST_BYTES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"\x1aE\xdf\xa3", _VIDEO),  # Matroska and WebM
    (b"\x00\x00\x01\xba", _VIDEO),  # MPEG
    (b"\x00\x00\x01\xb3", _VIDEO),
    (b"FLV\x01", _VIDEO),
    (b"OggS", _VIDEO),
    (b"0&\xb2u\x8ef\xcf\x11", _VIDEO),  # WMV
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xffO\xffQ", "a JPEG 2000 image"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF file"),
    (b"%!PS", "a PostScript file"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"gimp xcf", "a GIMP file"),
    (b"PK\x03\x04", "a ZIP file or a document"),
    (b"FUJIFILMCCD-RAW", "a raw photo"),
)
_RIFF = {b"WEBP": "WEBP", b"AVI ": _VIDEO}
_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_MARKUP = ((b"<svg", "an SVG drawing"), (b"<html", "a web page"), (b"<!doctype html", "a web page"))


def picture_kind(data: bytes) -> str:
    """Return one of READ, the name of another kind of file with its article, or "" if the kind is unknown."""
    if data[4:8] == b"ftyp":
        return _kind_of_brands(data)
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12], "")
    for start, name in _FIRST_BYTES:
        if data.startswith(start):
            return name
    # QuickTime before 2001 has no list of brands; a transport stream has a mark every 188 bytes.
    if data[4:8] in _QUICKTIME or (data[:1] == b"G" and data[188:189] == b"G" and data[376:377] == b"G"):
        return _VIDEO
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((name for mark, name in _MARKUP if head.startswith(b"<") and mark in head), "")


def is_video(data: bytes) -> bool:
    """Return whether the file is a video in any common container."""
    return picture_kind(data) == _VIDEO


def _kind_of_brands(data: bytes) -> str:
    """Return the kind of an ISO media file; if its major brand leaves the codec open, the compatible ones decide."""
    size = min(int.from_bytes(data[:4], "big"), 4096, len(data))
    major, compatible = data[8:12], {data[at : at + 4] for at in range(16, size - 3, 4)}
    if major in _AVIF or (major not in _HEVC and compatible & _AVIF):
        return "AVIF"
    if {major, *compatible} & (_HEVC | _ANY_HEIF):
        return "HEIC"
    return _OTHER_BRANDS.get(major, _VIDEO)
