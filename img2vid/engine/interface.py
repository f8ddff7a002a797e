"""Engine interface shared by the native and the sgm engine."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from img2vid.engine.config import DiffusionConfig
from img2vid.engine.encoder_cache import EncoderCache
from img2vid.errors import BadInput, shown
from img2vid.options import LoadOptions

DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
NUMBERS: Mapping[str, str] = {
    "fps_id": "fps",
    "motion_bucket_id": "motion_bucket_id",
    "cond_aug": "cond_aug",
    "polars_rad": "polars_rad",
    "azimuths_rad": "azimuths_rad",
}
"""Fields of ConditioningSettings by the input keys of the embedders."""
PER_FRAME = ("polars_rad", "azimuths_rad")
"""Input keys of embedders whose number differs between frames."""
OnBytes = Callable[[int, int], None]
"""Callback with the bytes loaded so far and the total."""


@dataclass(frozen=True)
class Conditioning:
    """Conditioning of the network for a clip of T frames; all tensors in float32.

    crossattn: (T, 1, D), the CLIP embedding of the image; concat: (T, z, h, w), the latents of the conditioning frame;
    vector: (T, adm), embeddings of the numbers that the model is conditioned on.
    """

    crossattn: Tensor
    concat: Tensor
    vector: Tensor


@dataclass(frozen=True)
class ConditioningSettings:
    """Conditioning of the network besides the image; None for numbers that the model is not conditioned on.

    cond_aug: standard deviation of the noise on the conditioning frame. fps: frames per second. motion_bucket_id: 0
    (still) to 255. polars_rad, azimuths_rad: position of the camera in each frame, in radians.
    """

    cond_aug: float
    num_frames: int
    fps: float | None = None
    motion_bucket_id: float | None = None
    polars_rad: Sequence[float] | None = None
    azimuths_rad: Sequence[float] | None = None

    def numbers(self, input_keys: Collection[str]) -> dict[str, Sequence[float]]:
        """Return the numbers of every frame by the given input keys of embedders; SVD was trained on fps - 1.

        Raise BadInput unless they are exactly the numbers that the model is conditioned on, with one angle a frame.
        """
        for key, name in NUMBERS.items():
            value: float | Sequence[float] | None = getattr(self, name)
            if key in input_keys and value is None:
                raise BadInput(f"this model is conditioned on {name}, which is missing; give it")
            # Every model adds noise to the conditioning frame, even if no embedder describes it.
            if key not in input_keys and value is not None and name != "cond_aug":
                raise BadInput(f"this model is not conditioned on {name}, got {shown(str(value))}; leave it out")
            if isinstance(value, Sequence) and len(value) != self.num_frames:
                raise BadInput(f"{name} must have one angle a frame, got {len(value)} for {self.num_frames} frames")
        values: dict[str, Any] = {key: getattr(self, name) for key, name in NUMBERS.items() if key in input_keys}
        if "fps_id" in values:
            values["fps_id"] -= 1
        return {key: v if isinstance(v, Sequence) else [v] * self.num_frames for key, v in values.items()}


def conditioned_on(input_keys: Collection[str]) -> list[str]:
    """Return the fields of ConditioningSettings that embedders with these input keys need."""
    return [name for key, name in NUMBERS.items() if key in input_keys]


@dataclass(frozen=True)
class SamplerSettings:
    """Sampler, guider and discretization, with the reference's class names, parameters and defaults.

    sampler_params: s_churn, s_tmin, s_tmax, s_noise (EDM), eta, s_noise (ancestral), order (linear multistep);
    guider_params: scale (VanillaCFG), max_scale, min_scale (linear), and period, period_fusing (triangle);
    discretization_params: sigma_min, sigma_max, rho (EDM), linear_start, linear_end, num_timesteps (LegacyDDPM).

    The last three are approximations, off by default. Guidance is applied only at noise levels from guidance_sigma_min
    to guidance_sigma_max. The inner blocks of the network are computed only at every block_cache-th step.
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
    """State after a step: `step` of `total` steps are done and the noise level is `sigma`.

    denoised: (T, z, h, w), the guided estimate of the clean latents that the step used.
    """

    step: int
    total: int
    sigma: float
    denoised: Tensor


OnStep = Callable[[StepInfo], None]
"""Callback after every step; an exception raised from it stops the run."""


FileId = tuple[str, int, int]
"""Path, size and modification time (ns) of a checkpoint."""


@dataclass(frozen=True)
class SharedModule:
    """Embedder that several models can share, with its weights on their device.

    signature: everything that defines it except the weights. files: checkpoints known to contain the same weights.
    seen: cached outputs for recent images.
    """

    module: nn.Module
    signature: str
    files: frozenset[FileId]
    seen: EncoderCache = field(default_factory=EncoderCache)


Parts = Mapping[str, SharedModule]
"""Shared modules by the input key of the embedder."""


@dataclass(frozen=True)
class ModelSource:
    """Files of a model and options without `auto`, except for `memory`. Only the checkpoint has not been read yet.

    unet: diffusers file of the UNet to use instead of the checkpoint's.
    """

    config_path: Path
    checkpoint: Path
    config: DiffusionConfig
    options: LoadOptions
    unet: Path | None = None


class Engine(Protocol):
    """Loaded model."""

    size_step: int
    """Pixels that height and width must be multiples of."""
    downsampling: int
    """Pixels per latent along each side."""
    latent_channels: int
    scale_factor: float
    """Ratio of sampled latents to the autoencoder's latents."""
    conditioned_on: list[str]
    """Fields of ConditioningSettings that the model's embedders need."""
    parts: Parts
    """Modules that the next model may reuse; see `img2vid.engine.weights.shared_modules`."""

    def condition(
        self,
        image: Tensor,
        settings: ConditioningSettings,
        *,
        cond_noise: Tensor,
    ) -> tuple[Conditioning, Conditioning]:
        """Return the conditional and the unconditional conditioning of a clip.

        Both image embeddings are zero in the unconditional one. image: (1, 3, H, W) in [-1, 1]. cond_noise: standard
        normal noise of the same shape; the encoder's input is image + cond_aug * cond_noise.
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
        """Return clean latents (T, z, h, w) in float32 from standard normal noise of that shape.

        Samplers that add noise draw it from `generator`, a CPU generator.
        """
        ...

    def decode(
        self,
        latents: Tensor,
        decode_t: int,
        on_chunk: Callable[[int, int], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> Tensor:
        """Return frames (T, 3, H, W) in float32, nominally in [-1, 1] but not clamped, decoded `decode_t` at a time.

        A temporal decoder sees only the frames of its chunk, so the chunk size changes pixels. After every chunk,
        `on_chunk` is called with the number of decoded frames and T. `on_notice` is called once with each distinct
        message about a chunk decoded in another number format than requested.
        """
        ...
