"""Places of a model's tensors in a checkpoint: a single file, a diffusers folder, or either with another UNet.

Read from the headers alone, so that all forms are validated, loaded and converted in the same way.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from img2vid import paths
from img2vid.checkpoints.header import FORMATS, TensorEntry, foreign_kind, read_header
from img2vid.engine.weights.diffusers_names import FIRST_STAGE, FRAME_ENCODER, UNET, VISUAL, clip_origin, origins
from img2vid.engine.weights.packed import MARKER, PACKED, SCALES, is_packed, shaped, unpack, with_scale
from img2vid.errors import CheckpointError, is_out_of_memory, shown

Get = Callable[[Path, str], Tensor]
"""Function (file, name) -> stored tensor."""


@dataclass(frozen=True)
class StoredTensor(TensorEntry):
    """Tensor of a model in a checkpoint: stored tensors joined along the first axis; an identity without any."""

    sources: tuple[tuple[Path, str], ...] = ()
    """File and name of each stored tensor."""
    transposed: bool = False
    scales: tuple[str | None, ...] = ()
    """Name of each stored tensor's scale in its file; none if empty."""

    @property
    def is_mapped(self) -> bool:
        """True if reading the tensor does not copy it."""
        return len(self.sources) == 1 and not self.transposed

    def read(self, get: Get) -> Tensor:
        """Return the tensor. Only joined and transposed ones are copied."""
        if not self.sources:
            return torch.zeros(self.shape) if len(self.shape) == 1 else torch.eye(self.shape[0]).view(self.shape)
        parts = [self._part(get, index) for index in range(len(self.sources))]
        tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
        return (tensor.T.contiguous() if self.transposed else tensor).reshape(self.shape)

    def read_packed(self, get: Get) -> Tensor:
        """Return a tensor of one byte per value as it is stored, with its scale attached; others as `read` does."""
        if self.format not in PACKED or not self.is_mapped:
            return self.read(get)
        values, scale = get(*self.sources[0]), self._scale(get, 0)
        return with_scale(values.reshape(self.shape), shaped(scale, len(self.shape)))

    def _part(self, get: Get, index: int) -> Tensor:
        values = get(*self.sources[index])
        return (
            unpack(values, shaped(self._scale(get, index), values.ndim), torch.float32) if is_packed(values) else values
        )

    def _scale(self, get: Get, index: int) -> Tensor:
        name = self.scales[index] if self.scales else None
        return torch.ones(()) if name is None else get(self.sources[index][0], name)


Entries = Mapping[str, StoredTensor]


@dataclass(frozen=True)
class Headers:
    """Headers of a checkpoint. parts: entries by component of the diffusers layout; "" is Stability's single file."""

    path: Path
    parts: Mapping[str, Entries]
    unet: Path | None = None

    def locate(self, expected: Mapping[str, Tensor]) -> dict[str, StoredTensor]:
        """Return where each expected tensor is stored, with its shape in the single file; leave out missing ones."""
        single = self.parts.get("", {})
        found = {name: single[name] for name in expected if name in single and not self._is_replaced(name)}
        missing = expected.keys() - found.keys()
        places = origins(expected) if missing and len(self.parts) > ("" in self.parts) else {}
        for name in missing:
            place = places.get(name)
            if place is not None and place.component in self.parts:
                stored = _joined(self.parts[place.component], place.names, place.transposed, expected[name])
            else:
                stored = _saved_by_comfyui(single, name, expected[name])
            if stored is not None:
                found[name] = stored
        return found

    def _is_replaced(self, name: str) -> bool:
        return "unet" in self.parts and name.startswith(UNET)


def read_headers(path: Path, unet: Path | None = None, pickled: Mapping[str, TensorEntry] | None = None) -> Headers:
    """Read the headers of a `.safetensors` file or a diffusers folder.

    unet: diffusers file of the UNet to use instead. pickled: tensors of a pickled file, which has no header. Raise
    CheckpointError for files that are missing, damaged or of another kind.
    """
    if path.is_dir():
        parts = _folder_entries(path, unet is not None)
    else:
        parts = {"": entries_of({path: read_header(path) if pickled is None else pickled})}
    if unet is not None:
        parts["unet"] = entries_of({unet: read_header(unet)}, "unet")
    return Headers(path, parts, unet)


