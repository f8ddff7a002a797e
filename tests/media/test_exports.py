"""Exports: GIF, WebP, zip of frames, last frame and contact sheet."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from img2vid.errors import BadInput
from img2vid.media.exports import animation_of, as_png, contact_sheet, first_frame, frames_as_zip, last_frame
from img2vid.media.videos import read_frames, write_video

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200)]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = [np.full((48, 64, 3), colour, np.uint8) for colour in COLOURS]
    return write_video(tmp_path / "clip.mp4", frames, fps=5, metadata={})


def pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def near(pixel: NDArray[np.uint8], colour: tuple[int, ...]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() < 16)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation_shows_every_frame_for_its_time(video: Path, kind: str) -> None:
    with Image.open(io.BytesIO(animation_of(video, kind, fps=5))) as image:
        assert image.format == kind.upper()
        shown = []
        for frame in ImageSequence.Iterator(image):
            shown.append(np.asarray(frame.convert("RGB"))[20, 30])
            assert image.info["duration"] == 200
    assert len(shown) == len(COLOURS)
    assert all(map(near, shown, COLOURS))
    assert [path.name for path in video.parent.iterdir()] == ["clip.mp4"]


def test_an_animation_of_another_kind_is_refused(video: Path) -> None:
    with pytest.raises(BadInput, match=r"\.gif or \.webp"):
        animation_of(video, "png", fps=5)


def test_the_zip_holds_the_frames_that_the_video_shows(video: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(frames_as_zip(video))) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        found = np.stack([pixels(archive.read(name)) for name in names])
    assert names == [f"clip_{number:03}.png" for number in range(1, 6)]
    np.testing.assert_array_equal(found, read_frames(video))


def test_first_and_last_frame_are_those_of_the_video(video: Path) -> None:
    frames = read_frames(video)
    np.testing.assert_array_equal(pixels(first_frame(video)), frames[0])
    np.testing.assert_array_equal(pixels(last_frame(video)), frames[-1])
    np.testing.assert_array_equal(pixels(as_png(frames[2])), frames[2])


def test_the_sheet_has_rows_of_four(video: Path) -> None:
    sheet = pixels(contact_sheet(video))
    assert sheet.shape == (2 * 48, 4 * 64, 3)
    for index, colour in enumerate(COLOURS):
        assert near(sheet[index // 4 * 48 + 20, index % 4 * 64 + 30], colour)


def test_the_sheet_of_a_large_video_is_scaled_down(tmp_path: Path) -> None:
    frames = [np.full((288, 512, 3), colour, np.uint8) for colour in COLOURS]
    video = write_video(tmp_path / "clip.mp4", frames, fps=5, metadata={})
    assert pixels(contact_sheet(video)).shape == (2 * 180, 4 * 320, 3)


def test_what_is_no_video_is_said(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    for export in (frames_as_zip, last_frame, first_frame, contact_sheet):
        with pytest.raises(BadInput, match=r"cannot read .* as a video"):
            export(tmp_path / "clip.mp4")
