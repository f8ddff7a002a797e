"""Image loading: every image gives exactly the requested frame, every other file one clear error."""

import io
import random
import re
import struct
import tracemalloc
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pictures import COLORS, P3, SRGB_CURVE, centers, chunk, encoded, gama, heic, iccp, png, quarters, rgb_profile
from PIL import Image

from img2vid.errors import BadInput
from img2vid.media.picture_files import list_pictures
from img2vid.media.pictures import MOST_SIDE, FrameMode, frame_picture, load_picture, prepare_picture
from img2vid.paths import PROJECT


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(1).randbytes(3 * width * height))


def png_header(width: int, height: int) -> bytes:
    """Return the beginning of a PNG of this size, without pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return header + struct.pack(">I", 1000) + b"IDAT"


# Loading


def test_files_and_their_contents_give_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "Bild mit Ümlaut.png"
    path.write_bytes(encoded(noise(7, 5)))
    assert load_picture(path).tobytes() == load_picture(path.read_bytes()).tobytes() == noise(7, 5).tobytes()


def test_huge_pictures_are_refused_by_their_header() -> None:
    with pytest.raises(BadInput, match=r"^'wall\.png' has 20000 x 10000 pixels.*100,000,000 for PNG; scale it down"):
        load_picture(png_header(20_000, 10_000), name="wall.png")
    with pytest.raises(BadInput, match="more than the limit of 30"):
        load_picture(encoded(noise(8, 4)), max_pixels=30)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_large_pictures_pass_pillows_own_limit_without_a_warning(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns at 90 million pixels and rejects 180 million; its own setting must stay unchanged."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_picture(encoded(noise(8, 8), kind))
    assert Image.MAX_IMAGE_PIXELS == 10


def test_huge_jpegs_are_decoded_smaller() -> None:
    jpeg = encoded(Image.new("L", (16800, 8400), 77), "JPEG")
    picture = load_picture(jpeg)
    assert picture.size == (8400, 4200)
    assert picture.getpixel((8399, 4199)) == (77, 77, 77)


def test_long_jpegs_are_decoded_smaller() -> None:
    assert load_picture(encoded(Image.new("L", (32_000, 2_100)), "JPEG")).size == (16_000, 1_050)
    assert load_picture(encoded(Image.new("L", (9_504, 6_336)), "JPEG")).size == (9_504, 6_336)


def test_halved_pictures_keep_transparency_and_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2vid.media.pictures._LARGE", 64 * 47)
    monkeypatch.setattr("img2vid.media.pictures._LESS", (24,))
    key = struct.pack(">3H", *COLORS[1])
    assert centers(load_picture(png(quarters(), [(b"tRNS", key)])))[:2] == [COLORS[0], (255, 255, 255)]
    small = load_picture(png(quarters(bits=16), [gama(1)]))
    assert (small.size, centers(small)[0]) == ((32, 24), (239, 110, 96))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "GIF", "LA", "1", "I;16"])
def test_other_huge_pictures_are_halved_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    image = noise(64, 48) if kind in ("PNG", "TIFF", "WEBP", "GIF") else noise(64, 48).convert(kind)
    data = encoded(image, kind if len(kind) > 2 and kind != "I;16" else "PNG", exif=exif, lossless=True)
    whole = load_picture(data)
    monkeypatch.setattr("img2vid.media.pictures._LARGE", 64 * 47)
    monkeypatch.setattr("img2vid.media.pictures._LESS", (24,))
    if kind == "I;16":  # cannot be averaged
        np.testing.assert_array_equal(load_picture(data), whole)
    else:
        np.testing.assert_array_equal(load_picture(data), whole.reduce(2))


OTHER_FILES = {
    "empty.jpg": (b"", "is empty"),
    "notes.txt": (b"not a picture, only words", "is not a supported image; use JPEG, PNG or WebP"),
    "clip.mp4": (b"\x00\x00\x00 ftypisom\x00\x00\x02\x00", "is a video; save one of its frames"),
    "clip.webm": (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01", "is a video; save one of its frames"),
    "clip.avi": (b"RIFF\x00\x10\x00\x00AVI LIST", "is a video; save one of its frames"),
    "phone.heic": (b"\x00\x00\x00\x18ftypheim\x00\x00\x00\x00", "is a HEIC image that cannot be read here; save it as"),
    "drawing.eps": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "is a PostScript file; use JPEG, PNG or WebP",
    ),
    "\u202e.jpg": (b"<html>", "is a web page; use JPEG"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_files_get_one_clear_sentence(tmp_path: Path, name: str) -> None:
    contents, sentence = OTHER_FILES[name]
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(BadInput, match=re.escape(f"'{name}' {sentence}".replace("\u202e", r"\u202e"))):
        load_picture(tmp_path / name)


def test_missing_files_and_folders_get_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"'lake\.jpg' is not in .*check the name"):
        load_picture(tmp_path / "lake.jpg")
    with pytest.raises(BadInput, match="is a web address; download"):
        load_picture(Path("https://example.org/lake.jpg"))
    with pytest.raises(BadInput, match="is a folder; choose an image in it"):
        load_picture(tmp_path)


CUT = r"^'photo' is (damaged or incomplete; save|a HEIC image that cannot be read here)"


@pytest.mark.parametrize("part", [0.3, 0.66, 0.97])
@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIC"])
def test_cut_pictures_get_the_same_sentence(kind: str, part: float) -> None:
    image = noise(64, 64)
    if kind == "HEIC":
        data = heic()
    else:
        kind, options = ("JPEG", {"progressive": True}) if kind == "progressive" else (kind, {})
        data = encoded(image, kind, **options)
    with pytest.raises(BadInput, match=CUT):
        load_picture(data[: int(len(data) * part)], name="photo")


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "optimize": True}])
@pytest.mark.parametrize("size", [(64, 64), (61, 47)])
def test_a_jpeg_without_its_end_marker_is_whole(missing: int, options: dict[str, Any], size: tuple[int, int]) -> None:
    data = encoded(noise(*size), "JPEG", **options)
    assert load_picture(data[:-missing]).tobytes() == load_picture(data).tobytes()


def test_a_progressive_jpeg_cut_between_scans_is_refused() -> None:
    """The parts before are a complete, blurred picture."""
    data = encoded(noise(61, 47), "JPEG", progressive=True)
    scans = [match.start() for match in re.finditer(b"\xff\xda", data)]
    tables = [data.rindex(b"\xff\xc4", 0, scan) for scan in scans]
    for cut in sorted({*scans[1:], *tables[1:]}):
        for size in (cut - 1, cut, cut + 1):
            with pytest.raises(BadInput, match="damaged or incomplete"):
                load_picture(data[:size])


def test_a_png_without_its_end_is_whole() -> None:
    data = png(quarters(), end=False)
    for missing in (0, 4, 8):  # the checksum of the last chunk, and that of the pixels
        assert centers(load_picture(data[: len(data) - missing])) == list(COLORS)


def test_large_texts_and_profiles_do_not_matter() -> None:
    text = (b"zTXt", b"workflow\0\0" + zlib.compress(random.Random(1).randbytes(100) * 30_000))
    padded = iccp(rgb_profile(P3, 1, extra=[(b"priv", bytes(3_000_000))]))
    assert centers(load_picture(png(quarters(), [text]))) == list(COLORS)
    assert centers(load_picture(png(quarters(), [padded]))) == centers(
        load_picture(png(quarters(), [iccp(rgb_profile(P3, 1))]))
    )
    assert centers(load_picture(png(quarters(), [(b"tEXt", b"key\0" + b"x" * 3_000_000)]))) == list(COLORS)


def test_compressed_bombs_are_not_unpacked() -> None:
    bomb = zlib.compress(bytes(200 << 20), 9)
    data = png(quarters(), [(b"zTXt", b"a\0\0" + bomb), (b"iTXt", b"b\0\1\0\0\0" + bomb), (b"iCCP", b"c\0\0" + bomb)])
    tracemalloc.start()
    assert centers(load_picture(data)) == list(COLORS)
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"tRNS", b"eXIf", b"iCCP", b"cICP", b"gAMA", b"cHRM", b"cLLI"])
def test_damaged_optional_chunks_do_not_matter(kind: bytes) -> None:
    for content in (b"", b"\xff", bytes(7)):
        assert centers(load_picture(png(quarters(), [(kind, content)]))) == list(COLORS)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([8, 16]))
def test_damaged_profiles_do_not_matter(chance: random.Random, bits: int) -> None:
    profile = bytearray(rgb_profile(P3, chance.choice([1, 2.2, SRGB_CURVE])))
    for _ in range(chance.randint(1, 10)):
        profile[chance.randrange(len(profile))] = chance.randrange(256)
    assert load_picture(png(quarters(bits=bits), [iccp(bytes(profile))])).size == (64, 48)


def test_animation_chunks_of_a_png_are_left_out() -> None:
    data = png(quarters(), [(b"acTL", bytes(8)), (b"fcTL", bytes(26))])
    assert centers(load_picture(data[:-12] + chunk(b"fdAT", b"nonsense") + data[-12:])) == list(COLORS)


@pytest.mark.filterwarnings("ignore")  # Pillow warns about the damage
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"]), st.randoms(use_true_random=False)
)
def test_damaged_pictures_load_or_are_refused(kind: str, chance: random.Random) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encoded(noise(16, 12), kind, exif=exif, icc_profile=rgb_profile(P3, 1)))
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(min(len(data), chance.choice([64, 512, 4096])))] = chance.randrange(256)
    with suppress(BadInput):
        assert load_picture(bytes(data), max_pixels=1_000_000).mode == "RGB"


# Frames

SIZES = st.integers(1, 90)
OFFSETS = st.floats(0, 1)
MODES = st.sampled_from(["crop", "fit"])


@settings(max_examples=150, deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, MODES, OFFSETS)
def test_any_picture_fills_any_frame(w: int, h: int, width: int, height: int, mode: FrameMode, offset: float) -> None:
    array = prepare_picture(noise(w, h), width, height, mode=mode, offset=offset)
    assert (array.shape, array.dtype, array.flags.c_contiguous) == ((3, height, width), np.float32, True)
    assert -1 <= array.min() <= array.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000), (5000, 3)])
@pytest.mark.parametrize("mode", ["crop", "fit"])
def test_extreme_shapes_work(size: tuple[int, int], mode: FrameMode) -> None:
    frame = frame_picture(Image.new("RGB", size, (10, 200, 90)), 128, 64, mode=mode)
    np.testing.assert_allclose(np.asarray(frame), np.broadcast_to((10, 200, 90), (64, 128, 3)), atol=1)


@settings(max_examples=60, deadline=None)
@given(OFFSETS, OFFSETS, st.booleans())
def test_larger_offsets_show_parts_further_right_or_down(first: float, second: float, upright: bool) -> None:
    ramp = Image.linear_gradient("L").convert("RGB")  # black at the top, white at the bottom
    ramp = ramp if upright else ramp.transpose(Image.Transpose.TRANSPOSE)
    size = (64, 16) if upright else (16, 64)
    low, high = (np.asarray(frame_picture(ramp, *size, offset=offset)).mean() for offset in sorted((first, second)))
    assert low <= high


def test_offsets_0_and_1_keep_the_ends() -> None:
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste("blue", (150, 0, 300, 100))
    left, right = (np.asarray(frame_picture(picture, 32, 32, offset=offset)) for offset in (0, 1))
    assert (left == (255, 0, 0)).all()
    assert (right == (0, 0, 255)).all()


def test_a_frame_of_the_pictures_own_size_is_the_picture() -> None:
    for mode in ("crop", "fit"):
        assert frame_picture(noise(40, 24), 40, 24, mode=mode).tobytes() == noise(40, 24).tobytes()


def test_the_array_is_the_preview() -> None:
    frame = frame_picture(noise(50, 20), 32, 32, offset=0.2)
    array = prepare_picture(noise(50, 20), 32, 32, offset=0.2)
    np.testing.assert_array_equal(np.rint((array + 1) * 127.5), np.asarray(frame).transpose(2, 0, 1))


def test_fit_shows_the_whole_picture_between_blurred_bars() -> None:
    picture = Image.new("RGB", (100, 100), "green")
    picture.paste("yellow", (0, 0, 100, 50))
    for offset, left in ((0, 0), (0.5, 32), (1, 64)):
        frame = np.asarray(frame_picture(picture, 128, 64, mode="fit", offset=offset))
        inner = np.asarray(picture.resize((64, 64), Image.Resampling.LANCZOS))
        np.testing.assert_array_equal(frame[:, left : left + 64], inner)
    bars = frame[:, :64].astype(int)
    assert np.ptp(bars, axis=0).max() > 20  # the image's colors, not one flat color
    assert np.abs(np.diff(bars, axis=0)).max() < 30  # no sharp edges


def test_reducing_does_not_leave_stripes_of_fine_patterns() -> None:
    fine = np.indices((512, 512)).sum(axis=0) % 2 * 255
    frame = frame_picture(Image.fromarray(fine.astype(np.uint8)).convert("RGB"), 60, 60)
    np.testing.assert_allclose(np.asarray(frame), 127.5, atol=3)


@pytest.mark.parametrize(
    ("width", "height", "mode", "offset", "sentence"),
    [
        (0, 64, "crop", 0.5, "at least 1 x 1 pixels, got 0 x 64"),
        (64, -1, "fit", 0.5, "at least 1 x 1 pixels, got 64 x -1"),
        (64, 64, "crop", 1.5, "between 0 and 1, got 1.5"),
        (64, 64, "crop", float("nan"), "between 0 and 1, got nan"),
        (64, 64, "stretch", 0.5, "'stretch'; use one of crop, fit"),
    ],
)
def test_impossible_frames_are_refused(width: int, height: int, mode: FrameMode, offset: float, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        frame_picture(noise(4, 4), width, height, mode=mode, offset=offset)


def test_example_pictures_load_and_are_credited() -> None:
    credits = (PROJECT / "assets" / "README.md").read_text(encoding="utf-8")
    pictures = list_pictures([PROJECT / "assets"])
    assert len(pictures) >= 3
    for path in pictures:
        assert max(load_picture(path).size) >= 1024
        assert path.stat().st_size < 350_000
        assert f"`{path.name}`" in credits


def test_a_jpeg_is_decoded_no_larger_than_asked_for() -> None:
    data = as_jpeg(Image.new("RGB", (1280, 960), (200, 60, 20)))
    assert load_picture(data).size == (1280, 960)
    assert load_picture(data, enough=300).size == (640, 480)
    assert load_picture(data, enough=240).size == (320, 240)


def as_jpeg(image: Image.Image) -> bytes:
    packed = io.BytesIO()
    image.save(packed, format="JPEG")
    return packed.getvalue()


def test_a_picture_with_too_many_rows_is_refused_before_decoding(tmp_path: Path) -> None:
    """Each row takes memory: a file of 90 kB with one column took 2 GB."""
    Image.new("1", (1, MOST_SIDE + 1)).save(tmp_path / "column.png")
    with pytest.raises(BadInput, match=r"'column\.png' has 1 x 500001 pixels, more than 500,000 on one side; crop it"):
        load_picture(tmp_path / "column.png")
