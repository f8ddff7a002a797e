"""Native engine: this project's own implementation of the complete computation."""

from collections.abc import Callable, Mapping
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
    ModelSource,
    OnBytes,
    OnStep,
    Parts,
    SamplerSettings,
    StepInfo,
    conditioned_on,
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
from img2vid.engine.weights.diffusers_names import UNET
from img2vid.engine.weights.packed import is_packed, scale_of, with_scale
from img2vid.engine.weights.shared_modules import SHARED, parts_of, prefix_of, reuse

CLIP, ENCODER = SHARED
FIRST_STAGE = "first_stage_model."


class NativeEngine:
    """Implementation of `img2vid.engine.interface.Engine` that requires only torch.

    Moves the network and the decoder from `model` into their optimized form; only the conditioner stays in `model`.
    """

    def __init__(self, model: SvdModel, source: ModelSource, parts: Parts) -> None:
        self.model = model
        self._packed = {
            name: (tensor.dtype, scale_of(tensor).shape)
            for name, tensor in model.weights().items()
            if is_packed(tensor)
        }
        self.parts = parts
        self.device = device = torch.device(source.options.device)
        self.budget = budget = TilePlan.for_device(device, compiled=source.options.compile)
        network = FastUNet(model.network, budget)
        self.denoiser = Denoiser(network, DTYPES[source.options.precision])
        in_one_format(model.first_stage_model)
        self.decoder = FastDecoder(
            model.first_stage_model, TilePlan.for_decoder(device, compiled=source.options.compile)
        )
        model.drop_fused()
        embedders = {key: model.conditioner.embedder(key) for key in SHARED}
        self.offload = OffloadManager({**embedders, "decoder": self.decoder}, network, device)
        self.plan = Plan()
        self._source = source
        config = model.config
        self.scale_factor = config.scale_factor
        self.size_step = config.size_step
        self.downsampling = config.first_stage.downsampling
        self.latent_channels = config.network_config.out_channels
        self.conditioned_on = conditioned_on(config.input_keys)
        self.frame_decoder = FrameDecoder(self.decoder, self.scale_factor, device, source.options.decoder_precision)

    @classmethod
    def load(cls, source: ModelSource, spare: Parts | None = None, on_bytes: OnBytes | None = None) -> "NativeEngine":
        """Load a checkpoint, except for spare modules that match it; `read_tensors` validates the file.

        Weights are loaded directly to the device only if memory is "resident".
        """
        home = torch.device(source.options.device if source.options.memory == "resident" else "cpu")

        def place(name: str, tensor: Tensor) -> Tensor:
            return _place(name, tensor, source, home)

        model = build_model(source)
        taken = reuse(model, source, place, spare or {})
        fill(model, source, place, on_bytes, packable(model, source).__contains__)
        engine = cls(model, source, parts_of(model, source, taken))
        if source.options.memory in ("stages", "blocks"):
            engine.apply(Plan(source.options.memory, together=source.options.memory == "blocks"))
        return engine

    def apply(self, plan: Plan) -> None:
        """Apply a memory plan."""
        self.offload.apply(plan.memory)
        self.denoiser.together, self.decoder.low_memory = plan.together, plan.low_memory
        self.plan = plan

    @cached_property
    def needs(self) -> Needs:
        """GPU memory requirements of this model."""
        return needs_of(self._source, self._packed)

    def plan_memory(self, size: ClipSize, free: int | None = None) -> Plan:
        """Choose and apply a plan with which a clip of this size fits in `free` bytes of GPU memory, and return it.

        Without CUDA, the plan is unchanged. Raise OutOfMemory if memory is "auto" and no plan fits.
        """
        if free is None:
            if self.device.type != "cuda":
                return self.plan
            free = free_on_card(self.device) + self.offload.bytes_on_device
        wanted = None if self._source.options.memory == "auto" else self._source.options.memory
        self.apply(choose(self.needs, size, free, wanted))
        return self.plan

    @torch.inference_mode()
    def condition(
        self,
        image: Tensor,
        settings: ConditioningSettings,
        *,
        cond_noise: Tensor,
    ) -> tuple[Conditioning, Conditioning]:
        """See `Engine.condition`."""
        conditioner = self.model.conditioner
        settings.numbers(conditioner.input_keys)  # mistakes are reported before the encoders run

        def noisy_frame() -> Tensor:
            return image.to(self.device) + settings.cond_aug * cond_noise.to(self.device)

        embedding = self.parts[CLIP].seen(
            fingerprint(image), lambda: self._at_work(CLIP, lambda: conditioner.embed_image(image.to(self.device)))
        )
        latents = self.parts[ENCODER].seen(
            fingerprint(image, cond_noise, settings.cond_aug),
            lambda: self._at_work(ENCODER, lambda: conditioner.encode_frame(noisy_frame())),
        )
        return conditioner.clip(embedding, latents, settings)

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


def needs_of(source: ModelSource, packed: Mapping[str, tuple[torch.dtype, torch.Size]] | None = None) -> Needs:
    """Return the GPU memory requirements of a model; reads only the configuration.

    packed: number format, and shape of the scale, of the weights that keep a format of one byte per value.
    """
    source = replace(source, options=replace(source.options, device="meta", memory="resident"))
    model = build_model(source)
    for name, tensor in model.weights().items():
        dtype, scale = (packed or {}).get(name, (_dtype_of(name, source), None))
        empty = torch.empty_like(tensor, dtype=dtype)
        assign(model, name, empty if scale is None else with_scale(empty, torch.empty(scale, device="meta")))
    engine = NativeEngine(model, source, {})
    return Needs(
        model.conditioner, engine.denoiser.network, engine.decoder, engine.frame_decoder.dtype, engine.downsampling
    )


def _place(name: str, tensor: Tensor, source: ModelSource, home: torch.device) -> Tensor:
    """Return a weight in the model's number format and on its device."""
    if is_packed(tensor):
        return with_scale(tensor.to(home), scale_of(tensor).to(home))
    dtype = _dtype_of(name, source)
    if name.startswith(FIRST_STAGE):
        return in_format(tensor, dtype).to(home)
    return tensor.to(home, dtype)


def packable(model: SvdModel, source: ModelSource) -> frozenset[str]:
    """Return the weights that keep a format of one byte per value until they are used: the network's matrices."""
    if source.options.device.startswith("mps"):  # torch has no float8 there
        return frozenset()
    return frozenset(name for name, one in model.weights().items() if name.startswith(UNET) and one.ndim > 1)


def _dtype_of(name: str, source: ModelSource) -> torch.dtype:
    """Return the requested number format of a weight.

    The encoder of the conditioning frame is always in float32: it runs once per video, and its errors affect every
    frame.
    """
    if name.startswith(FIRST_STAGE):
        return DTYPES[source.options.decoder_precision]
    return torch.float32 if name.startswith(prefix_of(source, ENCODER)) else DTYPES[source.options.precision]
