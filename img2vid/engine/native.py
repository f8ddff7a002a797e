"""The native engine: this project's own implementation of the whole computation."""

from collections.abc import Callable

import torch
from torch import Tensor

from img2vid.engine.block_cache import BlockCache
from img2vid.engine.checkpoint import build_model, fill
from img2vid.engine.choices import check_sampler_settings
from img2vid.engine.decoding import FrameDecoder, in_format, in_one_format
from img2vid.engine.denoiser import Denoiser
from img2vid.engine.discretization import make_sigmas
from img2vid.engine.fused.budget import Budget
from img2vid.engine.fused.decoder import FusedDecoder
from img2vid.engine.fused.unet import FusedUNet
from img2vid.engine.guiders import Interval, guide, make_scales
from img2vid.engine.interface import DTYPES, Conditioning, LoadOrder, OnStep, Precision, SamplerSettings, StepInfo
from img2vid.engine.model import SvdModel
from img2vid.engine.remembering import fingerprint
from img2vid.engine.samplers import SAMPLERS
from img2vid.engine.sharing import Parts, parts_of, take_over


class NativeEngine:
    """Implements `img2vid.engine.interface.Engine` on torch alone.

    Takes the network and the decoder out of `model` and into their fast form; what is left of it is the conditioner.
    """

    def __init__(
        self,
        model: SvdModel,
        device: torch.device,
        precision: Precision,
        decoder_precision: Precision,
        parts: Parts,
        *,
        compiled: bool = False,
    ) -> None:
        self.model = model
        self.parts = parts
        self.device = device
        self.budget = budget = Budget.for_device(device, compiled=compiled)
        self.denoiser = Denoiser(FusedUNet(model.network, budget), DTYPES[precision])
        in_one_format(model.first_stage_model)
        decoder = FusedDecoder(model.first_stage_model, budget)
        model.forget_fused()
        config = model.config
        self.scale_factor = config.scale_factor
        self.size_step = config.size_step
        self.downsampling = config.first_stage.downsampling
        self.latent_channels = config.network_config.out_channels
        self.frame_decoder = FrameDecoder(decoder, self.scale_factor, device, decoder_precision)

    @classmethod
    def load(cls, order: LoadOrder) -> "NativeEngine":
        """Loads a checkpoint, but for the spare parts that it holds too; `read_tensors` says what is checked."""

        def place(name: str, tensor: Tensor) -> Tensor:
            return _place(name, tensor, order)

        model = build_model(order)
        taken = take_over(model, order, place, order.spare)
        fill(model, order, place)
        parts = parts_of(model, order, taken)
        return cls(model, order.device, order.precision, order.decoder_precision, parts, compiled=order.compile)

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
        conditioner = self.model.conditioner

        def noisy_frame() -> Tensor:
            return image.to(self.device) + cond_aug * cond_noise.to(self.device)

        embedding = self.parts["cond_frames_without_noise"].seen(
            fingerprint(image), lambda: conditioner.embed_image(image.to(self.device))
        )
        latents = self.parts["cond_frames"].seen(
            fingerprint(image, cond_noise, cond_aug), lambda: conditioner.encode_frame(noisy_frame())
        )
        # The models were trained with the frame rate counted from zero.
        scalars = {"fps_id": fps - 1, "motion_bucket_id": motion_bucket_id, "cond_aug": cond_aug}
        return conditioner.clip(embedding, latents, scalars, num_frames)

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
        with self.budget.at_work():
            return sampler(denoise, x, sigmas, after_step=after_step, draw=draw, **settings.sampler_params)

    @torch.inference_mode()
    def decode(
        self,
        latents: Tensor,
        decode_t: int,
        on_chunk: Callable[[int, int], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> Tensor:
        """See `Engine.decode`."""
        return self.frame_decoder(latents, decode_t, on_chunk, on_notice)


def _place(name: str, tensor: Tensor, order: LoadOrder) -> Tensor:
    """A weight as the model holds it.

    The encoder of the conditioning frame runs once for a video, and what it gets wrong stays in every frame of it:
    whatever the precision, it is kept in float32, so that latents do not depend on how frames are decoded.
    """
    if name.startswith("first_stage_model."):
        return in_format(tensor, DTYPES[order.decoder_precision]).to(order.device)
    keys = [entry.input_key for entry in order.config.conditioner_config.emb_models]
    encodes_frame = name.startswith(f"conditioner.embedders.{keys.index('cond_frames')}.")
    return tensor.to(order.device, torch.float32 if encodes_frame else DTYPES[order.precision])