def find_tensors(path: Path, expected: Mapping[str, Tensor], unet: Path | None = None) -> dict[str, StoredTensor]:
    """Return where a checkpoint stores each tensor of a model.

    Raise CheckpointError, with the values found and expected and the remedy, if the checkpoint does not match.
    """
    headers = read_headers(path, unet)
    found = headers.locate(expected)
    check(headers, found, expected)
    return found


def read_stored(
    stored: Entries, pickled: dict[str, Tensor] | None = None, keep_packed: Callable[[str], bool] = lambda name: False
) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors by name, memory-mapped if the platform supports it; each file is opened once.

    pickled: tensors of a pickled checkpoint, which are taken from it. keep_packed: names to read with `read_packed`.
    """
    opened: dict[Path, Any] = {}
    with ExitStack() as stack:

        def get(path: Path, name: str) -> Tensor:
            if path.suffix != ".safetensors" and pickled is not None:
                return pickled.pop(name)
            try:
                if path not in opened:
                    open_file: Any = safe_open  # untyped in safetensors
                    opened[path] = stack.enter_context(open_file(str(path), framework="pt"))
                return opened[path].get_tensor(name)
            except (SafetensorError, OSError) as error:
                if is_out_of_memory(error):
                    raise
                raise CheckpointError(f"{path} cannot be read: {error}; download it again") from error

        for name, entry in stored.items():
            yield name, entry.read_packed(get) if keep_packed(name) else entry.read(get)


def entries_of(headers: Mapping[Path, Mapping[str, TensorEntry]], component: str = "") -> Entries:
    """Return the tensors of a component from its files' headers. Raise CheckpointError if it is of another kind."""
    kind = foreign_kind({name: entry for header in headers.values() for name, entry in header.items()}, component)
    if kind is not None:
        raise CheckpointError(
            f"{next(iter(headers))} is {kind}; choose svd.safetensors, svd_xt.safetensors or another SVD checkpoint"
        )
    found: dict[str, StoredTensor] = {}
    for path, header in headers.items():
        scales = {name: _scale_name(header, name, entry) for name, entry in header.items() if entry.format in PACKED}
        hidden = {*scales.values(), *(name for name in header if name.split(".")[-1] in (MARKER, "scale_input"))}
        for name, entry in header.items():
            if name not in hidden:
                own = (scales[name],) if name in scales else ()
                place = ((path, name),)
                found[name] = StoredTensor(entry.shape, entry.format, entry.bytes, entry.start, place, scales=own)
    return found


def _scale_name(header: Mapping[str, TensorEntry], name: str, entry: TensorEntry) -> str | None:
    """Return the name of the scale of a weight, or None if it has none. Raise CheckpointError if it does not fit."""
    owner, _, last = name.rpartition(".")
    found = next((f"{owner}.{one}" for one in SCALES if last == "weight" and f"{owner}.{one}" in header), None)
    if found is not None:
        values = math.prod(header[found].shape)
        rows = entry.shape[0] if entry.shape else 1
        if values not in (1, rows) or header[found].format not in ("F32", "F16", "BF16"):
            raise CheckpointError(
                f"{shown(found)} has {values:,} values in {shown(header[found].format)}, but {shown(name)} of "
                f"{_shape(entry.shape)} needs 1 or {rows:,} in F32, F16 or BF16; save the file without scales"
            )
    return found


def _folder_entries(folder: Path, without_unet: bool) -> dict[str, Entries]:
    parts: dict[str, Entries] = {}
    for component, stem in paths.COMPONENTS.items():  # the UNet comes first, because its kind explains most
        if component == "unet" and without_unet:
            continue
        files = paths.component_files(folder, component)
        if not files:
            raise CheckpointError(
                f"{folder} lacks {component}/{stem}.safetensors (or .fp16.safetensors), which SVD in diffusers' layout "
                "has; choose a folder with unet, vae and image_encoder"
            )
        parts[component] = entries_of({file: read_header(file) for file in files}, component)
    return parts


