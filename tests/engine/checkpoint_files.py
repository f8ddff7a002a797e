"""Test checkpoint files, including sparse ones with a complete header and almost no data on disk."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
Rows = Mapping[str, tuple[str, tuple[int, ...]]]
"""Number format and shape of each tensor, by name."""


def write_header(path: Path, rows: Rows, *, missing_bytes: int = 0) -> Path:
    """Write a `.safetensors` file of zeros, which most file systems store as a sparse file."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (kind, shape) in rows.items():
        end = offset + SIZES[kind] * torch.Size(shape).numel()
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset - missing_bytes)
    return path


def rows_of(expected: Mapping[str, Tensor], kind: str = "F16") -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (kind, tuple(tensor.shape)) for name, tensor in expected.items()}


def saved_by_comfyui(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a file that ComfyUI's node ImageOnlyCheckpointSave writes.

    It has no encoder of the conditioning frame and names CLIP's weights like transformers.
    """
    saved: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        start, clip, rest = name.partition(".open_clip.model.visual.")
        if not clip:
            if not name.startswith(("conditioner.embedders.3.", "first_stage_model.quant_conv.")):
                saved[name] = tensor
            continue
        rest = re.sub(r"^transformer\.resblocks\.(\d+)\.", r"vision_model.encoder.layers.\1.", rest)
        for old, new in (
            (r"\.ln_([12])\.", r".layer_norm\1."),
            (r"\.mlp\.c_fc\.", ".mlp.fc1."),
            (r"\.mlp\.c_proj\.", ".mlp.fc2."),
            (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
            (r"^class_embedding$", "vision_model.embeddings.class_embedding"),
            (r"^positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
            (r"^conv1\.", "vision_model.embeddings.patch_embedding."),
            (r"^ln_pre\.", "vision_model.pre_layrnorm."),
            (r"^ln_post\.", "vision_model.post_layernorm."),
        ):
            rest = re.sub(old, new, rest)
        if rest == "proj":
            saved[f"{start}{clip}visual_projection.weight"] = tensor.T.contiguous()
        elif ".attn.in_proj_" in rest:
            block, _, kind = rest.partition(".attn.in_proj_")
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                saved[f"{start}{clip}{block}.self_attn.{letter}_proj.{kind}"] = part.clone()
        else:
            saved[start + clip + rest] = tensor
    return saved
