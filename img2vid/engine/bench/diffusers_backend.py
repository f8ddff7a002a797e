"""diffusers backend: its network, autoencoder and scheduler with a configuration's widths and random weights.

The stages follow its pipeline: both halves of a guided step run in one batch; with fp16, the decoder runs in fp16 and
the encoder in fp32. Weights are random, so time and memory are comparable with other backends, but outputs are not.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from img2vid.engine.bench.backends import COND_AUG, Run, Shape, conditioning_settings, draw_inputs
from img2vid.engine.config import (
    AutoencodingEngineConfig,
    DiffusionConfig,
    IdentityConfig,
    ImagePredictionEmbedderConfig,
    TimestepEmbedderConfig,
    VideoDecoderConfig,
    VideoUNetConfig,
)
from img2vid.engine.interface import DTYPES
from img2vid.engine.nets.clip import SIDE, architecture
from img2vid.errors import EngineUnavailable


def load(config: DiffusionConfig, folder: Path, device: str, precision: str) -> "DiffusersBackend":
    """Build the backend. Raise EngineUnavailable if packages are missing or diffusers does not support the model."""
    try:
        diffusers: Any = importlib.import_module("diffusers")
        transformers: Any = importlib.import_module("transformers")
        classes = (diffusers.UNetSpatioTemporalConditionModel, diffusers.AutoencoderKLTemporalDecoder)
        vision: Any = transformers.CLIPVisionModelWithProjection
    except Exception as error:  # a broken installation can raise any exception
        reason = " ".join(str(error).split())[:200]
        raise EngineUnavailable(
            f"importing diffusers failed with {type(error).__name__}: {reason}; "
            "run `python -m pip install -r requirements/bench.txt`"
        ) from error
    dtype = DTYPES[precision]  # type: ignore[index]
    with torch.device(device):
        network = classes[0](**network_arguments(config))
        autoencoder = classes[1](**autoencoder_arguments(config))
        clip = vision(transformers.CLIPVisionConfig(**vision_arguments(config, folder)))
    parts = [part.eval().requires_grad_(False) for part in (network, autoencoder, clip)]
    if dtype != torch.float32:  # diffusers warns about every conversion
        parts = [part.to(dtype) for part in parts]
    return DiffusersBackend(config, diffusers, parts, torch.device(device), dtype)


def network_arguments(config: DiffusionConfig) -> dict[str, Any]:
    """Return the arguments of `UNetSpatioTemporalConditionModel` for the widths of the configuration."""
    shape: VideoUNetConfig = config.network_config
    widths = [mult * shape.model_channels for mult in shape.channel_mult]
    attends = [2**level in shape.attention_resolutions for level in range(len(widths))]
    down = ["CrossAttnDownBlockSpatioTemporal" if yes else "DownBlockSpatioTemporal" for yes in attends]
    up = ["CrossAttnUpBlockSpatioTemporal" if yes else "UpBlockSpatioTemporal" for yes in reversed(attends)]
    embedders = [entry.embedder for entry in config.conditioner_config.emb_models]
    return {
        "in_channels": shape.in_channels,
        "out_channels": shape.out_channels,
        "block_out_channels": tuple(widths),
        "down_block_types": tuple(down),
        "up_block_types": tuple(up),
        "addition_time_embed_dim": next(e.outdim for e in embedders if isinstance(e, TimestepEmbedderConfig)),
        "projection_class_embeddings_input_dim": shape.adm_in_channels,
        "layers_per_block": shape.num_res_blocks,
        "cross_attention_dim": shape.context_dim,
        "transformer_layers_per_block": tuple(shape.depths),
        "num_attention_heads": tuple(shape.heads(width)[0] for width in widths),
    }


def autoencoder_arguments(config: DiffusionConfig) -> dict[str, Any]:
    """Return the arguments of `AutoencoderKLTemporalDecoder`; raise EngineUnavailable for unsupported architectures."""
    stage = config.first_stage_config
    if not isinstance(stage, AutoencodingEngineConfig) or not isinstance(stage.decoder_config, VideoDecoderConfig):
        raise EngineUnavailable("diffusers has no model with a frame-by-frame decoder")
    encoder, decoder = stage.encoder_config, stage.decoder_config
    if isinstance(encoder, IdentityConfig):
        raise EngineUnavailable("diffusers has no model without an encoder")
    if (encoder.ch, encoder.ch_mult, encoder.num_res_blocks) != (decoder.ch, decoder.ch_mult, decoder.num_res_blocks):
        raise EngineUnavailable("diffusers has no model whose encoder and decoder have different widths")
    widths = tuple(mult * decoder.ch for mult in decoder.ch_mult)
    return {
        "in_channels": decoder.in_channels,
        "out_channels": decoder.out_ch,
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "block_out_channels": widths,
        "layers_per_block": decoder.num_res_blocks,
        "latent_channels": decoder.z_channels,
        "scaling_factor": config.scale_factor,
    }


def vision_arguments(config: DiffusionConfig, folder: Path) -> dict[str, Any]:
    """Return the arguments of `CLIPVisionConfig` of transformers."""
    embedders = [entry.embedder for entry in config.conditioner_config.emb_models]
    clip = next(e for e in embedders if isinstance(e, ImagePredictionEmbedderConfig)).open_clip_embedding_config
    arch = architecture(clip.arch, folder)
    tower: dict[str, Any] = arch["vision_cfg"]
    width = int(tower["width"])
    return {
        "hidden_size": width,
        "intermediate_size": int(width * tower.get("mlp_ratio", 4.0)),
        "projection_dim": int(arch["embed_dim"]),
        "num_hidden_layers": int(tower["layers"]),
        "num_attention_heads": width // int(tower.get("head_width", 64)),
        "image_size": SIDE,
        "patch_size": int(tower["patch_size"]),
        "hidden_act": "gelu",
    }


class DiffusersBackend:
    """Diffusers implementation of `img2vid.engine.bench.backends.Backend`."""

    lacks: Mapping[str, str] = {}

    def __init__(
        self,
        config: DiffusionConfig,
        diffusers: Any,
        parts: list[Any],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.config = config
        self.diffusers = diffusers
        self.network, self.autoencoder, self.clip = parts
        self.device = device
        self.dtype = dtype
        self.size_step = config.size_step

    def prepare(self, stage: str, shape: Shape, seed: int = 0) -> Run:
        """See `Backend.prepare`."""
        inputs = draw_inputs(self.config, shape, seed)

        def batch(values: Tensor) -> Tensor:
            return values.to(self.device, self.dtype)[None]

        if stage == "condition":
            image = inputs.image.to(self.device)
            noisy = image + COND_AUG * inputs.cond_noise.to(self.device)
            return lambda: self._condition(image, noisy)
        if stage == "step":
            context, concat = (
                torch.cat([batch(getattr(part, name)[:frames]) for part in (inputs.uncond, inputs.cond)])
                for name, frames in (("crossattn", 1), ("concat", shape.num_frames))
            )
            noise = batch(inputs.noise)
            return lambda: self._steps(noise, context[:, 0], concat, shape.steps)
        return lambda: self._decode(batch(inputs.latents)[0], shape.decode_t)

    @torch.inference_mode()
    def _condition(self, image: Tensor, noisy: Tensor) -> list[Tensor]:
        """Encode image and noisy image, (1, 3, H, W) in [-1, 1]."""
        small = torch.nn.functional.interpolate(image, (SIDE, SIDE), mode="bicubic", antialias=True)
        embedding = self.clip(small.to(self.dtype)).image_embeds
        half = self.dtype == torch.float16
        # The diffusers pipeline converts the autoencoder to float32 while it encodes.
        autoencoder = self.autoencoder.to(torch.float32) if half else self.autoencoder
        latents = autoencoder.encode(noisy.to(torch.float32 if half else self.dtype)).latent_dist.mode()
        if half:
            self.autoencoder.to(self.dtype)
        return [embedding, latents]

    @torch.inference_mode()
    def _steps(self, noise: Tensor, context: Tensor, concat: Tensor, steps: int) -> list[Tensor]:
        """Sample from noise (1, T, z, h, w) with context (2, 1, D) and concat (2, T, z, h, w)."""
        scheduler: Any = self.diffusers.EulerDiscreteScheduler(
            prediction_type="v_prediction",
            timestep_type="continuous",
            timestep_spacing="leading",
            use_karras_sigmas=True,
            sigma_min=0.002,
            sigma_max=700.0,
        )
        scheduler.set_timesteps(steps, device=self.device)
        scales = torch.linspace(1.0, 2.5, noise.shape[1], device=self.device, dtype=self.dtype)[
            None, :, None, None, None
        ]
        settings = conditioning_settings(self.config, noise.shape[1])
        rows = [[values[0] for values in settings.numbers(self.config.input_keys).values()]] * 2
        numbers = torch.tensor(rows, device=self.device, dtype=self.dtype)
        latents = noise * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            scaled = scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
            net_in = torch.cat([scaled, concat], dim=2)
            uncond, cond = self.network(net_in, timestep, context, numbers, return_dict=False)[0].chunk(2)
            latents = scheduler.step(uncond + scales * (cond - uncond), timestep, latents).prev_sample
        return [latents[0]]

    @torch.inference_mode()
    def _decode(self, latents: Tensor, decode_t: int) -> list[Tensor]:
        """Decode latents (T, z, h, w)."""
        frames = [
            self.autoencoder.decode(chunk / self.config.scale_factor, num_frames=len(chunk)).sample
            for chunk in torch.split(latents, decode_t)
        ]
        return [torch.cat(frames).float().cpu()]
