"""Errors of float16 and bfloat16 against float32, separately for the network and the decoder.

network: the whole run in the format, its latents decoded in float32. decoder: the float32 latents, decoded in the
format. error is the norm of the difference over the norm. PSNR is in dB, of latents against their own range, of frames
as 8-bit images.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.results import Row, timed
from img2vid import paths
from img2vid.engine import Clip, ConditioningSettings, SamplerSettings, load_engine, sample_latents
from img2vid.engine.bench.session import relative_difference
from img2vid.media.measures import psnr
from img2vid.media.pictures import load_picture, prepare_picture
from img2vid.options import LoadOptions, Precision
from img2vid.progress import StageClock, ignore
from img2vid.versions import find_version

COLUMNS = {
    "part": "",
    "format": "",
    "latents_error": ".1e",
    "latents_psnr": ".1f",
    "frames_error": ".1e",
    "frames_psnr": ".1f",
    "seconds": ".1f",
    "seconds_fp32": ".1f",
}
FORMATS = ("fp16", "bf16")


@dataclass(frozen=True)
class Case:
    """A model, a clip and a device."""

    config: Path
    checkpoint: Path
    picture: Any
    frames: int
    steps: int
    device: str

    def run(self, precision: Precision, decoder_precision: Precision, latents: Tensor | None = None) -> "Run":
        """Return the results; latents are sampled unless given."""
        engine = load_engine(
            self.config,
            self.checkpoint,
            LoadOptions(device=self.device, precision=precision, decoder_precision=decoder_precision),
        )
        conditioning = ConditioningSettings(0.02, self.frames, fps=6, motion_bucket_id=127)
        clip = Clip(23, conditioning, SamplerSettings(num_steps=self.steps))
        notices: list[str] = []
        sampled, sampling = timed(
            lambda: sample_latents(engine, self.picture, clip, StageClock(ignore)) if latents is None else latents
        )
        frames, decoding = timed(lambda: engine.decode(sampled, self.frames, on_notice=notices.append))
        return Run(sampled, frames, {"network": sampling, "decoder": decoding}, notices)


@dataclass(frozen=True)
class Run:
    """Latents, frames as the decoder returns them, the seconds of each part, and the engine's notices."""

    latents: Tensor
    frames: Tensor
    seconds: dict[str, float]
    notices: list[str]


def latents_psnr(found: Tensor, exact: Tensor) -> float:
    """Return the PSNR in dB against the range of the exact latents."""
    spread = float(exact.max() - exact.min())
    return 20 * math.log10(spread / max(float((found.double() - exact.double()).square().mean().sqrt()), 1e-12))


def frames_psnr(found: Tensor, exact: Tensor) -> float:
    """Return the PSNR in dB of 8-bit images."""
    bytes_of = [((frames.clamp(-1, 1) + 1) * 127.5).round().byte().numpy() for frames in (found, exact)]
    return psnr(*bytes_of)


def rows(case: Case) -> Iterator[Row]:
    """Yield the results of each format compared with float32."""
    exact = case.run("fp32", "fp32")
    for part in ("network", "decoder"):
        for name in FORMATS:
            ran = case.run(name, "fp32") if part == "network" else case.run("fp32", name, exact.latents)
            row: dict[str, Any] = {"part": part, "format": name}
            if part == "network":
                row["latents_error"] = relative_difference(ran.latents, exact.latents)
                row["latents_psnr"] = latents_psnr(ran.latents, exact.latents)
            row["frames_error"] = relative_difference(ran.frames, exact.frames)
            row["frames_psnr"] = frames_psnr(ran.frames, exact.frames)
            row |= {"seconds": ran.seconds[part], "seconds_fp32": exact.seconds[part], "notices": ran.notices}
            for notice in ran.notices:
                print(f"{part}, {name}: {notice}", file=sys.stderr)
            yield row


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", default="svd_tiny", help="model version, if --config is not given")
    parser.add_argument("--config", type=Path, help="model configuration")
    parser.add_argument("--checkpoint", type=Path, help="weights of the model")
    parser.add_argument("--picture", type=Path, default=paths.PROJECT / "assets" / "dandelion.jpg")
    for name in ("frames", "height", "width", "steps"):
        parser.add_argument(f"--{name}", type=int, help="default: the version's")
    parser.add_argument("--device", default="cpu")


def measure(given: argparse.Namespace) -> Iterator[Row]:
    version = find_version(given.version)
    usual = version.settings({})
    height, width = given.height or usual.height, given.width or usual.width
    return rows(
        Case(
            given.config or version.config_path,
            given.checkpoint or version.require_checkpoint(),
            prepare_picture(load_picture(given.picture), width, height, mode="crop", offset=0.5),
            given.frames or usual.num_frames,
            given.steps or usual.num_steps,
            given.device,
        )
    )
