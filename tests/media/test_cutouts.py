"""Objects cut out of pictures: outlines from transparency, rembg and grabCut, and their place in the frame."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from img2vid.errors import BadInput
from img2vid.media import cutouts
from img2vid.media.cutouts import center_object, outline_source
from img2vid.media.pictures import frame_picture, load_picture, prepare_picture

BOX = (60, 20, 100, 120)
"""Object in the pictures of 160 x 140, 40 wide and 100 high."""


@pytest.fixture(autouse=True)
def _no_rembg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutouts.importlib.util, "find_spec", lambda name: None)


def png(image: Image.Image) -> bytes:
    packed = io.BytesIO()
    image.save(packed, format="PNG")
    return packed.getvalue()


def transparent() -> Image.Image:
    """Return a loaded picture of a red object with a transparent blue background."""
    image = Image.new("RGBA", (160, 140), (0, 0, 255, 0))
    ImageDraw.Draw(image).rectangle((60, 20, 99, 119), fill=(200, 30, 30, 255))
    return load_picture(png(image))


def photo() -> Image.Image:
    """Return a loaded opaque picture of the object before a noisy background."""
    noise = np.random.default_rng(0).normal(150, 8, (140, 160, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(noise)
    ImageDraw.Draw(image).ellipse((60, 20, 99, 119), fill=(200, 30, 30))
    return load_picture(png(image))


def extent(frame: Image.Image) -> tuple[int, int, int, int]:
    """Return the box of everything that is not nearly white."""
    rows, columns = (np.flatnonzero((np.asarray(frame).min(-1) < 200).any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (64, 128)])
@pytest.mark.parametrize("share", [0.5, 0.75, 1.0])
def test_the_object_takes_its_share_in_the_center_of_a_white_frame(size: tuple[int, int], share: float) -> None:
    frame = center_object(transparent(), *size, share)
    assert (frame.mode, frame.size) == ("RGB", size)
    left, top, right, bottom = extent(frame)
    assert bottom - top == pytest.approx(share * min(size), abs=1)
    assert right - left == pytest.approx(0.4 * share * min(size), abs=1)
    assert left + right == pytest.approx(size[0], abs=1)
    assert top + bottom == pytest.approx(size[1], abs=1)
    pixels = np.asarray(frame)
    assert (pixels[:, : left - 1] == 255).all()
    assert pixels[size[1] // 2, size[0] // 2].tolist() == [200, 30, 30]


def test_a_wide_object_is_not_taken_for_a_high_one() -> None:
    wide = transparent().transpose(Image.Transpose.ROTATE_90)
    wide.info["alpha"] = transparent().info["alpha"].transpose(Image.Transpose.ROTATE_90)
    left, top, right, bottom = extent(center_object(wide, 96, 64, 0.5))
    assert (right - left, bottom - top) == pytest.approx((32, 13), abs=1)


def test_transparency_is_used_as_it_is_also_if_it_is_turned() -> None:
    image = transparent()
    assert outline_source(image) == "transparency"
    exif = Image.Exif()
    exif[0x0112] = 6
    packed = io.BytesIO()
    turned = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    turned.paste((9, 9, 9, 255), (0, 0, 10, 20))
    turned.save(packed, format="PNG", exif=exif)
    loaded = load_picture(packed.getvalue())
    assert loaded.size == loaded.info["alpha"].size == (20, 40)
    assert loaded.info["alpha"].getpixel((10, 5)) == 255
    assert loaded.info["alpha"].getpixel((10, 35)) == 0


def test_an_opaque_picture_with_an_alpha_channel_has_no_outline() -> None:
    assert load_picture(png(Image.new("RGBA", (8, 8), (1, 2, 3, 255)))).info == {}


def test_grabcut_finds_the_object_of_a_photo_and_always_the_same() -> None:
    image = photo()
    assert outline_source(image) == "grabCut"
    frame = center_object(image, 64, 64, 0.9)
    left, top, right, bottom = extent(frame)
    assert bottom - top == pytest.approx(58, abs=2)
    assert right - left == pytest.approx(23, abs=2)
    assert np.asarray(frame)[32, 32] == pytest.approx([200, 30, 30], abs=3)
    assert center_object(image, 64, 64, 0.9).tobytes() == frame.tobytes()


@pytest.mark.parametrize("side", [1, 50])
def test_a_picture_without_an_object_is_bad_input(side: int) -> None:
    image = Image.new("RGB", (side, side), "green")
    with pytest.raises(BadInput, match=r"^no object was found in the picture by grabCut; choose another fitting"):
        center_object(image, 64, 64, 0.9)
    clear = load_picture(png(Image.new("RGBA", (8, 8), (0, 0, 0, 0))))
    with pytest.raises(BadInput, match="by transparency"):
        center_object(clear, 64, 64, 0.9)


def test_rembg_is_used_if_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[object] = []

    def remove(image: Image.Image, *, session: object, only_mask: bool) -> Image.Image:
        assert only_mask
        used.append(session)
        mask = Image.new("L", image.size, 0)
        mask.paste(255, (0, 0, 80, 40))
        return mask

    monkeypatch.setattr(cutouts.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "rembg", SimpleNamespace(remove=remove, new_session=lambda name: name))
    cutouts._session.cache_clear()
    image = photo()
    assert outline_source(image) == "rembg"
    left, top, right, bottom = extent(center_object(image, 64, 64, 1.0))
    assert (right - left, bottom - top) == (64, 32)
    assert used == ["u2netp"]


def test_a_broken_rembg_is_bad_input_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutouts.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "rembg", None)
    cutouts._session.cache_clear()
    with pytest.raises(BadInput, match=r"^rembg cannot find the object \(ModuleNotFoundError: .*uninstall it to use"):
        center_object(photo(), 64, 64, 0.9)


def test_the_model_sees_the_cut_out_object() -> None:
    image = transparent()
    frame = frame_picture(image, 64, 64, mode="object", share=0.5)
    assert frame.tobytes() == center_object(image, 64, 64, 0.5).tobytes()
    values = prepare_picture(image, 64, 64, mode="object", share=0.5)
    assert values.shape == (3, 64, 64)
    assert (values[:, 0] == 1).all()
