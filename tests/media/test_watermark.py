"""The watermark: readable from PNG frames and videos, also by the original decoder, and invisible."""

import math
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from watermark_reader import agreeing_bits, has_watermark

from img2vid.errors import BadInput
from img2vid.media.exports import write_still
from img2vid.media.picture_files import list_pictures
from img2vid.media.pictures import frame_picture, load_picture
from img2vid.media.videos import read_frames, write_video
from img2vid.media.watermark import MESSAGE, can_carry_watermark, embed_watermark
from img2vid.paths import PROJECT

Frames = npt.NDArray[np.uint8]

PHOTOS = list_pictures([PROJECT / "assets"])
SIZES = [(512, 320), (224, 128), (160, 96)]


@cache
def _load(photo: Path) -> Image.Image:
    return load_picture(photo)


def moving(photo: Path, width: int, height: int, num_frames: int = 5) -> Frames:
    picture = np.asarray(frame_picture(_load(photo), width + 2 * num_frames, height))
    return np.stack([picture[:, 2 * t : 2 * t + width] for t in range(num_frames)])


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", SIZES)
def test_mark_survives_in_stills_and_in_the_video(tmp_path: Path, photo: Path, size: tuple[int, int]) -> None:
    frames = moving(photo, *size)
    marked = embed_watermark(frames)
    assert not has_watermark(frames)
    assert all(agreeing_bits(frame) == 48 for frame in marked)

    write_still(tmp_path / "still.png", marked[2])
    assert has_watermark(np.asarray(Image.open(tmp_path / "still.png"))[None])
    assert has_watermark(read_frames(write_video(tmp_path / "video.mp4", marked, fps=6, metadata={})))


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_mark_is_faint(photo: Path) -> None:
    frames = moving(photo, 512, 320, num_frames=1)
    difference = embed_watermark(frames).astype(float) - frames
    assert 10 * math.log10(255**2 / np.mean(difference**2)) > 39
    assert not difference[..., 0].any()
    brightness = difference @ (0.299, 0.587, 0.114)
    assert abs(brightness.mean()) < 0.1
    assert np.sqrt(np.mean(brightness**2)) < 0.5


def test_frames_are_copied_and_marked_alike_alone_and_together() -> None:
    frames = moving(PHOTOS[0], 160, 96, num_frames=3)
    before = frames.copy()
    marked = embed_watermark(frames)
    np.testing.assert_array_equal(frames, before)
    np.testing.assert_array_equal(marked[1:2], embed_watermark(frames[1:2]))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([0, 1, 127, 254, 255]))
def test_every_size_is_marked_or_refused(height: int, width: int, gray: int) -> None:
    frames = np.full((1, height, width, 3), gray, np.uint8)
    if can_carry_watermark(height, width):
        assert embed_watermark(frames).shape == frames.shape
    else:
        with pytest.raises(BadInput, match=f"frames of {width} x {height} pixels are too small"):
            embed_watermark(frames)


def test_other_arrays_are_refused() -> None:
    for frames in (
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((1, 64, 64, 3), np.float32),
        np.zeros((0, 64, 64, 3), np.uint8),
    ):
        with pytest.raises(BadInput, match=r"uint8 of shape \(T, H, W, 3\)"):
            embed_watermark(cast(Any, frames))


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_the_original_decoder_reads_our_mark(photo: Path) -> None:
    imwatermark = cast(Any, pytest.importorskip("imwatermark"))
    marked = embed_watermark(moving(photo, 512, 320, num_frames=1))[0]
    bits = imwatermark.WatermarkDecoder("bits", 48).decode(np.ascontiguousarray(marked[..., ::-1]), "dwtDct")
    assert sum(int(bit) << place for place, bit in enumerate(reversed(bits))) == MESSAGE


def test_the_reader_of_these_tests_reads_the_mark_of_the_original_encoder() -> None:
    imwatermark = cast(Any, pytest.importorskip("imwatermark"))
    encoder = imwatermark.WatermarkEncoder()
    encoder.set_watermark("bits", [int(bit) for bit in f"{MESSAGE:048b}"])
    for photo in (PROJECT / "assets" / "brook.jpg", PROJECT / "assets" / "mountains.jpg"):
        frame = moving(photo, 512, 320, num_frames=1)[0]
        marked = encoder.encode(np.ascontiguousarray(frame[..., ::-1]), "dwtDct")[..., ::-1]
        assert has_watermark(np.ascontiguousarray(marked)[None])


def test_media_needs_neither_torch_nor_opencv() -> None:
    code = (
        "import sys, img2vid.media.pictures, img2vid.media.videos, img2vid.media.watermark;"
        "sys.exit(sorted({'torch', 'cv2', 'imwatermark', 'streamlit'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 0, done.stderr
