"""Copies of checkpoints in a shorter number format, tensor by tensor, so that memory stays small."""

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
"""The formats that copies can have."""
MAPPED = 1 << 28
"""Bytes of the source that are mapped at once."""


@dataclass(frozen=True)
class Converted:
    """A copy that was written. changed: how many of its tensors have another number format than before."""

    bytes: int
    sha256: str
    tensors: int
    changed: int


@dataclass(frozen=True)
class _Plan:
    """The tensors in the order in which they are written, and the header that says so."""

    sizes: Mapping[str, int]
    """Bytes of each tensor in the source."""
    header: bytes
    changed: frozenset[str]
    total: int


def size_of_copy(source: Path, precision: str) -> int:
    """Bytes that a copy will have. Raises what `convert` raises for a file or a precision that will not do."""
    plan = _plan(source, precision)
    return len(plan.header) + plan.total


def convert(
    source: Path, file: BinaryIO, precision: str, on_bytes: Callable[[int, int], None] | None = None
) -> Converted:
    """Writes a copy of a `.safetensors` checkpoint whose floating-point numbers are "fp16" or "bf16" into `file`.

    Names, shapes and the file's own remarks stay. on_bytes: bytes written so far, bytes in all; raising from it stops
    the work. Raises BadInput where there is nothing to convert, CheckpointError for a file that is none, or that holds
    numbers too large for the format; OSError as `file` raises it.
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
        raise BadInput(f"precision {precision!r} is no format of a copy; choose one of {', '.join(DTYPES)}")
    entries = read_header(source)
    kind = foreign_kind(entries)
    if kind is not None:
        raise CheckpointError(f"{source} is {kind}; choose an SVD checkpoint")
    changed = frozenset(name for name, entry in entries.items() if entry.format in ("F32", "F64"))
    if not changed:
        raise BadInput(f"{source} has no number that {precision} would make shorter; it is as small as it can be")
    rows, total = _rows(entries, changed, precision)
    text = json.dumps({"__metadata__": _remarks(source) | {"format": "pt"}, **rows}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the numbers to begin at a multiple of 8
    header = len(text).to_bytes(8, "little") + text
    return _Plan({name: entries[name].bytes for name in rows}, header, changed, total)


def _rows(
    entries: Mapping[str, TensorEntry], changed: frozenset[str], precision: str
) -> tuple[dict[str, dict[str, object]], int]:
    """The rows of the copy's header, and the bytes of all its numbers."""
    short = next(name for name, plain in NAMES.items() if plain == precision)
    rows: dict[str, dict[str, object]] = {}
    end = 0
    # Numbers of many bytes come first, so that each begins at a multiple of its size.
    for name, entry in sorted(entries.items(), key=lambda item: (item[0] in changed, -_width(item[1]), item[0])):
        start = end
        end += 2 * (entry.bytes // _width(entry)) if name in changed else entry.bytes
        kind = short if name in changed else entry.format
        rows[name] = {"dtype": kind, "shape": list(entry.shape), "data_offsets": [start, end]}
    return rows, end


def _width(entry: TensorEntry) -> int:
    """Bytes of one number."""
    count = torch.Size(entry.shape).numel()
    return entry.bytes // count if count else 1


def _remarks(source: Path) -> dict[str, str]:
    """The file's own metadata."""
    open_file: Any = safe_open
    try:
        with open_file(str(source), framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{source} cannot be read: {error}; get it again") from error


def _pieces(source: Path, plan: _Plan, precision: str) -> Iterator[bytes | memoryview]:
    """The bytes of the copy, a tensor at a time."""
    yield plan.header
    open_file: Any = safe_open  # safetensors declares no types for it
    try:
        for names in _batches(plan):
            with open_file(str(source), framework="pt") as tensors:
                for name in names:
                    yield _data(source, name, tensors.get_tensor(name), precision if name in plan.changed else None)
    except SafetensorError as error:
        raise CheckpointError(f"{source} cannot be read: {error}; get it again") from error


def _batches(plan: _Plan) -> Iterator[list[str]]:
    """The names in groups of few bytes: what an open file has mapped counts as memory until it is closed."""
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
    """A tensor's bytes as the copy holds them."""
    if precision is not None:
        short = tensor.to(DTYPES[precision])
        if not torch.isfinite(short).all() and torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{source} cannot be had in {precision}: {name} holds {tensor.abs().max().item():g}, and {precision} "
                f"ends at {torch.finfo(short.dtype).max:g}; take bf16"
            )
        tensor = short
    numbers: Any = tensor.contiguous().flatten().view(torch.uint8).numpy()
    return memoryview(numbers)
