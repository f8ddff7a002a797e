"""Savings and errors of the approximations: videos of each compared with the exact ones of the same seed.

CPU runs are timed in the CPU's own seconds, which other programs hardly affect; GPU runs by the clock. Set
OMP_NUM_THREADS=1 on a shared machine, because threads that wait for each other count as busy. The last rows have the
means of all pictures, and the worst frame of all.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL.Image import Image

from benchmarks.results import Row, timed
from img2vid import paths, pipeline
from img2vid.engine import decode_latents, sample_latents
from img2vid.inference import load
from img2vid.media import measures
from img2vid.media.measures import Clip
from img2vid.media.picture_files import list_pictures
from img2vid.media.pictures import load_picture, prepare_picture
from img2vid.options import LoadOptions
from img2vid.progress import StageClock, ignore
from img2vid.versions import ModelVersion, find_version

PICTURES = [paths.PROJECT / "assets" / name for name in ("brook.jpg", "dandelion.jpg")]
STRONG = {"motion_bucket_id": 127, "max_scale": 2.5}
"""Motion and guidance of the full-size svd; the small models start at less."""
EXACT_AFTER = 4
"""Variants between two exact videos, so that each variant is timed next to an exact one."""
METRICS = {
    "time": ".2f",
    "psnr": ".1f",
    "difference": ".2f",
    "worst_frame": ".2f",
    "motion": ".2f",
    "flicker": ".2f",
    "sharpness": ".2f",
    "psnr_euler": ".1f",
}
"""Figures of a row with their formats, see `compare`."""
COLUMNS = {"picture": "", "variant": "", **METRICS}


@dataclass(frozen=True)
class Variant:
    """A name and its changed settings."""

    name: str
    changed: Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """A video (T, H, W, 3) and the seconds of its sampling: CPU time on the CPU, wall-clock time on a GPU."""

    clip: Clip
    seconds: float


def variants(num_steps: int) -> list[Variant]:
    """Return the variants. `num_steps` is the exact run's. The last two are reference points that save no work."""
    fewer = [round(num_steps * share) for share in (0.6, 0.4)]
    return [
        Variant("guidance up to sigma 50", {"guidance_sigma_max": 50.0}),
        Variant("guidance from sigma 1", {"guidance_sigma_min": 1.0}),
        Variant("guidance from sigma 0.3 to 5", {"guidance_sigma_min": 0.3, "guidance_sigma_max": 5.0}),
        Variant("no guidance at all", {"guider": "IdentityGuider"}),
        Variant("block cache 2", {"block_cache": 2}),
        Variant("block cache 3", {"block_cache": 3}),
        Variant("block cache 5", {"block_cache": 5}),
        Variant("block cache 2, guidance up to sigma 50", {"block_cache": 2, "guidance_sigma_max": 50.0}),
        *(Variant(f"DPM++ 2M, {n} steps", {"sampler": "DPMPP2MSampler", "num_steps": n}) for n in fewer),
        *(Variant(f"Euler, {n} steps", {"num_steps": n}) for n in fewer),
        Variant(f"Euler, {2 * num_steps} steps", {"num_steps": 2 * num_steps}),
        Variant("another seed", {"seed": 24}),
    ]


def samplers(num_steps: int) -> list[Variant]:
    """Return methods at the EDM and the Align Your Steps levels, with the exact run's steps and fewer."""
    counts = [round(num_steps * share) for share in (1.0, 0.6, 0.4)]
    aligned = {"discretization": "AYSDiscretization"}
    methods: dict[str, dict[str, Any]] = {
        "Euler": {},
        "Euler, Align Your Steps": aligned,
        "DPM++ 2M": {"sampler": "DPMPP2MSampler"},
        "DPM++ 2M, Align Your Steps": {"sampler": "DPMPP2MSampler", **aligned},
        "UniPC": {"sampler": "UniPCSampler"},
        "UniPC, Align Your Steps": {"sampler": "UniPCSampler", **aligned},
    }
    return [
        Variant(f"{name}, {n} steps", {**changed, "num_steps": n}) for name, changed in methods.items() for n in counts
    ]


def converged(num_steps: int) -> Sequence[Mapping[str, Any]]:
    """Return settings that all samplers converge to, at four times the work of the exact run: Heun's and Euler's."""
    return {"sampler": "HeunEDMSampler", "num_steps": 2 * num_steps}, {"num_steps": 4 * num_steps}


