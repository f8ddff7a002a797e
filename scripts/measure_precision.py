"""Measures the errors of float16 and bfloat16 against float32, separately for the network and the decoder.

python scripts/measure_precision.py [--version svd_tiny] [--frames N] [--height H] [--width W] [--steps N]
python scripts/measure_precision.py --config mine.yaml --checkpoint mine.safetensors --frames 4 ...

network: the whole run in the format, its latents decoded in float32. decoder: the float32 latents, decoded in the
format. error is the norm of the difference over the norm. PSNR is in dB, of latents against their own range, of frames
as 8-bit images. Prints a Markdown table and, with --json, one JSON object per row.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from img2vid import paths
from img2vid.media.measures import psnr
from img2vid.media.pictures import load_picture, prepare_picture
from img2vid.versions import find_version

if TYPE_CHECKING:
    from torch import Tensor

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

    def run(self, precision: str, decoder_precision: str, latents: "Tensor | None" = None) -> dict[str, Any]:
        """Return latents, unless given, decoder output frames and the seconds of each."""
        from img2vid.engine import Clip, ConditioningSettings, SamplerSettings, load_engine, sample_latents

        engine = load_engine(
            self.config,
            self.checkpoint,
            device=self.device,
            precision=precision,
            decoder_precision=decoder_precision,
        )
        clip = Clip(
            23, self.frames, ConditioningSettings(6, 127, 0.02), self.frames, SamplerSettings(num_steps=self.steps)
        )
        notices: list[str] = []
        times = [time.monotonic()]
        if latents is None:
            latents = sample_latents(engine, self.picture, clip, lambda progress: None)
        times.append(time.monotonic())
        frames = engine.decode(latents, clip.decode_t, on_notice=notices.append)
        times.append(time.monotonic())
        seconds = [later - sooner for sooner, later in pairwise(times)]
        return {"latents": latents, "frames": frames, "seconds": seconds, "notices": notices}


def relative_error(found: "Tensor", exact: "Tensor") -> float:
    """Return the norm of the difference over the norm."""
    return float((found.double() - exact.double()).norm() / exact.double().norm())


def latents_psnr(found: "Tensor", exact: "Tensor") -> float:
    """Return the PSNR in dB against the range of the exact latents."""
    spread = float(exact.max() - exact.min())
    return 20 * math.log10(spread / max(float((found.double() - exact.double()).square().mean().sqrt()), 1e-12))


def frames_psnr(found: "Tensor", exact: "Tensor") -> float:
    """Return the PSNR in dB of 8-bit images."""
    bytes_of = [((frames.clamp(-1, 1) + 1) * 127.5).round().byte().numpy() for frames in (found, exact)]
    return psnr(*bytes_of)


def rows(case: Case) -> Iterator[dict[str, Any]]:
    """Yield the results of each format compared with float32."""
    exact = case.run("fp32", "fp32")
    for part in ("network", "decoder"):
        for name in FORMATS:
            ran = case.run(name, "fp32") if part == "network" else case.run("fp32", name, exact["latents"])
            row: dict[str, Any] = {"part": part, "format": name}
            if part == "network":
                row["latents_error"] = relative_error(ran["latents"], exact["latents"])
                row["latents_psnr"] = latents_psnr(ran["latents"], exact["latents"])
            row["frames_error"] = relative_error(ran["frames"], exact["frames"])
            row["frames_psnr"] = frames_psnr(ran["frames"], exact["frames"])
            index = 0 if part == "network" else 1
            row["seconds"], row["seconds_fp32"] = ran["seconds"][index], exact["seconds"][index]
            row["notices"] = ran["notices"]
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="svd_tiny", help="model version, if --config is not given")
    parser.add_argument("--config", type=Path, help="model configuration")
    parser.add_argument("--checkpoint", type=Path, help="weights of the model")
    parser.add_argument("--picture", type=Path, default=paths.PROJECT / "assets" / "dandelion.jpg")
    for name in ("frames", "height", "width", "steps"):
        parser.add_argument(f"--{name}", type=int, help="default: the version's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    version = find_version(options.version)
    usual = version.settings({})
    height, width = options.height or usual.height, options.width or usual.width
    case = Case(
        options.config or version.config_path,
        options.checkpoint or version.require_checkpoint(),
        prepare_picture(load_picture(options.picture), width, height, mode="crop", offset=0.5),
        options.frames or usual.num_frames,
        options.steps or usual.num_steps,
        options.device,
    )
    print("| part | format | error of latents | PSNR | error of frames | PSNR | seconds | in fp32 |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows(case):
        latents = [f"{row['latents_error']:.1e}", f"{row['latents_psnr']:.1f}"] if "latents_error" in row else ["", ""]
        frames = [f"{row['frames_error']:.1e}", f"{row['frames_psnr']:.1f}"]
        seconds = [f"{row['seconds']:.1f}", f"{row['seconds_fp32']:.1f}"]
        print("| " + " | ".join([row["part"], row["format"], *latents, *frames, *seconds]) + " |", flush=True)
        if options.json:
            print(json.dumps(row), flush=True)
        for notice in row["notices"]:
            print(f"{row['part']}, {row['format']}: {notice}", file=sys.stderr)


if __name__ == "__main__":
    main()
