"""Checkpoint inspection by header alone, without torch.

A `.safetensors` file starts with eight bytes that give the length of a JSON header. The header lists every tensor with
its number format, shape and offsets.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from img2vid.errors import CheckpointError

FORMATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Number formats of weights and their size in bytes."""
NAMES = {"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16"}
"""Names of the number formats in `--precision`."""
MAX_HEADER = 100_000_000
UNET = "model.diffusion_model."


@dataclass(frozen=True)
class TensorEntry:
    """Header entry of one tensor: shape, number format and size in bytes."""

    shape: tuple[int, ...]
    format: str
    bytes: int


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors of a `.safetensors` file by name, from its header.

    Raise CheckpointError for a file that is missing, not in this format, or shorter than its header says.
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
        raise CheckpointError(f"cannot read {path} ({error.strerror}); choose a readable .safetensors file") from error
    if len(header) < length:
        raise truncated(path, size, 8 + length)
    try:
        rows = cast(dict[str, dict[str, Any]], json.loads(header))
        rows.pop("__metadata__", None)
        entries = {name: _entry(row) for name, row in rows.items()}
        end = max((int(row["data_offsets"][1]) for row in rows.values()), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        message = f"{path} is not a valid .safetensors file: its header is unreadable; download it again"
        raise CheckpointError(message) from error
    if size < 8 + length + end:
        raise truncated(path, size, 8 + length + end)
    return entries


def _entry(row: Mapping[str, Any]) -> TensorEntry:
    start, end = row["data_offsets"]
    return TensorEntry(tuple(int(n) for n in row["shape"]), str(row["dtype"]), int(end) - int(start))


def truncated(path: Path, size: int, expected: int) -> CheckpointError:
    """Return the error for a truncated file."""
    return CheckpointError(f"{path} is incomplete: {size:,} of {expected:,} bytes; download it again")


def foreign_kind(entries: Mapping[str, TensorEntry]) -> str | None:
    """Return a description of a file that is not an SVD checkpoint, or None if it has SVD's UNet."""
    names = entries.keys()
    if any("lora" in name.lower() for name in names):
        return "a LoRA, not a full model"
    if any(name.startswith(("down_blocks.", "mid_block.", "up_blocks.")) for name in names):
        return "one component of a model in diffusers' layout, not Stability's single file"
    if not any(name.startswith(UNET) for name in names):
        return "not a Stable Video Diffusion checkpoint (no UNet)"
    if not any(".time_stack." in name for name in names if name.startswith(UNET)):
        first = entries.get(f"{UNET}input_blocks.0.0.weight")
        channels = first.shape[1] if first is not None and len(first.shape) > 1 else "unknown"
        return f"an image model such as Stable Diffusion 1.5, 2 or XL ({channels} input channels, no temporal layers)"
    return None


def precision_of(entries: Mapping[str, TensorEntry]) -> str:
    """Return the number format of most bytes, such as "fp16"."""
    sizes: dict[str, int] = {}
    for entry in entries.values():
        sizes[entry.format] = sizes.get(entry.format, 0) + entry.bytes
    most = max(sizes, key=lambda name: sizes[name], default="")
    return NAMES.get(most, most)
