"""GIF and WebP files: frame times and looping."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from img2vid.errors import BadInput, MediaError
from img2vid.media.animations import write_animation


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
        ("clip.mp4", moving_bar(2), 6, r"an animation must end in \.gif or \.webp, got 'clip\.mp4'"),
        ("clip.gif", moving_bar(2)[0], 6, r"frames must be uint8 of shape \(T, H, W, 3\), got uint8 of shape"),
        ("clip.gif", moving_bar(2) / 2.0, 6, "frames must be uint8"),
        ("clip.gif", moving_bar(2)[:0], 6, "frames must be uint8"),
        ("clip.gif", moving_bar(2), 0.5, "the frame rate must be between 1 and 1000"),
    ],
)
def test_what_cannot_be_written_is_said(
    name: str, frames: NDArray[np.uint8], fps: float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        write_animation(tmp_path / name, frames, fps=fps)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_a_media_error(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(MediaError, match="cannot write"):
        write_animation(tmp_path / "taken" / "clip.gif", moving_bar(2), fps=6)
