"""Color conversion: every file is loaded with the colors that its author intended."""

from collections.abc import Callable

import numpy as np
import pytest
from made_pictures import encoded
from PIL import Image, ImageCms, TiffImagePlugin

from img2vid.errors import BadInput
from img2vid.media.pictures import load_picture

RED, GREEN, BLUE, WHITE = (220, 30, 20), (30, 200, 40), (20, 40, 210), (255, 255, 255)


def corners() -> Image.Image:
    """Return 48 x 32 pixels: red top left, green top right, blue bottom left, white bottom right."""
    image = Image.new("RGB", (48, 32), WHITE)
    for color, place in ((RED, (0, 0)), (GREEN, (24, 0)), (BLUE, (0, 16))):
        image.paste(color, (*place, place[0] + 24, place[1] + 16))
    return image


def assert_corners(image: Image.Image, tolerance: int = 12) -> None:
    assert (image.mode, image.size, image.info) == ("RGB", (48, 32), {})
    pixels = np.asarray(image)
    np.testing.assert_allclose(pixels[[8, 8, 24, 24], [12, 36, 12, 36]], [RED, GREEN, BLUE, WHITE], atol=tolerance)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF"])
def test_common_formats_keep_their_colors(kind: str) -> None:
    assert_corners(load_picture(encoded(corners(), kind)))


# The sensor's view of an upright image for each EXIF orientation.
SENSOR: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.rotate(180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.rotate(90, expand=True),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.rotate(-90, expand=True),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", SENSOR)
def test_every_orientation_comes_out_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_corners(load_picture(encoded(SENSOR[orientation](corners()), kind, exif=exif.tobytes())))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_counts_as_upright() -> None:
    assert_corners(load_picture(encoded(corners(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")))


def test_transparency_shows_white() -> None:
    image = corners().convert("RGBA")
    image.putalpha(0)
    assert load_picture(encoded(image)).getpixel((5, 5)) == WHITE
    image.putalpha(128)
    np.testing.assert_allclose(np.asarray(load_picture(encoded(image)))[5, 5], (237, 142, 137), atol=1)


def test_transparent_palette_and_gray_show_white() -> None:
    palette = corners().quantize(8)
    palette.info["transparency"] = palette.getpixel((5, 5))
    assert load_picture(encoded(palette, "GIF")).getpixel((5, 5)) == WHITE
    assert load_picture(encoded(Image.new("LA", (4, 4), (90, 0)))).getpixel((1, 1)) == WHITE


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "CMYK", "LAB"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    source = Image.new("L", (5, 4), 255)
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        white = ImageCms.profileToProfile(source.convert("RGB"), ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
        assert white is not None
    else:
        white = source.convert(mode)
    loaded = load_picture(encoded(white, "PNG" if mode in ("1", "L", "P", "LA") else "TIFF"))
    assert loaded.mode == "RGB"
    np.testing.assert_allclose(np.asarray(loaded), 255, atol=2)


def test_cmyk_jpeg_in_adobes_inverted_form() -> None:
    data = encoded(corners().convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data  # the marker of the inverted form
    assert_corners(load_picture(data))


def test_sixteen_bit_gray_is_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(2, axis=0)
    for data in (encoded(Image.fromarray(ramp)), encoded(Image.fromarray(ramp), "TIFF")):
        np.testing.assert_array_equal(np.asarray(load_picture(data))[0, :, 1], np.arange(256))


def test_sixteen_bit_gray_of_the_other_byte_order() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"MM")
    image = Image.frombytes("I;16B", (2, 1), b"\x80\x00\xff\xff")
    loaded = load_picture(encoded(image, "TIFF", tiffinfo=tags))
    assert np.asarray(loaded)[0, :, 0].tolist() == [128, 255]


@pytest.mark.parametrize("value", [1.5, -3, 70000])
def test_measurements_are_refused(value: float) -> None:
    numbers = np.full((3, 3), value, np.float32 if isinstance(value, float) else np.int32)
    with pytest.raises(BadInput, match=r"^'scan\.tif' has 32-bit values.*8 or 16 bits"):
        load_picture(encoded(Image.fromarray(numbers), "TIFF"), name="scan.tif")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [corners(), Image.new("RGB", (48, 32), "black")]
    assert_corners(load_picture(encoded(frames[0], kind, save_all=True, append_images=frames[1:])), tolerance=25)


def _swapped_profile() -> bytes:
    """Return sRGB with the red and blue primaries exchanged, so that only converted images look right."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_color_profile_is_applied(kind: str) -> None:
    blue, green, red = corners().split()
    data = encoded(Image.merge("RGB", (red, green, blue)), kind, icc_profile=_swapped_profile())
    assert_corners(load_picture(data), tolerance=16)


def test_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    loaded = load_picture(encoded(corners(), icc_profile=profile))
    np.testing.assert_array_equal(np.asarray(loaded), np.asarray(corners()))


@pytest.mark.parametrize("profile", [b"no profile at all", b""])
def test_damaged_profile_is_taken_for_srgb(profile: bytes) -> None:
    assert_corners(load_picture(encoded(corners(), icc_profile=profile)))


def test_profile_of_another_kind_of_picture() -> None:
    """Gray scans often carry a color scanner's profile, and CMYK data sometimes an RGB profile."""
    swapped = _swapped_profile()
    assert load_picture(encoded(Image.new("L", (4, 4), 200), icc_profile=swapped)).mode == "RGB"
    assert_corners(load_picture(encoded(corners().convert("CMYK"), "TIFF", icc_profile=swapped)))
