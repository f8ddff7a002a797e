"""Native engine: this project's own implementation of the complete computation."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from img2vid.engine.decoding import FrameDecoder, in_format, in_one_format
from img2vid.engine.encoder_cache import fingerprint
from img2vid.engine.fast.decoder import FastDecoder
from img2vid.engine.fast.tile_plan import TilePlan
from img2vid.engine.fast.unet import FastUNet
from img2vid.engine.interface import (
    DTYPES,
    Conditioning,
    ConditioningSettings,
    LoadOptions,
    OnStep,
    Parts,
    SamplerSettings,
    StepInfo,
)
from img2vid.engine.memory.accounting import ClipSize, Needs
from img2vid.engine.memory.device import free_on_card
from img2vid.engine.memory.offload import NETWORK, OffloadManager
from img2vid.engine.memory.plans import Plan, choose
from img2vid.engine.model import SvdModel
from img2vid.engine.sampling.block_cache import BlockCache
from img2vid.engine.sampling.denoiser import Denoiser
from img2vid.engine.sampling.discretization import make_sigmas
from img2vid.engine.sampling.guiders import Interval, guide, make_scales
from img2vid.engine.sampling.samplers import SAMPLERS
from img2vid.engine.sampling.validation import check_sampler_settings
from img2vid.engine.weights.checkpoint import assign, build_model, fill
from img2vid.engine.weights.shared_modules import SHARED, parts_of, prefix_of, reuse

CLIP, ENCODER = SHARED
FIRST_STAGE = "first_stage_model."


class NativeEngine:
    """Implementation of `img2vid.engine.interface.Engine` that requires only torch.

    Moves the network and the decoder from `model` into their optimized form; only the conditioner stays in `model`.
    """

    def __init__(self, model: SvdModel, options: LoadOptions, parts: Parts) -> None:
        self.model = model
        self.parts = parts
        self.device = device = options.device
        self.budget = budget = TilePlan.for_device(device, compiled=options.compile)
        network = FastUNet(model.network, budget)
        self.denoiser = Denoiser(network, DTYPES[options.precision])
        in_one_format(model.first_stage_model)
        self.decoder = FastDecoder(model.first_stage_model, TilePlan.for_decoder(device, compiled=options.compile))
        model.drop_fused()
        embedders = {key: model.conditioner.embedder(key) for key in SHARED}
        self.offload = OffloadManager({**embedders, "decoder": self.decoder}, network, device)
        self.plan = Plan()
        self._options = replace(options, on_bytes=None)
        config = model.config
        self.scale_factor = config.scale_factor
        self.size_step = config.size_step
        self.downsampling = config.first_stage.downsampling
        self.latent_channels = config.network_config.out_channels
        self.frame_decoder = FrameDecoder(self.decoder, self.scale_factor, device, options.decoder_precision)

    @classmethod
    def load(cls, options: LoadOptions, spare: Parts | None = None) -> "NativeEngine":
        """Load a checkpoint, except for spare modules that match it; `read_tensors` validates the file.

        Weights are loaded directly to the device only if memory is "resident".
        """
        home = options.device if options.memory == "resident" else torch.device("cpu")

        def place(name: str, tensor: Tensor) -> Tensor:
            return _place(name, tensor, options, home)

        model = build_model(options)
        taken = reuse(model, options, place, spare or {})
        fill(model, options, place)
        engine = cls(model, options, parts_of(model, options, taken))
        if options.memory in ("stages", "blocks"):
            engine.apply(Plan(options.memory, together=options.memory == "blocks"))
        return engine

    def apply(self, plan: Plan) -> None:
        """Apply a memory plan."""
        self.offload.apply(plan.memory)
        self.denoiser.together, self.decoder.lean = plan.together, plan.lean
        self.plan = plan

    @cached_property
    def needs(self) -> Needs:
        """GPU memory requirements of this model."""
        return needs_of(self._options)

    def plan_memory(self, size: ClipSize, free: int | None = None) -> Plan:
        """Choose and apply a plan with which a clip of this size fits in `free` bytes of GPU memory, and return it.

        Without CUDA, the plan is unchanged. Raise OutOfMemory if memory is "auto" and no plan fits.
        """
        if free is None:
            if self.device.type != "cuda":
                return self.plan
            free = free_on_card(self.device) + self.offload.bytes_on_device
        wanted = None if self._options.memory == "auto" else self._options.memory
        self.apply(choose(self.needs, size, free, wanted))
        return self.plan

    @torch.inference_mode()
    def condition(
        self,
        image: Tensor,
        settings: ConditioningSettings,
        *,
        cond_noise: Tensor,
        num_frames: int,
    ) -> tuple[Conditioning, Conditioning]:
        """See `Engine.condition`."""
        conditioner = self.model.conditioner

        def noisy_frame() -> Tensor:
            return image.to(self.device) + settings.cond_aug * cond_noise.to(self.device)

        embedding = self.parts[CLIP].seen(
            fingerprint(image), lambda: self._at_work(CLIP, lambda: conditioner.embed_image(image.to(self.device)))
        )
        latents = self.parts[ENCODER].seen(
            fingerprint(image, cond_noise, settings.cond_aug),
            lambda: self._at_work(ENCODER, lambda: conditioner.encode_frame(noisy_frame())),
        )
        return conditioner.clip(embedding, latents, settings.scalars(), num_frames)

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
            if scales is None or not interval.contains(sigma):
                return self.denoiser(x, sigma, [cond], cache)[0]
            unconditional, conditional = self.denoiser(x, sigma, [uncond, cond], cache)
            return guide(unconditional, conditional, scales)

        def after_step(step: int, denoised: Tensor) -> None:
            cache.next_step()
            if on_step is not None:
                on_step(StepInfo(step, settings.num_steps, float(sigmas[step]), denoised))

        def draw() -> Tensor:
            return torch.randn(noise.shape, generator=generator).to(self.device)

        x = noise * (1 + sigmas[0] ** 2).sqrt()
        sampler = SAMPLERS[settings.sampler]
        with self.offload.at_work(NETWORK), self.budget.at_work():
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
        with self.offload.at_work("decoder"):
            return self.frame_decoder(latents, decode_t, on_chunk, on_notice)

    def _at_work(self, part: str, compute: Callable[[], Tensor]) -> Tensor:
        with self.offload.at_work(part):
            return compute()


def needs_of(options: LoadOptions) -> Needs:
    """Return the GPU memory requirements of a model; reads only the configuration."""
    options = replace(options, device=torch.device("meta"), memory="resident")
    model = build_model(options)
    for name, tensor in model.weights().items():
        assign(model, name, torch.empty_like(tensor, dtype=_dtype_of(name, options)))
    engine = NativeEngine(model, options, {})
    return Needs(
        model.conditioner, engine.denoiser.network, engine.decoder, engine.frame_decoder.dtype, engine.downsampling
    )


def _place(name: str, tensor: Tensor, options: LoadOptions, home: torch.device) -> Tensor:
    """Return a weight in the model's number format and on its device."""
    dtype = _dtype_of(name, options)
    if name.startswith(FIRST_STAGE):
        return in_format(tensor, dtype).to(home)
    return tensor.to(home, dtype)


def _dtype_of(name: str, options: LoadOptions) -> torch.dtype:
    """Return the requested number format of a weight.

    The encoder of the conditioning frame is always in float32: it runs once per video, and its errors affect every
    frame.
    """
    if name.startswith(FIRST_STAGE):
        return DTYPES[options.decoder_precision]
    return torch.float32 if name.startswith(prefix_of(options, ENCODER)) else DTYPES[options.precision]
