"""Measurements of a video: motion, flicker and detail over time, and similarity of its first frame to the input.

They are computed from the encoded file once per video and stored.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from img2vid.jobs.job import Job, from_json
from img2vid.media import measures
from img2vid.media.pictures import frame_picture, load_picture
from img2vid.media.videos import read_frames
from img2vid.progress import Result
from img2vid.settings import SampleSettings


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Measurement:
    """Measurements of a video of T frames, defined in `img2vid.media.measures`.

    psnr (dB) and ssim compare the first frame with the input as the model sees it; None if the input is unknown.
    motion (T - 1) is in pixels per frame, flicker (T - 2) and contrast (T) in levels of 255, sharpness (T) in levels
    squared.
    """

    psnr: float | None
    ssim: float | None
    motion: tuple[float, ...]
    flicker: tuple[float, ...]
    sharpness: tuple[float, ...]
    contrast: tuple[float, ...]

    @property
    def mean_motion(self) -> float:
        """Mean motion in pixels per frame; 0 for a single frame."""
        return _mean(self.motion)

    @property
    def mean_flicker(self) -> float:
        """Mean flicker in levels of 255; 0 for fewer than three frames."""
        return _mean(self.flicker)

    @property
    def mean_sharpness(self) -> float:
        """Mean sharpness in levels squared."""
        return _mean(self.sharpness)

    @property
    def mean_contrast(self) -> float:
        """Mean contrast in levels of 255."""
        return _mean(self.contrast)

    @property
    def sharpness_drift(self) -> float:
        """Relative change of sharpness over the clip; 0.1 is a tenth more at its end."""
        return measures.drift(self.sharpness)

    @property
    def contrast_drift(self) -> float:
        """Relative change of contrast over the clip; 0.1 is a tenth more at its end."""
        return measures.drift(self.contrast)

    def to_text(self) -> str:
        """Encode as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: object) -> "Measurement | None":
        """Decode from JSON. Return None if the text is empty, damaged or written by another version of the program."""
        try:
            return cls(**from_json(text)) if isinstance(text, str) and text else None
        except (ValueError, RecursionError):
            return None


def measure_result(job: Job, result: Result, settings: SampleSettings) -> Measurement:
    """Measure a video, which takes some seconds at full size. Raise BadInput if the file cannot be read."""
    # Cut the padding that makes the sides of video files even.
    clip = read_frames(result.video)[:, : settings.height, : settings.width]
    psnr = ssim = None
    shown = _input_of(job, result, settings)
    if shown is not None and shown.shape == clip[0].shape:
        psnr, ssim = measures.psnr(clip[0], shown), measures.ssim(clip[0], shown)
    return Measurement(
        psnr,
        ssim,
        motion=_tuple(measures.motion(clip)),
        flicker=_tuple(measures.flicker_along(clip)),
        sharpness=_tuple(measures.sharpness(clip)),
        contrast=_tuple(measures.contrast(clip)),
    )


def _input_of(job: Job, result: Result, settings: SampleSettings) -> measures.Clip | None:
    """Return the input as the model sees it, (H, W, 3), or None if the stored picture is not the video's input."""
    picture = job.picture
    made_of = result.metadata.get("picture_sha256")
    if not picture.is_file() or (made_of != picture.stem and (made_of is not None or job.imported)):
        return None
    image = frame_picture(
        load_picture(picture),
        settings.width,
        settings.height,
        mode=settings.fitting,
        offset=settings.crop_offset,
        share=settings.object_share,
    )
    return np.asarray(image.convert("RGB"))


def _tuple(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
