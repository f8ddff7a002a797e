"""Files are recognized by their first bytes, whatever their name says."""

import struct

import pytest

from img2vid.media.picture_kinds import is_video, picture_kind


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    return (
        struct.pack(">I", 16 + 4 * len(compatible))
        + b"ftyp"
        + major
        + bytes(4)
        + b"".join(compatible)
        + b"\0\0\0\x08mdat"
    )


HEIC = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"]


@pytest.mark.parametrize("brand", HEIC)
def test_every_brand_of_heif_is_a_picture(brand: bytes) -> None:
    assert picture_kind(ftyp(brand)) == "HEIC"
    assert picture_kind(ftyp(b"unkn", b"isom", brand)) == "HEIC"


@pytest.mark.parametrize(
    "data", [ftyp(b"avif", b"mif1"), ftyp(b"mif1", b"miaf", b"avif"), ftyp(b"avis"), ftyp(b"miaf", b"avif")]
)
def test_avif_is_recognized_under_a_general_brand(data: bytes) -> None:
    assert picture_kind(data) == "AVIF"


VIDEOS = {
    "mp4": ftyp(b"isom", b"iso2", b"avc1"),
    "quicktime": ftyp(b"qt  "),
    "phone": ftyp(b"3gp5"),
    "old quicktime": b"\0\0\0\x08wide\0\0\0\0mdat",
    "matroska": b"\x1aE\xdf\xa3\x9f",
    "avi": b"RIFF\0\0\0\0AVI LIST",
    "mpeg": b"\0\0\x01\xba!",
    "transport stream": (b"G" + bytes(187)) * 3,
    "wmv": b"0&\xb2u\x8ef\xcf\x11\xa6\xd9",
    "flash": b"FLV\x01",
    "ogg": b"OggS\0",
}


@pytest.mark.parametrize("name", VIDEOS)
def test_videos_are_recognized(name: str) -> None:
    assert is_video(VIDEOS[name])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7", "a PDF file"),
        (b"<?xml version='1.0'?>\n<svg xmlns=", "an SVG drawing"),
        (b"\n<!DOCTYPE HTML>\n<html>", "a web page"),
        (b"8BPS\0\1", "a Photoshop file"),
        (ftyp(b"crx "), "a raw photo"),
        (ftyp(b"jxl "), "a JPEG XL image"),
        (b"RIFF\0\0\0\0WAVE", ""),
        (b"only words", ""),
        (b"", ""),
    ],
)
def test_other_files_are_named(data: bytes, kind: str) -> None:
    assert picture_kind(data) == kind
    assert not is_video(data)
