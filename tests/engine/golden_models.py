"""Small models in tests/data/golden with random weights, and the reference's outputs for them.

`recorded` contains the tensors of golden.safetensors by name, `meta` the settings of the run that created them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from img2vid.engine import ConditioningSettings, SamplerSettings
from img2vid.options import LoadOptions

GOLDEN = Path(__file__).parent.parent / "data" / "golden"
CPU = LoadOptions(device="cpu")
NAMES = ("tiny_svd", "tiny_svd_image_decoder", "tiny_sv3d_u", "tiny_sv3d_p")


@dataclass(frozen=True)
class GoldenModel:
    """Files of one model, its inputs, and the reference's outputs."""

    name: str
    meta: Mapping[str, Any]
    recorded: Mapping[str, Tensor]

    @property
    def config(self) -> Path:
        return GOLDEN / self.name / "config.yaml"

    @property
    def checkpoint(self) -> Path:
        return GOLDEN / self.name / "weights.safetensors"

    def conditioning_settings(self) -> ConditioningSettings:
        m = self.meta
        if self.name == "tiny_sv3d_u":
            return ConditioningSettings(m["cond_aug"], m["T"])
        if self.name == "tiny_sv3d_p":
            return ConditioningSettings(
                m["cond_aug"], m["T"], polars_rad=m["polars_rad"], azimuths_rad=m["azimuths_rad"]
            )
        return ConditioningSettings(m["cond_aug"], m["T"], fps=m["fps"], motion_bucket_id=m["motion"])

    def run_settings(self, run: str) -> SamplerSettings:
        row = self.meta["runs"][run]
        return SamplerSettings(
            sampler=row["sampler"],
            num_steps=row["steps"],
            sampler_params=row["sampler_params"],
            guider=row["guider"],
            guider_params=row["guider_params"],
            discretization=row["disc"],
            discretization_params=row["disc_params"],
        )

    def run_generator(self, run: str) -> torch.Generator:
        return torch.Generator().manual_seed(self.meta["runs"][run]["torch_seed_before_sampling"])


@cache
def golden_model(name: str) -> GoldenModel:
    folder = GOLDEN / name
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return GoldenModel(name, meta, load_file(folder / "golden.safetensors"))


def relative_error(computed: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference divided by the norm of `expected`; infinity if only `expected` is zero."""
    assert computed.shape == expected.shape, f"{tuple(computed.shape)} instead of {tuple(expected.shape)}"
    difference = (computed.double() - expected.double()).norm().item()
    norm = expected.double().norm().item()
    if norm == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / norm
