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

from img2vid.checkpoints.header import NAMES, TensorEntry, read_header
from img2vid.engine.config import load_config
from img2vid.engine.model import build_meta
from img2vid.engine.weights.packed import PACKED
from img2vid.engine.weights.stored import Entries, StoredTensor, entries_of, find_tensors, read_stored
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

    stored: Entries
    header: bytes
    changed: frozenset[str]
    total: int


def size_of_copy(source: Path, precision: str, config: Path | None = None, unet: Path | None = None) -> int:
    """Return the bytes of the copy. Raise the same errors as `convert` for an unsuitable file or precision."""
    plan = _plan(source, precision, config, unet)
    return len(plan.header) + plan.total


def convert(
    source: Path,
    file: BinaryIO,
    precision: str,
    on_bytes: Callable[[int, int], None] | None = None,
    config: Path | None = None,
    unet: Path | None = None,
) -> Converted:
    """Write a copy of a checkpoint with its tensors of 64, 32 and 8 bits as "fp16" or "bf16" to `file`.

    Names, shapes and metadata of a `.safetensors` file are kept. A diffusers folder, or a file with another UNet, is
    written as a single file with the tensors that sampling with `config` needs. on_bytes: called with the bytes written
    so far and the total; an exception from it stops the conversion. Raise BadInput if there is nothing to convert,
    CheckpointError if the checkpoint is invalid or has values too large for the format, and OSError from `file`.
    """
    plan = _plan(source, precision, config, unet)
    size = len(plan.header) + plan.total
    digest = hashlib.sha256()
    done = 0
    for data in _pieces(source, plan, precision):
        file.write(data)
        digest.update(data)
        done += len(data)
        if on_bytes is not None:
            on_bytes(done, size)
    return Converted(size, digest.hexdigest(), len(plan.stored), len(plan.changed))


def _plan(source: Path, precision: str, config: Path | None, unet: Path | None) -> _Plan:
    if precision not in DTYPES:
        raise BadInput(f"cannot convert to precision {precision!r}; choose one of {', '.join(DTYPES)}")
    single = unet is None and not source.is_dir()
    if single or config is None:
        entries = entries_of({source: read_header(source)})
    else:
        model = build_meta(load_config(config), config.parent)
        model.drop_unused()
        entries = find_tensors(source, model.weights(), unet)
    changed = frozenset(name for name, entry in entries.items() if entry.format in ("F32", "F64", *PACKED))
    if single and not changed:
        raise BadInput(f"{source} has only values of 16 bits; it needs no conversion")
    rows, total = _rows(entries, changed, precision)
    metadata = _metadata(source) if single else {}
    text = json.dumps({"__metadata__": metadata | {"format": "pt"}, **rows}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # safetensors aligns the data to 8 bytes
    header = len(text).to_bytes(8, "little") + text
    return _Plan({name: entries[name] for name in rows}, header, changed, total)


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
    for batch in _batches(plan):
        for name, tensor in read_stored(batch):
            yield _data(source, name, tensor, precision if name in plan.changed else None)


def _batches(plan: _Plan) -> Iterator[Entries]:
    """Yield groups of about `MAPPED` bytes; mapped data counts as memory until its file is closed."""
    batch: dict[str, StoredTensor] = {}
    taken = 0
    for name, entry in plan.stored.items():
        batch[name] = entry
        taken += entry.bytes
        if taken > MAPPED:
            yield batch
            batch, taken = {}, 0
    yield batch


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
