"""Measures a small checkpoint on the pictures that were kept apart, and prints the numbers as JSON.

python scripts/evaluate_tiny.py [--version svd_tiny] [--sheet FILE.png]

The contact sheet shows, for each picture, the picture as the model gets it and every second frame of its video.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from img2vid import pipeline
from img2vid.engine import render
from img2vid.media.pictures import frame_picture, prepare_picture
from img2vid.versions import find_version
from scripts.tiny import measures
from scripts.tiny.measures import Frames
from scripts.tiny.pictures import kept_apart_pictures


class Evaluation:
    """A loaded model and the clips that it has made of the pictures."""

    def __init__(self, version: str) -> None:
        self.version = find_version(version)
        self.settings = self.version.settings({})
        self.model = pipeline.load(self.version, pipeline.EngineChoice(device="cpu"))
        self.pictures = kept_apart_pictures()

    def clip(self, picture: Image.Image, **overrides: Any) -> Frames:
        """Frames of a picture with some settings changed."""
        s = self.version.settings(overrides)
        array = prepare_picture(picture, s.width, s.height)
        return render(self.model.engine, array, pipeline.clip_of(s), lambda progress: None)

    def framed(self, picture: Image.Image) -> Frames:
        """The picture as the model gets it."""
        return np.asarray(frame_picture(picture, self.settings.width, self.settings.height))

    def numbers(self) -> dict[str, Any]:
        """All measures; means are over the pictures, minima over all frames of all of them."""
        rows: dict[str, dict[str, float]] = {}
        self.videos: dict[str, Frames] = {}
        for name, picture in self.pictures.items():
            started = time.monotonic()
            video = self.videos[name] = self.clip(picture)
            seconds = time.monotonic() - started
            flow = {b: measures.mean_flow(self.clip(picture, motion_bucket_id=b)) for b in (20, 255)}
            slow, fast = (measures.mean_flow(self.clip(picture, fps=fps)) for fps in (24, 6))
            other = self.clip(picture, seed=self.settings.seed + 1)
            rows[name] = {
                "first_frame_psnr": measures.psnr(video[0], self.framed(picture)),
                "least_neighbour_psnr": measures.least_neighbour_psnr(video),
                "least_contrast": measures.least_contrast(video, self.framed(picture)),
                "flow_127": measures.mean_flow(video),
                "flow_255_over_20": flow[255] / max(flow[20], 1e-6),
                "flow_fps_6_over_24": fast / max(slow, 1e-6),
                "likeness_of_two_seeds": measures.likeness(video, other),
                "seconds": seconds,
            }
        low = {"least_neighbour_psnr", "least_contrast"}
        means = {
            key: (min if key in low else lambda v: sum(v) / len(v))([row[key] for row in rows.values()])
            for key in next(iter(rows.values()))
        }
        return {"version": self.version.name, "all": means, "pictures": rows}

    def sheet(self) -> Image.Image:
        """Every picture's row of frames."""
        rows = [np.hstack([self.framed(self.pictures[n]), *video[::2]]) for n, video in self.videos.items()]
        return Image.fromarray(np.vstack(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="svd_tiny")
    parser.add_argument("--sheet", type=Path, help="where to write the contact sheet")
    arguments = parser.parse_args()
    evaluation = Evaluation(arguments.version)
    print(json.dumps(evaluation.numbers(), indent=2))
    if arguments.sheet is not None:
        evaluation.sheet().save(arguments.sheet)


if __name__ == "__main__":
    main()
