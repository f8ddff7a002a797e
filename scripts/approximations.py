"""Savings and errors of the approximations: videos of each compared with the exact ones of the same seed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import Any

import torch
from PIL.Image import Image

from img2vid import pipeline
from img2vid.engine import decode_latents, sample_latents
from img2vid.inference import EngineChoice, device_name, load
from img2vid.media import measures
from img2vid.media.measures import Clip
from img2vid.media.pictures import prepare_picture
from img2vid.versions import ModelVersion

EXACT_AFTER = 4
"""Variants between two exact videos, so that each variant is timed next to an exact one."""
COLUMNS = {
    "time": "{:.2f}",
    "psnr": "{:.1f}",
    "difference": "{:.2f}",
    "worst_frame": "{:.2f}",
    "motion": "{:.2f}",
    "flicker": "{:.2f}",
    "sharpness": "{:.2f}",
}
"""Columns of the table with their formats, see `compare`."""


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
    """Return Euler and DPM++ 2M with the exact run's number of steps and fewer."""
    counts = [round(num_steps * share) for share in (1.0, 0.6, 0.4)]
    return [
        *(Variant(f"Euler, {n} steps", {"num_steps": n}) for n in counts),
        *(Variant(f"DPM++ 2M, {n} steps", {"sampler": "DPMPP2MSampler", "num_steps": n}) for n in counts),
    ]


def converged(num_steps: int) -> Mapping[str, Any]:
    """Return settings that all samplers converge to, at four times the work of the exact run."""
    return {"sampler": "HeunEDMSampler", "num_steps": 2 * num_steps}


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

    def __init__(self, version: ModelVersion, choice: EngineChoice, base: Mapping[str, Any]) -> None:
        self._version, self._base = version, base
        self._model = load(version, choice)
        self.num_steps = version.settings(base).num_steps

    def make(self, picture: Image, changed: Mapping[str, Any]) -> Made:
        """Make a video with some settings changed."""
        settings = self._version.settings({**self._base, **changed})
        frame = prepare_picture(picture, settings.width, settings.height)
        clip, engine = pipeline.clip_of(settings), self._model.engine
        clock = time.process_time if self._model.choice.device == "cpu" else time.perf_counter
        started = clock()
        latents = sample_latents(engine, frame, clip, lambda progress: None)  # ends on the CPU
        seconds = clock() - started
        return Made(decode_latents(engine, latents, clip.decode_t, lambda progress: None), seconds)

    def describe(self) -> dict[str, Any]:
        """Return the measurement environment."""
        return {
            "version": self._version.name,
            "device": device_name(self._model.choice.device),
            "precision": self._model.choice.precision,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "settings": dict(self._base),
        }


def rows(
    make: Callable[[Mapping[str, Any]], Made], chosen: Sequence[Variant], against: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a row per variant of one image: metrics, and time relative to the exact videos around it.

    against: settings of the reference video, default the exact one.
    """
    exact = make({})
    standard = exact.clip if against is None else make(against).clip
    for start in range(0, len(chosen), EXACT_AFTER):
        made = [make(variant.changed) for variant in chosen[start : start + EXACT_AFTER]]
        again = make({})
        usual = (exact.seconds + again.seconds) / 2
        for variant, one in zip(chosen[start:], made, strict=False):
            yield {"name": variant.name, "time": one.seconds / usual, **compare(standard, one.clip)}
        exact = again


def averages(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean of each variant's rows over all images; of worst_frame the maximum."""
    names = dict.fromkeys(row["name"] for row in found)
    together: list[dict[str, Any]] = []
    for name in names:
        own = [row for row in found if row["name"] == name]
        together.append(
            {
                "name": name,
                **{key: fmean(row[key] for row in own) for key in COLUMNS},
                "worst_frame": max(row["worst_frame"] for row in own),
            }
        )
    return together


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """Format the rows as a Markdown table."""
    head = ["variant", *(name.replace("_", " ") for name in COLUMNS)]
    lines = [[row["name"], *(form.format(row[name]) for name, form in COLUMNS.items())] for row in found]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in chain([head, ["---"] * len(head)], lines))
