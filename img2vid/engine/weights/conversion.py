"""Conversion of checkpoints to a 16-bit format, one tensor at a time to limit memory."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from img2vid.checkpoints.header import NAMES, TensorEntry, foreign_kind, read_header
from img2vid.errors import BadInput, CheckpointError

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""Formats that `convert` can write."""
MAPPED = 1 << 28
"""Maximum bytes of the source that are mapped at a time, plus one tensor."""


@dataclass(frozen=True)
class Converted:
    """Result of a conversion. changed: number of tensors whose format changed."""

    bytes: int
    sha256: str
    tensors: int
    changed: int


@dataclass(frozen=True)
class _Plan:
    """Tensors of the copy in the order they are written, and its header."""

    sizes: Mapping[str, int]
    """Bytes of each tensor in the source, by name."""
    header: bytes
    changed: frozenset[str]
    total: int


def size_of_copy(source: Path, precision: str) -> int:
    """Return the bytes of the copy. Raise the same errors as `convert` for an unsuitable file or precision."""
    plan = _plan(source, precision)
    return len(plan.header) + plan.total


def convert(
    source: Path, file: BinaryIO, precision: str, on_bytes: Callable[[int, int], None] | None = None
) -> Converted:
    """Write a copy of a `.safetensors` checkpoint with float32 and float64 tensors as "fp16" or "bf16" to `file`.

    Names, shapes and metadata are kept. on_bytes: called with the bytes written so far and the total; an exception from
    it stops the conversion. Raise BadInput if there is nothing to convert, CheckpointError if the file is not a valid
    checkpoint or has values too large for the format, and OSError from `file`.
    """
    plan = _plan(source, precision)
    size = len(plan.header) + plan.total
    digest = hashlib.sha256()
    done = 0
    for data in _pieces(source, plan, precision):
        file.write(data)
        digest.update(data)
        done += len(data)
        if on_bytes is not None:
            on_bytes(done, size)
    return Converted(size, digest.hexdigest(), len(plan.sizes), len(plan.changed))


def _plan(source: Path, precision: str) -> _Plan:
    if precision not in DTYPES:
        raise BadInput(f"cannot convert to precision {precision!r}; choose one of {', '.join(DTYPES)}")
    entries = read_header(source)
    kind = foreign_kind(entries)
    if kind is not None:
        raise CheckpointError(f"{source} is {kind}; choose an SVD checkpoint")
    changed = frozenset(name for name, entry in entries.items() if entry.format in ("F32", "F64"))
    if not changed:
        raise BadInput(f"{source} has no values that {precision} would shorten; it needs no conversion")
    rows, total = _rows(entries, changed, precision)
    text = json.dumps({"__metadata__": _metadata(source) | {"format": "pt"}, **rows}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # safetensors aligns the data to 8 bytes
    header = len(text).to_bytes(8, "little") + text
    return _Plan({name: entries[name].bytes for name in rows}, header, changed, total)


def _rows(
    entries: Mapping[str, TensorEntry], changed: frozenset[str], precision: str
) -> tuple[dict[str, dict[str, object]], int]:
    """Return the entries of the copy's header, and the total bytes of its data."""
    short = next(name for name, plain in NAMES.items() if plain == precision)
    rows: dict[str, dict[str, object]] = {}
    end = 0
    # Descending item size keeps every tensor aligned to its item size.
    for name, entry in sorted(entries.items(), key=lambda item: (item[0] in changed, -_width(item[1]), item[0])):
        start = end
        end += 2 * (entry.bytes // _width(entry)) if name in changed else entry.bytes
        kind = short if name in changed else entry.format
        rows[name] = {"dtype": kind, "shape": list(entry.shape), "data_offsets": [start, end]}
    return rows, end


def _width(entry: TensorEntry) -> int:
    """Return the bytes of one value."""
    count = torch.Size(entry.shape).numel()
    return entry.bytes // count if count else 1


def _metadata(source: Path) -> dict[str, str]:
    """Return the metadata of the file."""
    open_file: Any = safe_open
    try:
        with open_file(str(source), framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{source} cannot be read: {error}; download it again") from error


def _pieces(source: Path, plan: _Plan, precision: str) -> Iterator[bytes | memoryview]:
    """Yield the bytes of the copy, one tensor at a time."""
    yield plan.header
    open_file: Any = safe_open  # untyped in safetensors
    try:
        for names in _batches(plan):
            with open_file(str(source), framework="pt") as tensors:
                for name in names:
                    yield _data(source, name, tensors.get_tensor(name), precision if name in plan.changed else None)
    except SafetensorError as error:
        raise CheckpointError(f"{source} cannot be read: {error}; download it again") from error


def _batches(plan: _Plan) -> Iterator[list[str]]:
    """Yield groups of names of about `MAPPED` bytes; mapped data counts as memory until the file is closed."""
    names: list[str] = []
    taken = 0
    for name, size in plan.sizes.items():
        names.append(name)
        taken += size
        if taken > MAPPED:
            yield names
            names, taken = [], 0
    yield names


def _data(source: Path, name: str, tensor: Tensor, precision: str | None) -> memoryview:
    """Return the bytes of a tensor in the copy's format."""
    if precision is not None:
        short = tensor.to(DTYPES[precision])
        if not torch.isfinite(short).all() and torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{source} cannot be converted to {precision}: {name} contains {tensor.abs().max().item():g}, above "
                f"the {precision} limit of {torch.finfo(short.dtype).max:g}; choose bf16"
            )
        tensor = short
    data: Any = tensor.contiguous().flatten().view(torch.uint8).numpy()
    return memoryview(data)
