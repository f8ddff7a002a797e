"""The settings read from a workflow give the latents that ComfyUI gave, recorded by scripts/record_comfyui.py."""

import json
from typing import Any

import pytest
import torch
from golden_models import GOLDEN, golden_model, relative_error
from safetensors.torch import load_file

from img2vid.comfyui.read import read_workflow
from img2vid.engine import Conditioning, ConditioningSettings, SamplerSettings, load_engine
from img2vid.engine.interface import Engine
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings

FOLDER = GOLDEN.parent / "comfyui"
RECORDED: dict[str, Any] = json.loads((FOLDER / "workflows.json").read_text(encoding="utf-8"))["workflows"]
LATENTS = load_file(FOLDER / "latents.safetensors")
MOST = 1e-4


def sampler_settings(settings: SampleSettings) -> SamplerSettings:
    choices: dict[str, Any] = {name: getattr(settings, name) for name in ("sampler", "guider", "discretization")}
    params: dict[str, Any] = {f"{name}_params": settings.params_of(options) for name, options in choices.items()}
    return SamplerSettings(num_steps=settings.num_steps, **choices, **params)


@pytest.fixture(scope="module")
def engine() -> Engine:
    model = golden_model("tiny_svd")
    return load_engine(model.config, model.checkpoint, LoadOptions(device="cpu"))


@pytest.mark.parametrize("run", list(RECORDED))
def test_latents(engine: Engine, run: str) -> None:
    workflow = read_workflow(RECORDED[run], run)
    settings = SampleSettings(**workflow.settings)
    recorded = golden_model("tiny_svd").recorded
    about = ConditioningSettings(
        settings.cond_aug, settings.num_frames, fps=settings.fps, motion_bucket_id=settings.motion_bucket_id
    )
    noise = torch.zeros_like(recorded["cond_noise"])
    pair = engine.condition(recorded["image"], about, cond_noise=noise)
    # ComfyUI was given these outputs of the encoders, and computes the vector of numbers itself.
    cond, uncond = (
        Conditioning(recorded[f"{half}.crossattn"], recorded[f"{half}.concat"], one.vector)
        for half, one in zip(("c", "uc"), pair, strict=True)
    )
    generator = torch.Generator().manual_seed(settings.seed)
    latents = engine.sample(LATENTS["noise"], cond, uncond, sampler_settings(settings), generator=generator)
    error = relative_error(latents, LATENTS[run])
    assert set(workflow.left_out) <= {"width 96 (now 128)"}  # the recorded model is smaller than svd
    assert error <= MOST, f"the latents differ from ComfyUI's by {error:.1e} of their norm"
