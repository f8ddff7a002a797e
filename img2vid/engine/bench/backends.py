"""Engines as the benchmark sees them: a model in memory, and each stage as a function that can be run repeatedly."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.config import DiffusionConfig, load_config
from img2vid.engine.interface import Conditioning, Engine, SamplerSettings
from img2vid.engine.loading import load_engine

Run = Callable[[], list[Tensor]]
"""Runs a stage once, from inputs that are ready, and returns what it computed."""
COND_AUG, MOTION_BUCKET_ID, FPS = 0.02, 127, 7


@dataclass(frozen=True)
class Shape:
    """What is computed: a clip's size in pixels, its frames, frames decoded at a time, and steps of the sampler."""

    width: int
    height: int
    num_frames: int
    decode_t: int
    steps: int = 1

    def smallest(self, size_step: int) -> "Shape":
        """The least work that still touches every weight: two frames of the smallest size."""
        return Shape(size_step, size_step, min(self.num_frames, 2), 2)


@dataclass(frozen=True)
class Model:
    """Which model is measured, and how it is held. options: further arguments of `load_engine`, for native alone."""

    config: str
    checkpoint: str
    device: str
    precision: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Inputs:
    """What the stages start from, in float32 on the CPU: the same for every engine."""

    image: Tensor
    cond_noise: Tensor
    cond: Conditioning
    uncond: Conditioning
    noise: Tensor
    latents: Tensor


class Backend(Protocol):
    """An engine with a model in memory."""

    size_step: int

    def prepare(self, stage: str, shape: Shape, seed: int = 0) -> Run:
        """The stage "condition", "step" (all steps of the shape, guided) or "decode" with its inputs in place."""
        ...


def draw_inputs(config: DiffusionConfig, shape: Shape, seed: int) -> Inputs:
    """Inputs of one clip. They are drawn and not computed by an earlier stage, so that each stage stands alone."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    f, z = config.first_stage.downsampling, config.network_config.out_channels
    frames, h, w = shape.num_frames, shape.height // f, shape.width // f
    network = config.network_config
    crossattn = normal(1, 1, network.context_dim).expand(frames, -1, -1)
    concat = normal(1, network.in_channels - z, h, w).expand(frames, -1, -1, -1)
    vector = normal(1, network.adm_in_channels).expand(frames, -1)
    return Inputs(
        image=normal(1, 3, shape.height, shape.width).clamp(-1, 1),
        cond_noise=normal(1, 3, shape.height, shape.width),
        cond=Conditioning(crossattn, concat, vector),
        uncond=Conditioning(torch.zeros_like(crossattn), torch.zeros_like(concat), vector),
        noise=normal(frames, z, h, w),
        latents=normal(frames, z, h, w) * config.scale_factor,
    )


class EngineBackend:
    """Either of the project's engines, through its public interface alone."""

    def __init__(self, engine: Engine, config: DiffusionConfig, device: str) -> None:
        self.engine = engine
        self.config = config
        self.device = device
        self.size_step = engine.size_step

    def prepare(self, stage: str, shape: Shape, seed: int = 0) -> Run:
        """See `Subject.prepare`."""
        inputs = draw_inputs(self.config, shape, seed)
        if stage == "condition":
            return lambda: self._condition(inputs, shape)
        if stage == "step":
            cond, uncond = (self._placed(part) for part in (inputs.cond, inputs.uncond))
            settings = SamplerSettings(num_steps=shape.steps)
            return lambda: [self.engine.sample(inputs.noise, cond, uncond, settings)]
        return lambda: [self.engine.decode(inputs.latents, shape.decode_t)]

    def _condition(self, inputs: Inputs, shape: Shape) -> list[Tensor]:
        if isinstance(self.engine, NativeEngine):  # it would know the picture again
            for part in self.engine.parts.values():
                part.seen.clear()
        cond, _ = self.engine.condition(
            inputs.image,
            cond_noise=inputs.cond_noise,
            cond_aug=COND_AUG,
            motion_bucket_id=MOTION_BUCKET_ID,
            fps=FPS,
            num_frames=shape.num_frames,
        )
        return [cond.crossattn, cond.concat, cond.vector]

    def _placed(self, part: Conditioning) -> Conditioning:
        d = self.device
        return Conditioning(part.crossattn.to(d), part.concat.to(d), part.vector.to(d))


def load_backend(name: str, model: Model) -> Backend:
    """The engine of that name with the model: native, sgm, or diffusers with random weights of the same widths.

    Raises EngineUnavailable, with the reason, where it cannot run here or has no model of this form.
    """
    config = load_config(Path(model.config))
    if name == "diffusers":
        # Imported only when asked for: it needs packages that most people do not have.
        peer: Any = importlib.import_module("img2vid.engine.bench.diffusers_backend")
        return peer.load(config, Path(model.config).parent, model.device, model.precision)
    options = dict(model.options) if name == "native" else {}
    engine = load_engine(
        model.config, model.checkpoint, provider=name, device=model.device, precision=model.precision, **options
    )
    return EngineBackend(engine, config, model.device)
