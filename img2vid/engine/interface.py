"""What an engine takes and gives: the one narrow interface that the native engine and sgm share."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor

from img2vid.engine.config import DiffusionConfig

if TYPE_CHECKING:
    from img2vid.engine.weights.shared_modules import Parts, SharedModule

Provider = Literal["native", "sgm"]
Precision = Literal["fp32", "fp16", "bf16"]
MemoryPlan = Literal["resident", "stages", "blocks"]
"""What stays on the device: everything, the stage at work, or of the network no more than two of its own stages."""

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
MEMORY_PLANS: tuple[MemoryPlan, ...] = ("resident", "stages", "blocks")


@dataclass(frozen=True)
class Conditioning:
    """What the network is told about a clip of T frames; all tensors in float32.

    crossattn: (T, 1, D), the picture's CLIP embedding; concat: (T, z, h, w), the latents of the conditioning frame;
    vector: (T, adm), embeddings of fps_id, motion_bucket_id and cond_aug.
    """

    crossattn: Tensor
    concat: Tensor
    vector: Tensor


@dataclass(frozen=True)
class SamplerSettings:
    """Names are the reference's class names, parameters and defaults the reference's own.

    sampler_params: s_churn, s_tmin, s_tmax, s_noise (EDM), eta, s_noise (ancestral), order (linear multistep);
    guider_params: scale (VanillaCFG), max_scale, min_scale (linear), and period, period_fusing (triangle);
    discretization_params: sigma_min, sigma_max, rho (EDM), linear_start, linear_end, num_timesteps (LegacyDDPM).

    The last three are approximations, off by default: guidance acts only where the noise level is from
    guidance_sigma_min to guidance_sigma_max; the inner blocks of the network are computed at every block_cache-th step.
    """

    sampler: str = "EulerEDMSampler"
    num_steps: int = 25
    sampler_params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    guider: str = "LinearPredictionGuider"
    guider_params: Mapping[str, Any] = field(default_factory=lambda: {"max_scale": 2.5, "min_scale": 1.0})
    discretization: str = "EDMDiscretization"
    discretization_params: Mapping[str, Any] = field(
        default_factory=lambda: {"sigma_min": 0.002, "sigma_max": 700.0, "rho": 7.0}
    )
    guidance_sigma_min: float = 0.0
    guidance_sigma_max: float = math.inf
    block_cache: int = 1


@dataclass(frozen=True)
class StepInfo:
    """The state after a step: `step` of `total` are done, the noise level is now `sigma`.

    denoised: (T, z, h, w), the guided estimate of the clean latents that the step was made with.
    """

    step: int
    total: int
    sigma: float
    denoised: Tensor


OnStep = Callable[[StepInfo], None]
"""Called after every step; an exception raised from it stops the run."""


@dataclass(frozen=True)
class LoadOptions:
    """What to load, checked as far as it can be without reading the checkpoint; see `load_engine`."""

    config_path: Path
    config: DiffusionConfig
    checkpoint: Path
    device: torch.device
    precision: Precision
    allow_pickle: bool = False
    on_bytes: Callable[[int, int], None] | None = None
    memory: MemoryPlan | Literal["auto"] = "resident"
    decoder_precision: Precision = "fp32"
    compile: bool = False
    spare: "Parts" = field(default_factory=dict[str, "SharedModule"])


class Engine(Protocol):
    """A loaded model."""

    size_step: int
    """Height and width must be multiples of this many pixels."""
    downsampling: int
    """Pixels along one side of a latent."""
    latent_channels: int
    scale_factor: float
    """Sampled latents are this many times the autoencoder's."""
    parts: "Parts"
    """What of it may serve a model that is loaded next; see `img2vid.engine.weights.shared_modules`."""

    def condition(
        self,
        image: Tensor,
        *,
        cond_noise: Tensor,
        cond_aug: float,
        motion_bucket_id: float,
        fps: float,
        num_frames: int,
    ) -> tuple[Conditioning, Conditioning]:
        """The conditioning of a clip and its unconditional twin, in which both embeddings of the picture are zero.

        image: (1, 3, H, W) in [-1, 1]; cond_noise: the same shape, standard normal, of which the encoder sees
        image + cond_aug * cond_noise; fps in frames per second (the model is told fps - 1).
        """
        ...

    def sample(
        self,
        noise: Tensor,
        cond: Conditioning,
        uncond: Conditioning,
        settings: SamplerSettings,
        *,
        on_step: OnStep | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Clean latents (T, z, h, w) in float32 from standard normal noise of that shape.

        Samplers that add noise draw it from `generator`, a generator on the CPU.
        """
        ...

    def decode(
        self,
        latents: Tensor,
        decode_t: int,
        on_chunk: Callable[[int, int], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> Tensor:
        """Frames (T, 3, H, W) in float32, in [-1, 1] but not clamped, decoded `decode_t` at a time.

        A temporal decoder sees only the frames of its chunk, so the split changes pixels. `on_chunk` is called with
        the number of frames done and T after every chunk; `on_notice` with a sentence where a chunk was decoded in
        another number format than was asked for, once for each sentence.
        """
        ...