def _joined(entries: Entries, names: Collection[str], transposed: bool, expected: Tensor) -> StoredTensor | None:
    """Return the tensor made of the named ones, or None if one is missing."""
    parts = [entries[name] for name in names if name in entries]
    if not parts or len(parts) != len(names):
        return None
    shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:]) if len(parts) > 1 else parts[0].shape
    shape = shape[::-1] if transposed else shape
    wanted = tuple(expected.shape)
    if wanted[len(shape) :] == (1,) * (len(wanted) - len(shape)) and wanted[: len(shape)] == shape:
        shape = wanted  # a linear layer is a convolution with one weight per pair of channels
    sources = tuple(source for part in parts for source in part.sources)
    scales = tuple(scale for part in parts for scale in part.scales or (None,))
    size = sum(part.bytes for part in parts)
    return replace(parts[0], shape=shape, bytes=size, sources=sources, transposed=transposed, scales=scales)


def _saved_by_comfyui(single: Entries, name: str, expected: Tensor) -> StoredTensor | None:
    """Return the tensor that ComfyUI computes with instead of one that its files lack.

    It encodes the conditioning frame with the encoder of the first stage, without another convolution, and saves CLIP
    under the names of transformers.
    """
    start, clip, rest = name.partition(VISUAL)
    if clip:
        origin = clip_origin(rest)
        return _joined(single, [start + clip + one for one in origin.names], origin.transposed, expected)
    encoder = FRAME_ENCODER.match(name)
    if encoder is None or any(map(FRAME_ENCODER.match, single)):
        return None
    rest = name[encoder.end() :]
    if rest.startswith("quant_conv.") and f"{FIRST_STAGE}encoder.conv_in.weight" in single:
        return StoredTensor(tuple(expected.shape), "F32", 4 * expected.numel())
    return single.get(FIRST_STAGE + rest)


def check(headers: Headers, found: Entries, expected: Mapping[str, Tensor]) -> None:
    """Validate the located tensors against the names and shapes that a model needs.

    Raise CheckpointError with the file, the values found and expected, and the remedy.
    """
    missing = sorted(expected.keys() - found.keys())
    if missing:
        replaced = headers.unet is not None and all(name.startswith(UNET) for name in missing)
        raise CheckpointError(
            f"{headers.unet if replaced else headers.path} {_explain_missing(missing, headers, expected)}"
        )
    for name, tensor in expected.items():
        entry = found[name]
        file, stored = entry.sources[0] if entry.sources else (headers.path, name)
        if entry.shape != tuple(tensor.shape):
            raise CheckpointError(
                f"{file} does not match the configuration: {stored} is {_shape(entry.shape)}, expected "
                f"{_shape(tuple(tensor.shape))}; choose the configuration for this file"
            )
        if entry.format not in FORMATS:
            raise CheckpointError(
                f"{file} stores {stored} as {shown(entry.format)}, which is not supported; save it as F32, F16 or BF16"
            )
        if entry.format == "I8" and not all(entry.scales):
            raise CheckpointError(
                f"{file} stores {stored} as I8 without a scale ({' or '.join(SCALES)}); save it as F32, F16 or BF16"
            )


def _explain_missing(missing: list[str], headers: Headers, expected: Mapping[str, Tensor]) -> str:
    """Return the rest of a sentence that starts with the file's name."""
    encoder = FRAME_ENCODER.match(missing[0])
    if encoder is not None and all(map(FRAME_ENCODER.match, missing)):
        return (
            f"lacks {encoder[0].removesuffix('.encoder.')}, the encoder of the conditioning frame, and the encoder of "
            "the first stage, which could replace it; use a file with all parts, such as the one that Stability "
            "published"
        )
    decoder = "first_stage_model.decoder."
    if all(name.startswith(decoder) for name in missing):
        return (
            "has a decoder without temporal layers, as the image-decoder checkpoints do; choose a version whose name "
            "ends in _image_decoder"
        )
    if all("post_quant_conv" in name for name in missing):
        return "has a temporal decoder; choose the version without _image_decoder in its name"
    parts = sorted({".".join(name.split(".")[:2]) for name in missing})
    return (
        f"lacks {len(missing)} of the {len(expected)} tensors that the configuration needs, in {', '.join(parts)}; the "
        f"first is {missing[0]} (the file has {sum(map(len, headers.parts.values()))}); choose the checkpoint for this "
        "configuration"
    )


def _shape(shape: tuple[int, ...]) -> str:
    return shown(" x ".join(map(str, shape)) or "a scalar")
