"""Benchmark backends: an engine with a loaded model, and each stage as a function that can run repeatedly."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.config import DiffusionConfig, load_config
from img2vid.engine.interface import (
    PER_FRAME,
    Conditioning,
    ConditioningSettings,
    Engine,
    SamplerSettings,
    conditioned_on,
)
from img2vid.engine.loading import load_engine
from img2vid.options import NATIVE_ONLY, LoadOptions

Run = Callable[[], list[Tensor]]
"""Function that runs a stage once from prepared inputs and returns the outputs."""
COND_AUG = 0.02


@dataclass(frozen=True)
class Shape:
    """Workload: size of the clip in pixels, frames, frames decoded at a time, and sampler steps."""

    width: int
    height: int
    num_frames: int
    decode_t: int
    steps: int = 1

    def smallest(self, size_step: int) -> "Shape":
        """Return the smallest workload that uses every weight: two frames of the smallest size."""
        return Shape(size_step, size_step, min(self.num_frames, 2), 2)


@dataclass(frozen=True)
class Model:
    """Model to measure, with options without `auto`; engines other than native ignore those in `NATIVE_ONLY`.

    comfyui: folder of ComfyUI, or empty.
    """

    config: str
    checkpoint: str
    options: LoadOptions
    comfyui: str = ""


@dataclass(frozen=True)
class Inputs:
    """Inputs of the stages, in float32 on the CPU, identical for every engine."""

    image: Tensor
    cond_noise: Tensor
    cond: Conditioning
    uncond: Conditioning
    noise: Tensor
    latents: Tensor


class Backend(Protocol):
    """Engine with a loaded model."""

    size_step: int
    lacks: Mapping[str, str]
    """Stages that it cannot run, with the reason."""

    def prepare(self, stage: str, shape: Shape, seed: int = 0) -> Run:
        """Prepare the inputs of a stage and return its run.

        stage: "condition", "step" (all guided steps of the shape) or "decode".
        """
        ...


def conditioning_settings(config: DiffusionConfig, num_frames: int) -> ConditioningSettings:
    """Return the numbers that a model is conditioned on in measurements."""
    angles = [index / num_frames for index in range(num_frames)]
    values: dict[str, Any] = {"fps": 7, "motion_bucket_id": 127, "polars_rad": angles, "azimuths_rad": angles}
    wanted = conditioned_on(config.input_keys)
    given = {name: value for name, value in values.items() if name in wanted}
    return ConditioningSettings(cond_aug=COND_AUG, num_frames=num_frames, **given)


def draw_inputs(config: DiffusionConfig, shape: Shape, seed: int) -> Inputs:
    """Draw random inputs of one clip, so that no stage depends on the output of another."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    f, z = config.first_stage.downsampling, config.network_config.out_channels
    frames, h, w = shape.num_frames, shape.height // f, shape.width // f
    network = config.network_config
    crossattn = normal(1, 1, network.context_dim).expand(frames, -1, -1)
    concat = normal(1, network.in_channels - z, h, w).expand(frames, -1, -1, -1)
    rows = frames if any(key in PER_FRAME for key in config.input_keys) else 1
    vector = normal(rows, network.adm_in_channels).expand(frames, -1)
    return Inputs(
        image=normal(1, 3, shape.height, shape.width).clamp(-1, 1),
        cond_noise=normal(1, 3, shape.height, shape.width),
        cond=Conditioning(crossattn, concat, vector),
        uncond=Conditioning(torch.zeros_like(crossattn), torch.zeros_like(concat), vector),
        noise=normal(frames, z, h, w),
        latents=normal(frames, z, h, w) * config.scale_factor,
    )


class EngineBackend:
    """Backend for the project's own engines, native and sgm, using only the public interface."""

    lacks: Mapping[str, str] = {}

    def __init__(self, engine: Engine, config: DiffusionConfig, device: str) -> None:
        self.engine = engine
        self.config = config
        self.device = device
        self.size_step = engine.size_step

    def prepare(self, stage: str, shape: Shape, seed: int = 0) -> Run:
        """See `Backend.prepare`."""
        inputs = draw_inputs(self.config, shape, seed)
        if stage == "condition":
            return lambda: self._condition(inputs, shape)
        if stage == "step":
            cond, uncond = (self._to_device(part) for part in (inputs.cond, inputs.uncond))
            settings = SamplerSettings(num_steps=shape.steps)
            return lambda: [self.engine.sample(inputs.noise, cond, uncond, settings)]
        return lambda: [self.engine.decode(inputs.latents, shape.decode_t)]

    def _condition(self, inputs: Inputs, shape: Shape) -> list[Tensor]:
        if isinstance(self.engine, NativeEngine):  # otherwise the image would come from the encoder cache
            for part in self.engine.parts.values():
                part.seen.clear()
        cond, _ = self.engine.condition(
            inputs.image,
            conditioning_settings(self.config, shape.num_frames),
            cond_noise=inputs.cond_noise,
        )
        return [cond.crossattn, cond.concat, cond.vector]

    def _to_device(self, part: Conditioning) -> Conditioning:
        d = self.device
        return Conditioning(part.crossattn.to(d), part.concat.to(d), part.vector.to(d))


def load_backend(name: str, model: Model) -> Backend:
    """Load a model with an engine: native, sgm, ComfyUI, or diffusers with random weights of the same widths.

    Raise EngineUnavailable with the reason if the engine cannot run here or does not support the model.
    """
    config = load_config(Path(model.config))
    # Imported on demand because they need packages that are usually not installed.
    if name == "comfyui":
        return importlib.import_module("img2vid.engine.bench.comfyui_backend").load(config, model)
    if name == "diffusers":
        backend: Any = importlib.import_module("img2vid.engine.bench.diffusers_backend")
        return backend.load(config, Path(model.config).parent, model.options.device, model.options.precision)
    own: Mapping[str, Any] = {} if name == "native" else NATIVE_ONLY
    engine = load_engine(model.config, model.checkpoint, replace(model.options, provider=name, **own))
    return EngineBackend(engine, config, model.options.device)
