"""Measurements of a video from its file and its input."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from img2vid import paths
from img2vid.errors import BadInput
from img2vid.gallery.entries import Entries, Entry
from img2vid.gallery.measurement import Measurement, measure_result
from img2vid.jobs.store import Store
from img2vid.media.measures import psnr
from img2vid.media.pictures import frame_picture, load_picture
from img2vid.media.videos import read_frames, write_video
from img2vid.options import LoadOptions
from img2vid.progress import Result
from img2vid.settings import SampleSettings

PHOTO = (paths.PROJECT / "assets" / "dogs.jpg").read_bytes()


def of_entry(entry: Entry) -> Measurement:
    return measure_result(entry.job, entry.result, entry.settings)


def entry_of(folder: Path, frames: Any, metadata: dict[str, Any] | None = None, **settings: Any) -> Entry:
    """Return the entry of a video with these frames, made from the photo."""
    values = {"height": frames.shape[1], "width": frames.shape[2], "num_frames": len(frames), **settings}
    video = write_video(folder / "video.mp4", frames, fps=6, metadata={})
    files = (video, video.with_suffix(".png"), video.with_suffix(".json"))
    result = Result(*files, None, 23, 1.0, metadata or {})
    store = Store(folder / "home" / "img2vid.sqlite")
    return Entries(store).add_imported(result, SampleSettings(**values), LoadOptions(), PHOTO, "dogs", ".jpg")


def still(height: int, width: int, frames: int = 4, **framing: Any) -> Any:
    """Return the photo as the model sees it, repeated."""
    frame = np.asarray(frame_picture(load_picture(PHOTO), width, height, **framing))
    return np.repeat(frame[None], frames, axis=0)


def test_a_clip_that_stands_still_is_its_input_and_does_not_move(tmp_path: Path) -> None:
    frames = still(96, 160)
    entry = entry_of(tmp_path, frames)
    found = of_entry(entry)
    read = read_frames(entry.result.video)
    assert found.psnr == pytest.approx(psnr(read[0], frames[0]))
    assert found.psnr is not None and found.psnr > 30
    assert found.ssim is not None and found.ssim > 0.93  # the codec blurs a little
    assert [len(x) for x in (found.motion, found.flicker, found.sharpness, found.contrast)] == [3, 2, 4, 4]
    assert found.mean_motion < 0.05
    assert found.mean_flicker < 1
    assert abs(found.contrast_drift) < 0.01


def test_a_clip_that_pans_moves_as_far_as_it_does(tmp_path: Path) -> None:
    whole = np.asarray(load_picture(PHOTO).resize((400, 300), Image.Resampling.LANCZOS))
    frames = np.stack([whole[50:178, 100 + 3 * t : 292 + 3 * t] for t in range(5)])
    assert of_entry(entry_of(tmp_path, frames)).mean_motion == pytest.approx(3, rel=0.1)


def test_the_way_the_picture_was_framed_counts(tmp_path: Path) -> None:
    frames = still(64, 128, mode="crop", offset=0.0)
    right = of_entry(entry_of(tmp_path / "a", frames, crop_offset=0.0)).psnr
    wrong = of_entry(entry_of(tmp_path / "b", frames, crop_offset=1.0)).psnr
    fit = of_entry(entry_of(tmp_path / "c", still(64, 128, mode="fit"), fitting="fit")).psnr
    assert right is not None and wrong is not None and fit is not None
    assert min(right, fit) > 28 > wrong + 8


def test_frames_with_odd_sides_are_measured_without_what_the_codec_added(tmp_path: Path) -> None:
    found = of_entry(entry_of(tmp_path, still(97, 131)))
    assert found.psnr is not None and found.psnr > 28


@pytest.mark.parametrize(
    ("metadata", "known"),
    [
        ({}, True),
        ({"picture_sha256": hashlib.sha256(PHOTO).hexdigest()}, True),
        ({"picture_sha256": "0" * 64}, False),
    ],
)
def test_only_the_picture_that_it_was_made_of_is_compared(
    tmp_path: Path, metadata: dict[str, Any], known: bool
) -> None:
    found = of_entry(entry_of(tmp_path, still(64, 96), metadata))
    assert (found.psnr is not None, found.ssim is not None) == (known, known)


def test_without_its_input_a_video_is_measured_all_the_same(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, still(64, 96))
    entry.job.picture.unlink()
    found = of_entry(entry)
    assert (found.psnr, found.ssim) == (None, None)
    assert len(found.sharpness) == 4


def test_a_missing_video_is_reported(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, still(64, 96))
    entry.result.video.unlink()
    with pytest.raises(BadInput, match=r"video\.mp4"):
        of_entry(entry)
