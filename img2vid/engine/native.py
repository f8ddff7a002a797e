"""The native engine: this project's own implementation of the whole computation."""

from collections.abc import Callable

import torch
from torch import Tensor

from img2vid.engine.block_cache import BlockCache
from img2vid.engine.checkpoint import load_model
from img2vid.engine.choices import check_sampler_settings
from img2vid.engine.config import DiffusionConfig
from img2vid.engine.denoiser import Denoiser
from img2vid.engine.discretization import make_sigmas
from img2vid.engine.fused.budget import Budget
from img2vid.engine.fused.decoder import FusedDecoder
from img2vid.engine.fused.unet import FusedUNet
from img2vid.engine.guiders import Interval, guide, make_scales
from img2vid.engine.interface import DTYPES, Conditioning, LoadOrder, OnStep, Precision, SamplerSettings, StepInfo
from img2vid.engine.model import SvdModel
from img2vid.engine.samplers import SAMPLERS
from img2vid.errors import BadInput


class NativeEngine:
    """Implements `img2vid.engine.interface.Engine` on torch alone.

    Takes the network and the decoder out of `model` and into their fast form; what is left of it is the conditioner.
    """

    def __init__(self, model: SvdModel, device: torch.device, precision: Precision) -> None:
        self.model = model
        self.device = device
        budget = Budget.for_device(device)
        self.denoiser = Denoiser(FusedUNet(model.network, budget), DTYPES[precision])
        self.decoder = FusedDecoder(model.first_stage_model, budget)
        model.forget_fused()
        config = model.config
        self.scale_factor = config.scale_factor
        self.size_step = config.size_step
        self.downsampling = config.first_stage.downsampling
        self.latent_channels = config.network_config.out_channels

    @classmethod
    def load(cls, order: LoadOrder) -> "NativeEngine":
        """Loads a checkpoint; `load_model` says what is checked."""
        dtype = DTYPES[order.precision]

        def place(name: str, tensor: Tensor) -> Tensor:
            return tensor.to(order.device, torch.float32 if _stays_float32(name, order.config) else dtype)

        model = load_model(order, place)
        return cls(model, order.device, order.precision)

    @torch.inference_mode()
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
        """See `Engine.condition`."""
        image, cond_noise = image.to(self.device), cond_noise.to(self.device)
        # The models were trained with the frame rate counted from zero.
        scalars = {"fps_id": fps - 1, "motion_bucket_id": motion_bucket_id, "cond_aug": cond_aug}
        return self.model.conditioner.clip(image, image + cond_aug * cond_noise, scalars, num_frames)

    @torch.inference_mode()
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
        """See `Engine.sample`."""
        check_sampler_settings(settings)
        sigmas = make_sigmas(settings.discretization, settings.num_steps, dict(settings.discretization_params))
        scales = make_scales(settings.guider, noise.shape[0], dict(settings.guider_params))
        sigmas, noise = sigmas.to(self.device), noise.to(self.device)
        scales = None if scales is None else scales.to(self.device)
        interval = Interval(settings.guidance_sigma_min, settings.guidance_sigma_max)
        cache = BlockCache(settings.block_cache)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            if scales is None or not interval.holds(sigma):
                return self.denoiser(x, sigma, [cond], cache)[0]
            without, with_picture = self.denoiser(x, sigma, [uncond, cond], cache)
            return guide(without, with_picture, scales)

        def after_step(step: int, denoised: Tensor) -> None:
            cache.next_step()
            if on_step is not None:
                on_step(StepInfo(step, settings.num_steps, float(sigmas[step]), denoised))

        def draw() -> Tensor:
            return torch.randn(noise.shape, generator=generator).to(self.device)

        x = noise * (1 + sigmas[0] ** 2).sqrt()
        sampler = SAMPLERS[settings.sampler]
        return sampler(denoise, x, sigmas, after_step=after_step, draw=draw, **settings.sampler_params)

    @torch.inference_mode()
    def decode(self, latents: Tensor, decode_t: int, on_chunk: Callable[[int, int], None] | None = None) -> Tensor:
        """See `Engine.decode`."""
        if decode_t < 1:
            raise BadInput(f"decode_t must be at least 1 frame at a time, got {decode_t}")
        frames: list[Tensor] = []
        for chunk in torch.split(latents.to(self.device), decode_t):
            frames.append(self.decoder(chunk / self.scale_factor).cpu())
            if on_chunk is not None:
                on_chunk(sum(len(part) for part in frames), len(latents))
        return torch.cat(frames)


def _stays_float32(name: str, config: DiffusionConfig) -> bool:
    """Autoencoders overflow in float16, which blackens frames; they are kept in float32 whatever the precision."""
    frame_encoder = [entry.input_key for entry in config.conditioner_config.emb_models].index("cond_frames")
    return name.startswith(("first_stage_model.", f"conditioner.embedders.{frame_encoder}."))
