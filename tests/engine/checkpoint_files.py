"""Test checkpoint files, including sparse ones with a complete header and almost no data on disk."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "F8_E4M3": 1}
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
