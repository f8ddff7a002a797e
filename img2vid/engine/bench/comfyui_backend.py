"""ComfyUI backend: its network, sampler and autoencoder with the checkpoint's weights, from the user's folder.

It attends with torch, as ComfyUI does on graphics cards, and decides by itself what moves to the device and when. Its
CLIP has one size only, so it does not condition.
"""

import importlib
import logging
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from img2vid.engine.bench.backends import Inputs, Model, Run, Shape, draw_inputs
from img2vid.engine.config import AutoencodingEngineConfig, DiffusionConfig, IdentityConfig, VideoDecoderConfig
from img2vid.engine.interface import DTYPES
from img2vid.engine.weights.diffusers_names import FIRST_STAGE, UNET
from img2vid.errors import EngineUnavailable, shown

MODULES = (
    *("utils", "model_detection", "model_patcher", "supported_models", "latent_formats", "conds", "samplers", "sample"),
    *("k_diffusion.sampling", "sd", "ldm.models.autoencoder"),
)
MIN_SCALE, MAX_SCALE = 1.0, 2.5


def load(config: DiffusionConfig, model: Model) -> "ComfyUIBackend":
    """Load the checkpoint. Raise EngineUnavailable if ComfyUI's packages are missing or it does not know the model."""
    decoder, encoder = _stage_arguments(config)
    comfy = import_modules(Path(model.comfyui), model.options.device)
    device, dtype = torch.device(model.options.device), DTYPES[model.options.precision]  # type: ignore[index]
    weights = comfy.utils.load_torch_file(model.checkpoint)
    try:
        patcher = _network(comfy, config, weights, device, dtype)
        autoencoder = _autoencoder(comfy, weights, encoder, decoder, device, dtype)
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        reason = shown(" ".join(str(error).split()))
        raise EngineUnavailable(f"ComfyUI cannot hold this model ({type(error).__name__}: {reason})") from error
    return ComfyUIBackend(config, comfy, patcher, autoencoder)


def import_modules(folder: Path, device: str) -> Any:
    """Return ComfyUI's modules by the last part of their names. Raise EngineUnavailable if one cannot be imported."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        options: Any = importlib.import_module("comfy.cli_args").args
        options.cpu, options.use_pytorch_cross_attention, options.disable_xformers = device == "cpu", True, True
        return SimpleNamespace(
            **{name.rpartition(".")[2]: importlib.import_module(f"comfy.{name}") for name in MODULES}
        )
    except ModuleNotFoundError as error:
        raise EngineUnavailable(
            f"ComfyUI needs the package {error.name}; run `python -m pip install {error.name}`, or the benchmark with "
            "ComfyUI's Python"
        ) from error
    except Exception as error:  # another version of a package can raise any exception
        reason = shown(" ".join(str(error).split()))
        raise EngineUnavailable(
            f"importing ComfyUI from {folder} failed with {type(error).__name__}: {reason}; run its own "
            "`python main.py --cpu` to see why"
        ) from error


def _stage_arguments(config: DiffusionConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of ComfyUI's decoder and encoder; raise EngineUnavailable for unsupported architectures."""
    stage = config.first_stage_config
    if (
        not isinstance(stage, AutoencodingEngineConfig)
        or not isinstance(stage.decoder_config, VideoDecoderConfig)
        or isinstance(stage.encoder_config, IdentityConfig)
    ):
        raise EngineUnavailable("ComfyUI's only autoencoder of videos has an encoder and a temporal decoder")
    names = ("z_channels", "in_channels", "out_ch", "ch", "ch_mult", "num_res_blocks")
    usual: dict[str, Any] = {"double_z": True, "resolution": 256, "attn_resolutions": [], "dropout": 0.0}
    decoder, encoder = (
        {**usual, **{name: getattr(part, name) for name in names}}
        for part in (stage.decoder_config, stage.encoder_config)
    )
    return {**decoder, "video_kernel_size": stage.decoder_config.video_kernel_size, "alpha": 0.0}, encoder


