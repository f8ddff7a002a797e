"""Checkpoint inspection by header alone, without torch.

A `.safetensors` file starts with eight bytes that give the length of a JSON header. The header lists every tensor with
its number format, shape and offsets.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from img2vid.documents import MAX_BYTES, parse_json
from img2vid.errors import CheckpointError, shown
from img2vid.files import reason

FORMATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1}
"""Number formats of weights and their size in bytes."""
SIZES = {
    **FORMATS,
    **dict.fromkeys(("BOOL", "U8", "F8_E8M0"), 1),
    **{"I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8, "C64": 8},
}
"""Size in bytes of the number formats that any file may have."""
_PACKED = {"F4", "F6_E2M3", "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}
"""Further number formats that the reader of the package safetensors accepts."""
NAMES = {
    **{"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16"},
    **{"F8_E4M3": "fp8_e4m3fn", "F8_E5M2": "fp8_e5m2", "I8": "int8"},
}
"""Names of the number formats, partly those in `--precision`."""
MAX_HEADER = MAX_BYTES
UNET = "model.diffusion_model."
SDXL = {
    f"{UNET}input_blocks.0.0.weight",
    f"{UNET}label_emb.0.0.weight",
    "first_stage_model.decoder.conv_in.weight",
    "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
    "conditioner.embedders.1.model.positional_embedding",
}
"""Tensors that tell SDXL from other checkpoints in one file; its refiner has one text encoder."""
_MARKS = {"unet": ".temporal_res_block.", "vae": "decoder.", "image_encoder": "visual_projection."}
"""Part of a name that only the component has."""


@dataclass(frozen=True)
class TensorEntry:
    """Header entry of one tensor: shape, number format, size in bytes and position in the data."""

    shape: tuple[int, ...]
    format: str
    bytes: int
    start: int = 0


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors of a `.safetensors` file by name, from its header.

    Raise CheckpointError for a file that is missing, not in this format, or not exactly as long as its tensors.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= MAX_HEADER:
                raise CheckpointError(f"{path} is not a .safetensors file; download it again or choose another file")
            header = file.read(length)
    except FileNotFoundError as error:
        raise CheckpointError(f"checkpoint {path} does not exist; add it or choose another file") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path} ({reason(error)}); choose a readable .safetensors file") from error
    if len(header) < length:
        raise truncated(path, size, 8 + length)
    try:
        rows = cast(dict[str, dict[str, Any]], parse_json(header, path, error=CheckpointError))
        _check_texts(header, rows.pop("__metadata__", None), rows)
        entries = {name: _entry(row) for name, row in rows.items()}
    except (CheckpointError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} is not a valid .safetensors file: its header is unreadable; download it again"
        raise CheckpointError(message) from error
    end = 8 + length + _end(path, entries)
    if size < end:
        raise truncated(path, size, end)
    if size > end:
        raise CheckpointError(f"{path} is damaged: it has {size - end:,} bytes too many; download it again")
    return entries


def _check_texts(header: bytes, metadata: dict[str, object] | None, names: Iterable[str]) -> None:
    """Raise ValueError for what the package safetensors refuses: a byte order mark, lone surrogates, other metadata."""
    if header.startswith(b"\xef") or not all(isinstance(text, str) for text in (metadata or {}).values()):
        raise ValueError("a byte order mark, or metadata that is not text")
    "".join(names).encode()


def _entry(row: Mapping[str, Any]) -> TensorEntry:
    start, end = row["data_offsets"]
    shape, number_format = tuple[Any, ...](row["shape"]), row["dtype"]
    if number_format not in {*SIZES, *_PACKED} or not all(
        type(n) is int and 0 <= n < 2**63 for n in (start, end, *shape)
    ):
        raise ValueError("a number format or a size is invalid")
    return TensorEntry(shape, number_format, end - start, start)


def _end(path: Path, entries: Mapping[str, TensorEntry]) -> int:
    """Return the size of the data. Raise CheckpointError for tensors of a wrong size, overlaps and gaps."""
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].bytes)):
        if entry.format in SIZES and entry.bytes != SIZES[entry.format] * math.prod(entry.shape):
            shape = shown(" x ".join(map(str, entry.shape)) or "a scalar")
            message = f"{shown(name)} has {entry.bytes:,} bytes for {shape}"
            raise CheckpointError(f"{path} is damaged: {message}; download it again")
        if entry.start != end:
            fault = "overlaps another tensor" if entry.start < end else "follows a gap"
            raise CheckpointError(f"{path} is damaged: {shown(name)} {fault}; download it again")
        end += entry.bytes
    return end


def truncated(path: Path, size: int, expected: int) -> CheckpointError:
    """Return the error for a truncated file."""
    return CheckpointError(f"{path} is incomplete: {size:,} of {expected:,} bytes; download it again")


def foreign_kind(entries: Mapping[str, TensorEntry], component: str = "") -> str | None:
    """Return a description of a file that is not part of an SVD checkpoint, or None if it is.

    component: unet, vae or image_encoder for a file in diffusers' layout, "" for Stability's single file, "sdxl" if an
    SDXL checkpoint is expected instead.
    """
    names = entries.keys()
    if component == "sdxl":
        return None if is_sdxl(entries) else "not an SDXL checkpoint in one file"
    if any("lora" in name.lower() for name in names):
        return "a LoRA, not a full model"
    if component in _MARKS:
        if any(_MARKS[component] in name for name in names):
            return None
        if component == "unet" and (first := entries.get("conv_in.weight")) is not None:
            return _image_model(first)
        return f"not the {component} of Stable Video Diffusion in diffusers' layout"
    if any(name.startswith(("down_blocks.", "mid_block.", "up_blocks.")) for name in names):
        return "one component of a model in diffusers' layout, not a whole model"
    if not any(name.startswith(UNET) for name in names):
        return "not a Stable Video Diffusion checkpoint (no UNet)"
    if not any(".time_stack." in name for name in names if name.startswith(UNET)):
        return _image_model(entries.get(f"{UNET}input_blocks.0.0.weight"))
    return None


def is_sdxl(entries: Mapping[str, TensorEntry]) -> bool:
    """Return True for a single file with SDXL's UNet, autoencoder and both text encoders."""
    return SDXL.issubset(entries) and entries[f"{UNET}input_blocks.0.0.weight"].shape[1:2] == (4,)


def _image_model(first: TensorEntry | None) -> str:
    channels = first.shape[1] if first is not None and len(first.shape) > 1 else "unknown"
    return f"an image model such as Stable Diffusion 1.5, 2 or XL ({channels} input channels, no temporal layers)"


def precision_of(entries: Mapping[str, TensorEntry]) -> str:
    """Return the number format of most bytes, such as "fp16"."""
    sizes: dict[str, int] = {}
    for entry in entries.values():
        sizes[entry.format] = sizes.get(entry.format, 0) + entry.bytes
    most = max(sizes, key=lambda name: sizes[name], default="")
    return NAMES.get(most, most)