def compare(exact: Clip, other: Clip) -> dict[str, float]:
    """Return metrics of a video against the exact one, see img2vid/media/measures.py.

    psnr in dB. difference: mean absolute difference of all frames; worst_frame: that of the worst frame; both of 255.
    motion, flicker and sharpness: ratios to the exact video, 1 if equal.
    """
    apart = measures.absolute_difference(exact, other)
    return {
        "psnr": measures.psnr(exact, other),
        "difference": float(apart.mean()),
        "worst_frame": float(apart.max()),
        "motion": _part(measures.motion_energy(other), measures.motion_energy(exact)),
        "flicker": _part(measures.flicker(other), measures.flicker(exact)),
        "sharpness": _part(float(measures.sharpness(other).mean()), float(measures.sharpness(exact).mean())),
    }


def _part(value: float, exact: float) -> float:
    return value / exact if exact else float("nan")


class Maker:
    """A loaded model that makes videos; `base` are settings common to all of them."""

    def __init__(self, version: ModelVersion, options: LoadOptions, base: Mapping[str, Any]) -> None:
        self._version, self._base = version, base
        self._model = load(version, options)
        self.num_steps = version.settings(base).num_steps

    def make(self, picture: Image, changed: Mapping[str, Any]) -> Made:
        """Make a video with some settings changed."""
        settings = self._version.settings({**self._base, **changed})
        frame = prepare_picture(picture, settings.width, settings.height)
        engine = self._model.engine
        clip = pipeline.clip_of(settings, engine)
        clock = time.process_time if self._model.options.device == "cpu" else time.perf_counter
        latents, seconds = timed(partial(sample_latents, engine, frame, clip, StageClock(ignore)), clock)
        return Made(decode_latents(engine, latents, settings.decode_t, StageClock(ignore)), seconds)


def rows(
    make: Callable[[Mapping[str, Any]], Made], chosen: Sequence[Variant], against: Sequence[Mapping[str, Any]] = ()
) -> Iterator[Row]:
    """Yield a row per variant of one image: metrics, and time relative to the exact videos around it.

    against: settings of the reference video, default the exact one, and of another one for psnr_euler alone.
    """
    exact = make({})
    standard, *others = [make(changed).clip for changed in against] or [exact.clip]
    for start in range(0, len(chosen), EXACT_AFTER):
        made = [make(variant.changed) for variant in chosen[start : start + EXACT_AFTER]]
        again = make({})
        usual = (exact.seconds + again.seconds) / 2
        for variant, one in zip(chosen[start:], made, strict=False):
            second = [("psnr_euler", measures.psnr(other, one.clip)) for other in others]
            row = {"variant": variant.name, "time": one.seconds / usual, **compare(standard, one.clip)}
            yield row | dict(second)
        exact = again


def averages(found: Sequence[Row]) -> Iterator[Row]:
    """Yield the mean of each variant's rows over all images; of worst_frame the maximum."""
    for name in dict.fromkeys(row["variant"] for row in found):
        own = [row for row in found if row["variant"] == name]
        means = {key: fmean(row[key] for row in own) for key in METRICS if key in own[0]}
        yield {"picture": "all", "variant": name, **means, "worst_frame": max(row["worst_frame"] for row in own)}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", default="svd_tiny")
    parser.add_argument("--pictures", nargs="+", type=Path, default=PICTURES, help="image files or folders")
    parser.add_argument("--num-steps", type=int, help="steps of the exact run (default: the version's)")
    parser.add_argument("--samplers", action="store_true", help="compare only samplers, against a converged run")
    parser.add_argument("--only", default="", help="measure only variants whose name contains this")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")


def measure(given: argparse.Namespace) -> Iterator[Row]:
    base = STRONG if given.num_steps is None else {**STRONG, "num_steps": given.num_steps}
    maker = Maker(find_version(given.version), LoadOptions(device=given.device, precision=given.precision), base)
    known = samplers if given.samplers else variants
    against = converged(maker.num_steps) if given.samplers else ()
    chosen = [variant for variant in known(maker.num_steps) if given.only in variant.name]
    found: list[Row] = []
    for path in list_pictures(given.pictures):
        for row in rows(partial(maker.make, load_picture(path)), chosen, against):
            found.append({"picture": path.stem, **row})
            yield found[-1]
    yield from averages(found)
