"""Image files of frames: GIF and WebP with their frame times, zip of frames, single frames, contact sheet."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from img2vid.errors import BadInput, MediaError
from img2vid.media.exports import (
    Playback,
    animation_of,
    arranged,
    as_png,
    contact_sheet,
    first_frame,
    frames_as_zip,
    last_frame,
    video_of,
    write_animation,
)
from img2vid.media.videos import read_frames, read_metadata, write_video

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200)]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = [np.full((48, 64, 3), color, np.uint8) for color in COLOURS]
    return write_video(tmp_path / "clip.mp4", frames, fps=5, metadata={})


def pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def near(pixel: NDArray[np.uint8], color: tuple[int, ...]) -> bool:
    return bool(np.abs(pixel.astype(int) - color).max() < 16)


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
    for index, color in enumerate(COLOURS):
        assert near(sheet[index // 4 * 48 + 20, index % 4 * 64 + 30], color)


def test_the_sheet_of_a_large_video_is_scaled_down(tmp_path: Path) -> None:
    frames = [np.full((288, 512, 3), color, np.uint8) for color in COLOURS]
    video = write_video(tmp_path / "clip.mp4", frames, fps=5, metadata={})
    assert pixels(contact_sheet(video)).shape == (2 * 180, 4 * 320, 3)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    for export in (frames_as_zip, last_frame, first_frame, contact_sheet):
        with pytest.raises(BadInput, match=r"cannot read .* as a video"):
            export(tmp_path / "clip.mp4")


def moving_bar(count: int = 14) -> NDArray[np.uint8]:
    frames = np.zeros((count, 24, 40, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[:, 2 * index : 2 * index + 8] = (230, 120, 20)
        frame[:, :, 2] = np.linspace(0, 255, 40)
    return frames


@pytest.mark.parametrize("kind", ["gif", "webp"])
@pytest.mark.parametrize("fps", [6, 7, 24])
def test_frames_and_times_come_back(kind: str, fps: int, tmp_path: Path) -> None:
    frames = moving_bar()
    path = tmp_path / f"clip.{kind}"
    write_animation(path, frames, fps=fps)
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        found, times = [], []
        for frame in ImageSequence.Iterator(image):
            found.append(np.asarray(frame.convert("RGB")))
            times.append(image.info["duration"])
    assert len(found) == len(frames)
    assert float(np.abs(np.stack(found).astype(int) - frames).mean()) < 6
    tolerance = 10 if kind == "gif" else len(frames)
    assert sum(times) == pytest.approx(1000 * len(frames) / fps, abs=tolerance)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_older_animation_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "clip.gif"
    path.write_bytes(b"old")
    write_animation(path, moving_bar(3), fps=6)
    with Image.open(path) as image:
        assert getattr(image, "n_frames") == 3  # noqa: B009 (only animated formats have it)


@pytest.mark.parametrize(
    ("name", "frames", "fps", "message"),
    [
        ("clip.mp4", moving_bar(2), 6, r"an animation must end in \.gif or \.webp, got '\.mp4'"),
        ("clip.gif", moving_bar(2)[0], 6, r"frames must be uint8 of shape \(T, H, W, 3\), got uint8 of shape"),
        ("clip.gif", moving_bar(2) / 2.0, 6, "frames must be uint8"),
        ("clip.gif", moving_bar(2)[:0], 6, "frames must be uint8"),
        ("clip.gif", moving_bar(2), 0.5, "the frame rate must be between 1 and 1000"),
    ],
)
def test_invalid_animations_are_refused(
    name: str, frames: NDArray[np.uint8], fps: float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        write_animation(tmp_path / name, frames, fps=fps)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_a_media_error(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(MediaError, match="cannot write"):
        write_animation(tmp_path / "taken" / "clip.gif", moving_bar(2), fps=6)


@pytest.mark.parametrize("count", [1, 2, 14])
def test_equal_frames_give_the_bytes_that_pillow_writes(count: int, tmp_path: Path) -> None:
    """Files made before imageio wrote them had these bytes."""
    frames = moving_bar(count)
    times = [170, 160, 170, 170, 160, 170, 170, 160, 170, 170, 160, 170, 170, 160]
    images = [Image.fromarray(frame) for frame in frames]
    paletted = [image.quantize(256, method=Image.Quantize.MEDIANCUT) for image in images]
    expected = io.BytesIO()
    shared = {"save_all": True, "loop": 0}
    paletted[0].save(expected, "GIF", append_images=paletted[1:], duration=times[:count], disposal=1, **shared)
    write_animation(tmp_path / "clip.gif", frames, fps=6)
    assert (tmp_path / "clip.gif").read_bytes() == expected.getvalue()
    expected = io.BytesIO()
    images[0].save(expected, "WEBP", append_images=images[1:], duration=167, quality=90, **shared)
    write_animation(tmp_path / "clip.webp", frames, fps=6)
    assert (tmp_path / "clip.webp").read_bytes() == expected.getvalue()
    expected = io.BytesIO()
    images[0].save(expected, "PNG")
    assert as_png(frames[0]) == expected.getvalue()


def levels(*values: int) -> NDArray[np.uint8]:
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 2, 2, 3), np.uint8)


def test_a_boomerang_goes_back_without_repeating_its_ends() -> None:
    assert arranged(levels(1, 2, 3, 4), "boomerang")[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 3, 2]
    assert arranged(levels(1, 2), "boomerang")[:, 0, 0, 0].tolist() == [1, 2]
    assert arranged(levels(1), "boomerang")[:, 0, 0, 0].tolist() == [1]


def test_a_loop_fades_its_end_into_its_start() -> None:
    found = arranged(levels(0, 10, 20, 30, 40, 50, 60, 70), "loop")[:, 0, 0, 0].tolist()
    assert found == [40, 30, 20, 30, 40, 50]  # 2/3 of 60 and 1/3 of 0, then 1/3 of 70 and 2/3 of 10
    assert arranged(levels(1, 2, 3), "loop")[:, 0, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("playback", "count"), [("once", 5), ("boomerang", 8), ("loop", 4)])
def test_playback_of_videos_and_animations(video: Path, playback: Playback, count: int, tmp_path: Path) -> None:
    made = tmp_path / "made.mp4"
    made.write_bytes(video_of(video, fps=5, playback=playback))
    assert len(read_frames(made)) == count
    assert read_metadata(made) == ({} if playback == "once" else {"playback": playback})
    with Image.open(io.BytesIO(animation_of(video, "webp", fps=5, playback=playback))) as image:
        assert getattr(image, "n_frames") == count  # noqa: B009
