"""Coherence of a small model's videos by motion bucket and guidance, on the images kept out of training.

Each row has the means over all images. held: structural similarity of the last frame and the first one moved along the
optical flow between them, 1 if the picture only moves; sharpness: that of the last frame relative to the first; motion:
mean optical flow between neighboring frames in pixels.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from statistics import fmean
from typing import Any, cast

import numpy as np
from PIL import Image
from training.pictures import kept_apart_pictures

from benchmarks.approximations import Maker
from benchmarks.results import Row
from img2vid.media import measures
from img2vid.media.measures import Clip
from img2vid.options import LoadOptions
from img2vid.versions import find_version

COLUMNS = {
    "motion_bucket": "",
    "max_scale": "",
    "held": ".3f",
    "least_held": ".3f",
    "sharpness": ".2f",
    "motion": ".2f",
}


def held(clip: Clip) -> float:
    """Return the structural similarity of the last frame and the first one warped to it, of a clip (T, H, W, 3)."""
    import cv2

    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (clip[-1], clip[0])]
    flow = cast(Any, cv2).DISOpticalFlow_create(2).calc(*gray, None)
    rows, columns = np.indices(flow.shape[:2], dtype=np.float32)
    moved = cv2.remap(
        clip[0], columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
    )
    return measures.ssim(np.asarray(moved, np.uint8), clip[-1])


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", default="svd_tiny")
    parser.add_argument("--buckets", nargs="+", type=int, default=[10, 30, 60, 90, 127])
    parser.add_argument(
        "--scales", nargs="+", type=float, default=[1.0, 1.5, 2.0, 2.5], help="guidance of the last frame"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[23])


def measure(given: argparse.Namespace) -> Iterator[Row]:
    maker = Maker(find_version(given.version), LoadOptions(device="cpu"), {"min_scale": 1.0})
    pictures = list(kept_apart_pictures().values())
    for bucket, scale in product(given.buckets, given.scales):
        found = [_figures(maker, picture, bucket, scale, seed) for picture in pictures for seed in given.seeds]
        means = {name: fmean(one[name] for one in found) for name in ("held", "sharpness", "motion")}
        yield {"motion_bucket": bucket, "max_scale": scale, **means, "least_held": min(one["held"] for one in found)}


def _figures(maker: Maker, picture: Image.Image, bucket: int, scale: float, seed: int) -> dict[str, float]:
    clip = maker.make(picture, {"motion_bucket_id": bucket, "max_scale": scale, "seed": seed}).clip
    sharp = measures.sharpness(clip)
    return {"held": held(clip), "sharpness": float(sharp[-1] / sharp[0]), "motion": float(measures.motion(clip).mean())}
