"""What a video of the store measures: motion, steadiness and detail along it, and how near it begins to its input.

It is computed from the file, as people see it, once for each video; the store keeps it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from img2vid.media import measures
from img2vid.media.pictures import frame_picture, load_picture
from img2vid.media.videos import read_frames

if TYPE_CHECKING:
    from img2vid.gallery.entries import Entry


@dataclass(frozen=True)
class Measurement:
    """Of a video of T frames; `img2vid.media.measures` says what each number is.

    psnr (dB) and ssim compare the first frame with the input as the model got it; None where that is not known.
    motion (T - 1) is in pixels a frame, flicker (T - 2) and contrast (T) in levels of 255, sharpness (T) in levels
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
        """Pixels a frame; 0 for a single frame."""
        return _mean(self.motion)

    @property
    def mean_flicker(self) -> float:
        """Levels of 255; 0 for fewer than three frames."""
        return _mean(self.flicker)

    @property
    def mean_sharpness(self) -> float:
        """Levels squared."""
        return _mean(self.sharpness)

    @property
    def mean_contrast(self) -> float:
        """Levels of 255."""
        return _mean(self.contrast)

    @property
    def sharpness_drift(self) -> float:
        """How much sharpness changes over the clip: 0.1 is a tenth more at its end."""
        return measures.drift(self.sharpness)

    @property
    def contrast_drift(self) -> float:
        """How much contrast changes over the clip: 0.1 is a tenth more at its end."""
        return measures.drift(self.contrast)

    def to_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Measurement | None":
        """From JSON; None for nothing, and for what another version of the program measured."""
        values: dict[str, Any] = json.loads(text) if text else {}
        if values.keys() != {field.name for field in fields(cls)}:
            return None
        along = {name: _tuple(values[name]) for name in ("motion", "flicker", "sharpness", "contrast")}
        return cls(values["psnr"], values["ssim"], **along)


def of_entry(entry: "Entry") -> Measurement:
    """Measures a video; takes some seconds at full size. Raises BadInput where the file cannot be read."""
    # Files have even sides; what the codec asked for is not part of the picture.
    clip = read_frames(entry.result.video)[:, : entry.settings.height, : entry.settings.width]
    psnr = ssim = None
    shown = _input_of(entry)
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


def _input_of(entry: "Entry") -> measures.Clip | None:
    """The input as the model got it, (H, W, 3), or None where what is kept is not what the video was made of."""
    picture, settings = entry.job.picture, entry.settings
    made_of = entry.result.metadata.get("picture_sha256")
    if not picture.is_file() or (made_of != picture.stem and (made_of is not None or entry.job.imported)):
        return None
    image = frame_picture(
        load_picture(picture), settings.width, settings.height, mode=settings.fitting, offset=settings.crop_offset
    )
    return np.asarray(image.convert("RGB"))


def _tuple(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
