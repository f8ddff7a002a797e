"""Declared colors: profiles, gAMA, cHRM, cICP, nclx and HDR come out as Chromium draws them."""

import json

import numpy as np
import pytest
from color_files import color_files
from made_pictures import (
    COLORS,
    P3,
    SRGB_CURVE,
    centers,
    cicp,
    encoded,
    heic,
    iccp,
    png,
    quarters,
    rgb_profile,
    with_nclx,
)
from PIL import Image

from img2vid.media.pictures import load_picture
from img2vid.paths import PROJECT

BROWSER = json.loads((PROJECT / "tests" / "data" / "browser_colors.json").read_text(encoding="utf-8"))
FILES = color_files()


def test_every_file_was_drawn_by_the_browser() -> None:
    assert list(FILES) == list(BROWSER)


@pytest.mark.parametrize("name", FILES)
def test_colors_are_those_of_a_browser(name: str) -> None:
    np.testing.assert_allclose(centers(load_picture(FILES[name])), BROWSER[name], atol=2)


@pytest.mark.parametrize("pair", [(12, 13), (9, 16), (9, 18)])
def test_heic_has_the_colors_of_png(pair: tuple[int, int]) -> None:
    stored = np.asarray(load_picture(heic()))
    np.testing.assert_array_equal(load_picture(heic(nclx=pair)), load_picture(png(stored, [cicp(*pair)])))


def test_heic_with_a_profile_and_10_bits() -> None:
    profile = rgb_profile(P3, SRGB_CURVE)
    expected = load_picture(png(np.asarray(load_picture(heic())), [iccp(profile)]))
    np.testing.assert_array_equal(load_picture(heic(icc_profile=profile)), expected)
    np.testing.assert_allclose(centers(load_picture(heic(bits=16))), COLORS, atol=1)


def test_heic_of_tiles_with_transparency_or_gray() -> None:
    """Phones store large photos as a grid of tiles."""
    photo = Image.fromarray(quarters(size=(256, 192)))
    tiled = with_nclx(encoded(photo, "HEIF", quality=-1, chroma=444, tile_size=128), 12, 13)
    np.testing.assert_allclose(centers(load_picture(tiled)), BROWSER["nclx (12, 13)"], atol=3)
    clear = Image.fromarray(quarters([(*color, 0) for color in COLORS]))
    assert load_picture(encoded(clear, "HEIF", quality=-1)).getextrema() == ((255, 255),) * 3
    gray = load_picture(encoded(Image.new("L", (64, 48), 77), "HEIF", quality=-1))
    np.testing.assert_allclose(np.asarray(gray), 77, atol=1)
