"""A tiny SDXL with random weights: built with diffusers and transformers, saved as one file in Stability's names."""

import importlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

WIDTH_1, WIDTH_2 = 32, 64
"""Widths of the text encoders, which differ as in SDXL."""
TEXT: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
CONFIG: dict[str, dict[str, Any]] = {
    "text_encoder": {
        **TEXT,
        **{"hidden_size": WIDTH_1, "intermediate_size": 64, "projection_dim": WIDTH_1, "hidden_act": "quick_gelu"},
    },
    "text_encoder_2": {
        **TEXT,
        **{"hidden_size": WIDTH_2, "intermediate_size": 128, "projection_dim": WIDTH_2, "hidden_act": "gelu"},
    },
    "unet": {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [32, 64],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "transformer_layers_per_block": [1, 1],
        "attention_head_dim": [2, 4],
        "cross_attention_dim": WIDTH_1 + WIDTH_2,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + WIDTH_2,
        "norm_num_groups": 8,
    },
    "vae": {
        "sample_size": 64,
        "block_out_channels": [8, 16, 16, 16],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "scaling_factor": 0.13025,
        "norm_num_groups": 4,
    },
    "scheduler": {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
        "steps_offset": 1,
        "timestep_spacing": "leading",
    },
}
_RESIDUAL = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "conv_shortcut.": "skip_connection.",
}
_UNET = {
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.",
    "conv_in.": "input_blocks.0.0.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
    "mid_block.resnets.0.": "middle_block.0.",
    "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
}
_VAE = {
    "mid_block.resnets.0.": "mid.block_1.",
    "mid_block.resnets.1.": "mid.block_2.",
    "mid_block.attentions.0.": "mid.attn_1.",
    "conv_norm_out.": "norm_out.",
    "conv_shortcut.": "nin_shortcut.",
    "group_norm.": "norm.",
    "to_q.": "q.",
    "to_k.": "k.",
    "to_v.": "v.",
    "to_out.0.": "proj_out.",
}
_OPEN_CLIP = {
    "encoder.layers.": "transformer.resblocks.",
    "layer_norm1.": "ln_1.",
    "layer_norm2.": "ln_2.",
    "self_attn.out_proj.": "attn.out_proj.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
    "embeddings.token_embedding.": "token_embedding.",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.": "ln_final.",
}


def row(folder: Path) -> dict[str, Any]:
    """Return the row of the model, whose pictures have 64 x 64 pixels."""
    return {
        "config": str(folder / "tiny_sdxl.yaml"),
        "checkpoint": str(folder / "tiny_sdxl.safetensors"),
        "pixels": 64 * 64,
        "steps": 2,
        "guidance": 5.0,
        "licence": "MIT",
        "source": "random weights",
    }


def build(folder: Path) -> None:
    """Write the checkpoint and its configuration to a folder."""
    (folder / "tiny_sdxl.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    tensors = single_file(parts())
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "tiny_sdxl.safetensors")


def parts() -> dict[str, nn.Module]:
    """Return the networks with random weights, the same in every process."""
    diffusers: Any = importlib.import_module("diffusers")
    transformers: Any = importlib.import_module("transformers")

    first, second = (transformers.CLIPTextConfig(**CONFIG[name]) for name in ("text_encoder", "text_encoder_2"))
    made: dict[str, nn.Module] = {
        "text_encoder": transformers.CLIPTextModel(first),
        "text_encoder_2": transformers.CLIPTextModelWithProjection(second),
        "unet": diffusers.UNet2DConditionModel(**CONFIG["unet"]),
        "vae": diffusers.AutoencoderKL(**CONFIG["vae"]),
    }
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in made.values():
            for name, weight in sorted(module.named_parameters()):
                noise = torch.randn(weight.shape, generator=generator)
                if weight.ndim > 1:
                    weight.copy_(noise / math.sqrt(math.prod(weight.shape[1:])))
                else:
                    weight.copy_(0.1 * noise + (1 if "norm" in name and name.endswith("weight") else 0))
    return made


def single_file(made: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the weights in Stability's names."""
    found: dict[str, Tensor] = {}
    for name, value in _weights(made["unet"]):
        found[f"model.diffusion_model.{_unet_name(name)}"] = value
    for name, value in _weights(made["vae"]):
        new = f"first_stage_model.{_vae_name(name)}"
        # Stability's attention layers are convolutions.
        found[new] = value[:, :, None, None] if ".attn_1." in new and value.ndim == 2 else value
    for name, value in _weights(made["text_encoder"]):
        found[f"conditioner.embedders.0.transformer.text_model.{name.removeprefix('text_model.')}"] = value
    found |= _open_clip(dict(_weights(made["text_encoder_2"])))
    return found


def _weights(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, value.detach()) for name, value in module.named_parameters()]


def _unet_name(name: str) -> str:
    each = CONFIG["unet"]["layers_per_block"] + 1
    block = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.", name)
    if block is not None:
        half, level, kind, index = block[1], int(block[2]), block[3], int(block[4])
        rest = name[block.end() :]
        number = level * each + index + (1 if half == "down" else 0)
        stage = "input_blocks" if half == "down" else "output_blocks"
        if kind == "downsamplers":
            return f"{stage}.{(level + 1) * each}.0.op.{rest.removeprefix('conv.')}"
        if kind == "upsamplers":
            layer = 2 if CONFIG["unet"]["up_block_types"][level].startswith("Cross") else 1
            return f"{stage}.{(level + 1) * each - 1}.{layer}.{rest}"
        return f"{stage}.{number}.{0 if kind == 'resnets' else 1}.{_replaced(rest, _RESIDUAL, kind == 'resnets')}"
    new = _replaced(name, _UNET)
    return _replaced(new, _RESIDUAL) if new.startswith(("middle_block.0.", "middle_block.2.")) else new


def _vae_name(name: str) -> str:
    levels = len(CONFIG["vae"]["block_out_channels"])

    def level(found: re.Match[str]) -> str:
        number = int(found[2]) if found[1] == "down" else levels - 1 - int(found[2])
        part = f"block.{found[4]}." if found[3] == "resnets" else f"{found[1]}sample."
        return f"{found[1]}.{number}.{part}"

    name = re.sub(r"(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.", level, name)
    return _replaced(name, _VAE)


def _open_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = "conditioner.embedders.1.model."
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name == "text_projection.weight":
            found[f"{prefix}text_projection"] = value.T
            continue
        new = prefix + _replaced(name.removeprefix("text_model."), _OPEN_CLIP)
        block, joined, rest = new.partition("self_attn.q_proj.")
        if joined:
            each = [weights[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            found[f"{block}attn.in_proj_{rest}"] = torch.cat(each)
        elif "self_attn" not in new:
            found[new] = value
    return found


def _replaced(name: str, table: Mapping[str, str], wanted: bool = True) -> str:
    for old, new in table.items() if wanted else ():
        name = name.replace(old, new)
    return name