def _network(
    comfy: Any, config: DiffusionConfig, weights: dict[str, Tensor], device: torch.device, dtype: torch.dtype
) -> Any:
    """Return the network in ComfyUI's memory management."""
    shape = config.network_config
    svd = comfy.supported_models.SVD_img2vid
    latents: Any = type("Latents", (comfy.latent_formats.SD15,), {"latent_channels": shape.out_channels})
    own = {
        "latent_format": partial(latents, config.scale_factor),
        "unet_extra_config": {**svd.unet_extra_config, "num_head_channels": shape.heads(shape.model_channels)[1]},
    }
    kind = type("Model", (svd,), own)(comfy.model_detection.detect_unet_config(weights, UNET))
    kind.set_inference_dtype(dtype, None)
    network = kind.get_model(weights, UNET, device="cpu")
    network.load_model_weights(weights, UNET)

    def conditioned(**given: Any) -> dict[str, Any]:
        return {
            "y": comfy.conds.CONDRegular(given["vector"]),
            "c_concat": comfy.conds.CONDNoiseShape(given["concat"]),
            "c_crossattn": comfy.conds.CONDCrossAttn(given["cross_attn"]),
            "num_video_frames": comfy.conds.CONDConstant(len(given["noise"])),
        }

    network.extra_conds = conditioned
    patcher = comfy.model_patcher.ModelPatcher(network, load_device=device, offload_device=torch.device("cpu"))
    patcher.set_model_sampler_cfg_function(_guided)
    return patcher


def _guided(given: dict[str, Any]) -> Tensor:
    """Guide with a scale that rises linearly from frame to frame."""
    cond, uncond = given["cond"], given["uncond"]
    scales = torch.linspace(MIN_SCALE, given["cond_scale"], len(cond), device=cond.device)
    return uncond + scales.view(-1, 1, 1, 1) * (cond - uncond)


def _autoencoder(
    comfy: Any,
    weights: dict[str, Tensor],
    encoder: dict[str, Any],
    decoder: dict[str, Any],
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    """Return the autoencoder as ComfyUI loads it, which knows full-size ones only, with these widths."""
    modules = "comfy.ldm.modules"
    of_model: dict[str, Any] = {
        "encoder_config": {"target": f"{modules}.diffusionmodules.model.Encoder", "params": encoder},
        "decoder_config": {"target": f"{modules}.temporal_ae.VideoDecoder", "params": decoder},
    }
    usual = comfy.sd.AutoencodingEngine

    def with_widths(**given: Any) -> Any:
        return usual(**{**given, **of_model})

    comfy.sd.AutoencodingEngine = with_widths
    logging.disable(logging.WARNING)  # about the encoder, which is not used and may be missing
    try:
        stage = {name[len(FIRST_STAGE) :]: value for name, value in weights.items() if name.startswith(FIRST_STAGE)}
        # Otherwise ComfyUI chooses the format: float32 on a CPU, half precision on cards.
        format_ = torch.float32 if dtype == torch.float32 else None
        return comfy.sd.VAE(sd=stage, device=device, dtype=format_)
    finally:
        logging.disable(logging.NOTSET)
        comfy.sd.AutoencodingEngine = usual


class ComfyUIBackend:
    """ComfyUI implementation of `img2vid.engine.bench.backends.Backend`."""

    lacks: Mapping[str, str] = {"condition": "its CLIP has one size only"}

    def __init__(self, config: DiffusionConfig, comfy: Any, network: Any, autoencoder: Any) -> None:
        self.config = config
        self.comfy = comfy
        self.network = network
        self.autoencoder = autoencoder
        self.size_step = config.size_step

    def prepare(self, stage: str, shape: Shape, seed: int = 0) -> Run:
        """See `Backend.prepare`."""
        inputs = draw_inputs(self.config, shape, seed)
        if stage == "step":
            return lambda: self._steps(inputs, shape.steps)
        return lambda: self._decode(inputs.latents, shape.decode_t)

    @torch.inference_mode()
    def _steps(self, inputs: Inputs, steps: int) -> list[Tensor]:
        """Sample with Euler steps and SVD's noise levels, like `SamplerSettings`."""
        halves = [
            [[part.crossattn[:1], {"concat": part.concat, "vector": part.vector}]]
            for part in (inputs.cond, inputs.uncond)
        ]
        levels = self.comfy.sampling.get_sigmas_karras(steps, 0.002, 700.0, 7.0)
        euler = self.comfy.samplers.sampler_object("euler")
        nothing = torch.zeros_like(inputs.noise)
        latents = self.comfy.sample.sample_custom(
            *(self.network, inputs.noise, MAX_SCALE, euler, levels, *halves, nothing), disable_pbar=True, seed=0
        )
        return [latents * self.config.scale_factor]

    @torch.inference_mode()
    def _decode(self, latents: Tensor, decode_t: int) -> list[Tensor]:
        """Decode latents (T, z, h, w)."""
        parts = [self.autoencoder.decode(part) for part in torch.split(latents / self.config.scale_factor, decode_t)]
        return [torch.cat(parts).movedim(-1, 1) * 2 - 1]
