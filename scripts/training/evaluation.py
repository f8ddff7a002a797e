"""Metrics of a small checkpoint on the held-out images, and their targets."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
import torch
from PIL import Image

from img2vid import inference, paths, pipeline
from img2vid.engine import ConditioningSettings, decode_latents, sample_latents
from img2vid.media.pictures import frame_picture, prepare_picture
from img2vid.options import LoadOptions
from img2vid.progress import StageClock, ignore
from img2vid.versions import find_version
from training import measures
from training.measures import Frames
from training.pictures import kept_apart_pictures

TARGETS = {
    "round_trip_psnr": (26.0, "at least"),
    "first_frame_psnr": (23.0, "at least"),
    "least_neighbour_psnr": (15.0, "at least"),
    "least_contrast": (0.7, "at least"),
    "flow_127": (0.5, "at least"),
    "flow_255_over_20": (3.0, "at least"),
    "flow_fps_6_over_24": (1.5, "at least"),
    "similarity_of_seeds": (0.9, "under"),
    "seconds_from_start_to_file": (45.0, "at most"),
    "megabytes": (20.0, "at most"),
}
LEAST = {"least_neighbour_psnr", "least_contrast"}
"""Metrics that use the minimum over all images; the others use the mean."""
FURTHER_SEEDS = 2


def verdict(numbers: dict[str, float]) -> Iterator[str]:
    """Yield a line for every target: the value, the target, and the outcome."""
    for name, (target, relation) in TARGETS.items():
        value = numbers[name]
        reached = {"at least": value >= target, "under": value < target, "at most": value <= target}[relation]
        yield f"{name}: {value:.3f}, {relation} {target:g} wanted: {'reached' if reached else 'NOT reached'}"


class Evaluation:
    """A loaded model and its clips of the images, with the version's settings except `changed`.

    Motion and guidance are by default those of the full-size model with as many frames.
    """

    def __init__(self, version: str, **changed: Any) -> None:
        self.version = find_version(version)
        full = find_version("svd_xt" if self.version.num_frames == 25 else "svd").settings({})
        strong = {name: getattr(full, name) for name in ("motion_bucket_id", "max_scale", "min_scale")}
        self.changed = strong | changed
        self.settings = self.version.settings(self.changed)
        self.engine = inference.load(self.version, LoadOptions(device="cpu")).engine
        self.pictures = kept_apart_pictures()
        self.videos: dict[str, Frames] = {}

    def clip(self, picture: Image.Image, **overrides: Any) -> Frames:
        """Return the frames of an image with some settings changed."""
        s = self.version.settings(self.changed | overrides)
        image = prepare_picture(picture, s.width, s.height)
        latents = sample_latents(self.engine, image, pipeline.clip_of(s, self.engine), StageClock(ignore))
        return decode_latents(self.engine, latents, s.decode_t, StageClock(ignore))

    def framed(self, picture: Image.Image) -> Frames:
        """Return the image as the model sees it."""
        return np.asarray(frame_picture(picture, self.settings.width, self.settings.height))

    def round_trip(self, picture: Image.Image) -> Frames:
        """Return the image after encoding and decoding, as the middle frame of a still clip."""
        s = self.settings
        image = torch.as_tensor(prepare_picture(picture, s.width, s.height))[None]
        cond, _ = self.engine.condition(
            image,
            ConditioningSettings(0.0, s.num_frames, fps=6, motion_bucket_id=0),
            cond_noise=torch.zeros_like(image),
        )
        frames = self.engine.decode(cond.concat * self.engine.scale_factor, s.decode_t)
        middle = frames[s.num_frames // 2].clamp(-1, 1).permute(1, 2, 0)
        return (middle * 127.5 + 127.5).round().byte().numpy()

    def row(self, name: str) -> dict[str, float]:
        """Return all metrics of one image."""
        picture = self.pictures[name]
        framed = self.framed(picture)
        started = time.monotonic()
        video = self.videos[name] = self.clip(picture)
        seconds = time.monotonic() - started
        little, much = (measures.mean_flow(self.clip(picture, motion_bucket_id=bucket)) for bucket in (20, 255))
        assert self.settings.fps == 6 and self.settings.motion_bucket_id == 127, "the first clip stands for these"
        usual, slower = measures.mean_flow(video), measures.mean_flow(self.clip(picture, fps=24))
        seeds = [video, *(self.clip(picture, seed=self.settings.seed + 1 + n) for n in range(FURTHER_SEEDS))]
        return {
            "round_trip_psnr": measures.psnr(self.round_trip(picture), framed),
            "first_frame_psnr": measures.psnr(video[0], framed),
            "least_neighbour_psnr": measures.least_neighbour_psnr(video),
            "least_contrast": measures.least_contrast(video, framed),
            "flow_127": usual,
            "flow_20": little,
            "flow_255": much,
            "flow_255_over_20": much / max(little, 1e-6),
            "flow_fps_6_over_24": usual / max(slower, 1e-6),
            "similarity_of_seeds": fmean(measures.motion_similarity(a, b) for a, b in combinations(seeds, 2)),
            "seconds_a_clip": seconds,
        }

    def numbers(self, report: Callable[[str], None]) -> dict[str, Any]:
        """Return the metrics of every image and of all together. `report` is called with a line per finished image."""
        rows: dict[str, dict[str, float]] = {}
        for name in self.pictures:
            rows[name] = self.row(name)
            report(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in rows[name].items()))
        together = {
            key: (min if key in LEAST else fmean)([row[key] for row in rows.values()])
            for key in next(iter(rows.values()))
        }
        together["seconds_from_start_to_file"] = self.seconds_from_start_to_file()
        checkpoint = paths.find_checkpoint(self.version.checkpoint)
        assert checkpoint is not None
        together["megabytes"] = checkpoint.stat().st_size / 1e6
        return {"version": self.version.name, "all": together, "pictures": rows}

    def seconds_from_start_to_file(self) -> float:
        """Return the duration of the quick start command."""
        picture = paths.PROJECT / "assets" / "dandelion.jpg"
        with tempfile.TemporaryDirectory() as folder:
            words = ["sample", str(picture), "--version", self.version.name, "--out", folder]
            started = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "img2vid", *words], check=True, cwd=paths.PROJECT, stdout=subprocess.DEVNULL
            )
            return time.monotonic() - started

    def sheet(self) -> Image.Image:
        """Return an image with a row of frames per clip."""
        rows = [np.hstack([self.framed(self.pictures[n]), *video[::3]]) for n, video in self.videos.items()]
        return Image.fromarray(np.vstack(rows))
