"""Image loading: every image gives exactly the requested frame, every other file one clear error."""

import io
import random
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from img2vid.errors import BadInput
from img2vid.media.pictures import FrameMode, frame_picture, list_pictures, load_picture, prepare_picture
from img2vid.paths import PROJECT


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


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
    with pytest.raises(BadInput, match=r"^'wall\.png' has 100000 x 100000 pixels.*200,000,000.*scale it down"):
        load_picture(png_header(100_000, 100_000), name="wall.png")
    with pytest.raises(BadInput, match="more than the limit of 30"):
        load_picture(encoded(noise(8, 4)), max_pixels=30)


def test_the_largest_telephone_pictures_pass_the_header_without_a_warning() -> None:
    """Pillow itself warns at 90 million pixels and rejects 180 million; its own setting must stay unchanged."""
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings(), pytest.raises(BadInput, match="incomplete"):
        warnings.simplefilter("error")
        load_picture(png_header(16320, 12240))
    assert limit == Image.MAX_IMAGE_PIXELS


def test_huge_jpegs_are_decoded_smaller() -> None:
    jpeg = encoded(Image.new("L", (16800, 8400), 77), "JPEG")
    picture = load_picture(jpeg)
    assert picture.size == (8400, 4200)
    assert picture.getpixel((8399, 4199)) == (77, 77, 77)


OTHER_FILES = {
    "empty.jpg": (b"", "is empty"),
    "notes.txt": (b"not a picture, only words", "is not a supported image; use JPEG, PNG or WebP"),
    "clip.mp4": (b"\x00\x00\x00 ftypisom\x00\x00\x02\x00", "is a video; save one of its frames"),
    "clip.webm": (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01", "is a video; save one of its frames"),
    "clip.avi": (b"RIFF\x00\x10\x00\x00AVI LIST", "is a video; save one of its frames"),
    "phone.heic": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "is a HEIC image"),
    "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a supported image"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_files_get_one_clear_sentence(tmp_path: Path, name: str) -> None:
    contents, sentence = OTHER_FILES[name]
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(BadInput, match=f"^'{name}' {sentence}"):
        load_picture(tmp_path / name)


def test_missing_files_and_folders_get_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no file 'lake\.jpg' in .*check the name"):
        load_picture(tmp_path / "lake.jpg")
    with pytest.raises(BadInput, match="is a folder; choose an image in it"):
        load_picture(tmp_path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_truncated_pictures_get_one_clear_sentence(kind: str) -> None:
    data = encoded(noise(64, 64), kind)
    with pytest.raises(BadInput, match=r"^'photo' is (damaged or incomplete|not a supported image)"):
        load_picture(data[: len(data) * 2 // 3], name="photo")


@pytest.mark.filterwarnings("ignore")  # Pillow warns about the damage
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"]), st.randoms(use_true_random=False))
def test_damaged_pictures_load_or_are_refused(kind: str, chance: random.Random) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encoded(noise(16, 12), kind, exif=exif))
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(min(len(data), chance.choice([64, 512, 4096])))] = chance.randrange(256)
    with suppress(BadInput):
        assert load_picture(bytes(data), max_pixels=1_000_000).mode == "RGB"


# Lists


def test_folders_are_replaced_by_their_pictures_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "C.webp", "notes.txt", "._a.png", ".hidden.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "deeper.png").mkdir()
    other = tmp_path / "notes.txt"
    found = list_pictures([other, tmp_path, other])
    assert [path.name for path in found] == ["notes.txt", "a.png", "b.JPG", "C.webp", "notes.txt"]


def test_missing_paths_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no such file or folder: .*nowhere"):
        list_pictures([tmp_path / "nowhere"])
    with pytest.raises(BadInput, match=r"has no images; supported are .*\.jpg"):
        list_pictures([tmp_path])


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
