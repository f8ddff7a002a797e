"""Conversion of checkpoints to 16 bits, or to float8 with scales, one tensor at a time to limit memory."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from img2vid.checkpoints.header import NAMES, TensorEntry, read_header
from img2vid.engine.config import load_config
from img2vid.engine.model import build_meta
from img2vid.engine.weights.diffusers_names import UNET
from img2vid.engine.weights.packed import MARKER, PACKED, SCALES
from img2vid.engine.weights.stored import Entries, StoredTensor, entries_of, find_tensors, read_stored
from img2vid.errors import BadInput, CheckpointError

FLOAT8 = "fp8_e4m3fn"
"""Format of the network's matrices alone; the other tensors become fp16. ComfyUI reads scales of matrices only."""
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, FLOAT8: torch.float8_e4m3fn}
"""Formats that `convert` can write."""
WEIGHTS_ONLY = 2
"""Number of values by which ComfyUI's marker says that only weights are in float8, and not what they multiply."""
WIDTHS = {"fp16": 2, "bf16": 2, FLOAT8: 1}
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
    """Tensors to read, and names in the header, both in the order in which they are written.

    formats: those of the tensors that change. scaled: matrix of each scale.
    """

    stored: Entries
    rows: Sequence[str]
    header: bytes
    formats: Mapping[str, str]
    scaled: Mapping[str, str]
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

    "fp8_e4m3fn" stores the network's matrices in that format, each with a scale, and the other tensors as "fp16".

    Names, shapes and metadata of a `.safetensors` file are kept. A diffusers folder, or a file with another UNet, is
    written as a single file with the tensors that sampling with `config` needs. on_bytes: called with the bytes written
    so far and the total; an exception from it stops the conversion. Raise BadInput if there is nothing to convert,
    CheckpointError if the checkpoint is invalid or has values too large for the format, and OSError from `file`.
    """
    plan = _plan(source, precision, config, unet)
    size = len(plan.header) + plan.total
    digest = hashlib.sha256()
    done = 0
    for data in _pieces(source, plan):
        file.write(data)
        digest.update(data)
        done += len(data)
        if on_bytes is not None:
            on_bytes(done, size)
    return Converted(size, digest.hexdigest(), len(plan.stored), len(plan.formats))


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
    formats = {name: new for name, entry in entries.items() if (new := _new_format(name, entry, precision))}
    if single and not formats:
        raise BadInput(f"{source} has only values of 16 bits; it needs no conversion")
    rows, total = _rows(entries, formats)
    scaled = {_scale_name(name): name for name in rows if formats.get(name) == FLOAT8}
    metadata = _metadata(source) if single else {}
    text = json.dumps({"__metadata__": metadata | {"format": "pt"}, **rows}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # safetensors aligns the data to 8 bytes
    header = len(text).to_bytes(8, "little") + text
    return _Plan({name: entries[name] for name in rows if name in entries}, [*rows], header, formats, scaled, total)


def _new_format(name: str, entry: TensorEntry, precision: str) -> str | None:
    """Return the format of a tensor in the copy, None if it stays as it is."""
    if precision == FLOAT8:
        if name.startswith(UNET) and name.endswith(".weight") and len(entry.shape) == 2:
            return FLOAT8
        precision = "fp16"
    return precision if entry.format in ("F32", "F64", *PACKED) else None


def _scale_name(name: str) -> str:
    return f"{name.removesuffix('weight')}{SCALES[0]}"


def _rows(entries: Mapping[str, TensorEntry], formats: Mapping[str, str]) -> tuple[dict[str, dict[str, object]], int]:
    """Return the entries of the copy's header, and the total bytes of its data."""
    kinds = {plain: kind for kind, plain in NAMES.items()}
    found: list[tuple[int, str, str, tuple[int, ...]]] = []
    for name, entry in entries.items():
        new = formats.get(name)
        width, kind = (_width(entry), entry.format) if new is None else (WIDTHS[new], kinds[new])
        found.append((width, name, kind, entry.shape))
    matrices = [name for name, new in formats.items() if new == FLOAT8]
    found += [(4, _scale_name(name), "F32", ()) for name in matrices]
    if matrices:
        found.append((1, f"{UNET}{MARKER}", kinds[FLOAT8], (WEIGHTS_ONLY,)))
    rows: dict[str, dict[str, object]] = {}
    end = 0
    # Descending item size keeps every tensor aligned to its item size.
    for width, name, kind, shape in sorted(found, key=lambda one: (-one[0], one[1])):
        start = end
        end += width * torch.Size(shape).numel()
        rows[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
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


def _pieces(source: Path, plan: _Plan) -> Iterator[bytes | memoryview]:
    """Yield the bytes of the copy, one tensor at a time."""
    yield plan.header
    matrices = {name: plan.stored[name] for name in plan.scaled.values()}
    scales = {name: _scale(source, name, tensor) for name, tensor in _read(matrices)}
    tensors = _read(plan.stored)
    for row in plan.rows:
        if row in plan.scaled:
            yield _bytes(scales[plan.scaled[row]])
        elif row in plan.stored:
            name, tensor = next(tensors)
            yield _bytes(_rounded(source, name, tensor, plan.formats.get(name), scales.get(name)))
        else:
            yield bytes(WEIGHTS_ONLY)


def _read(stored: Entries) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors from groups of about `MAPPED` bytes; mapped data counts as memory until its file is closed."""
    batch: dict[str, StoredTensor] = {}
    taken = 0
    for name, entry in stored.items():
        batch[name] = entry
        taken += entry.bytes
        if taken > MAPPED:
            yield from read_stored(batch)
            batch, taken = {}, 0
    yield from read_stored(batch)


def _scale(source: Path, name: str, matrix: Tensor) -> Tensor:
    """Return the number by which a matrix is divided, so that its largest value becomes that of the format."""
    largest = matrix.abs().max().float() if matrix.numel() else torch.zeros(())
    if not torch.isfinite(largest):
        raise CheckpointError(f"{source} cannot be converted: {name} contains NaN or infinity; download it again")
    return largest / torch.finfo(DTYPES[FLOAT8]).max if largest > 0 else torch.ones(())


def _rounded(source: Path, name: str, tensor: Tensor, precision: str | None, scale: Tensor | None) -> Tensor:
    """Return a tensor in the copy's format; None keeps its own."""
    if precision is None:
        return tensor
    short = (tensor if scale is None else tensor.float() / scale).to(DTYPES[precision])
    if not torch.isfinite(short.float()).all() and torch.isfinite(tensor).all():
        raise CheckpointError(
            f"{source} cannot be converted to {precision}: {name} contains {tensor.abs().max().item():g}, above "
            f"the {precision} limit of {torch.finfo(short.dtype).max:g}; choose bf16"
        )
    return short


def _bytes(tensor: Tensor) -> memoryview:
    data: Any = tensor.contiguous().flatten().view(torch.uint8).numpy()
    return memoryview(data)
