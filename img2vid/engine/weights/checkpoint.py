"""Checkpoint files: validation against a model, and loading without a second copy in memory.

The file's header is validated before any weight is read.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from img2vid.checkpoints.header import FORMATS, TensorEntry, foreign_kind, read_header
from img2vid.engine.interface import LoadOptions
from img2vid.engine.model import SvdModel, build_meta
from img2vid.errors import CheckpointError

Place = Callable[[str, Tensor], Tensor]
"""(name, CPU tensor) -> tensor in the model's format and device; a tensor returned unchanged stays memory-mapped."""

FRAME_ENCODER = "conditioner.embedders.3."


def check(path: Path, entries: Mapping[str, TensorEntry], expected: Mapping[str, Tensor]) -> None:
    """Validate a header against the names and shapes that a model needs; extra tensors are allowed.

    Raise CheckpointError with the file, the values found and expected, and the remedy.
    """
    kind = foreign_kind(entries)
    if kind is not None:
        raise CheckpointError(f"{path} is {kind}; choose svd.safetensors, svd_xt.safetensors or another SVD checkpoint")
    missing = sorted(set(expected) - set(entries))
    if missing:
        raise CheckpointError(f"{path} {_explain_missing(missing, entries, expected)}")
    for name, tensor in expected.items():
        entry = entries[name]
        if entry.shape != tuple(tensor.shape):
            raise CheckpointError(
                f"{path} does not match the configuration: {name} is {_shape(entry.shape)}, expected "
                f"{_shape(tuple(tensor.shape))}; choose the configuration for this file"
            )
        if entry.format not in FORMATS:
            raise CheckpointError(
                f"{path} stores {name} as {entry.format}, which is not supported; save it as F32, F16 or BF16"
            )
        if entry.bytes != FORMATS[entry.format] * math.prod(entry.shape):
            raise CheckpointError(
                f"{path} is damaged: {name} has {entry.bytes:,} bytes for {_shape(entry.shape)}; download it again"
            )


def _explain_missing(missing: list[str], entries: Mapping[str, TensorEntry], expected: Mapping[str, Tensor]) -> str:
    """Return the rest of a sentence that starts with the file's name."""
    if all(name.startswith(FRAME_ENCODER) for name in missing):
        return (
            "lacks conditioner.embedders.3, the encoder of the conditioning frame (files saved by ComfyUI leave it "
            "out); use the file that Stability published"
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
        f"first is {missing[0]} (the file has {len(entries)}); choose the checkpoint for this configuration"
    )


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a scalar"


def build_model(options: LoadOptions) -> SvdModel:
    """Return the model on the meta device, without the modules that sampling does not use.

    The CLIP architecture may be a file beside the configuration.
    """
    model = build_meta(options.config, options.config_path.parent)
    model.drop_unused()
    model.network.drop_unused()
    return model


def fill(model: SvdModel, options: LoadOptions, place: Place) -> None:
    """Load the tensors of the model that are on the meta device, one at a time, directly from the file."""
    expected = model.weights()
    missing = frozenset(name for name, tensor in expected.items() if tensor.is_meta)
    for name, tensor in read_tensors(options.checkpoint, expected, options.allow_pickle, options.on_bytes, missing):
        assign(model, name, place(name, tensor))


def read_tensors(
    path: Path,
    expected: Mapping[str, Tensor],
    allow_pickle: bool,
    on_bytes: Callable[[int, int], None] | None = None,
    wanted: Collection[str] | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Validate a checkpoint, then yield its tensors that are in `expected`, by name.

    path: a `.safetensors` file, or a `.ckpt` file if `allow_pickle` is set. wanted: names to read; all by default.
    on_bytes is called when the caller has finished with a tensor. Raise CheckpointError before the first tensor if the
    file does not match.
    """
    names = [name for name in expected if wanted is None or name in wanted]
    if path.suffix == ".safetensors":
        entries = read_header(path)
        check(path, entries, expected)
        tensors = _mapped(path, names)
    else:
        state = _unpickle(path, allow_pickle)
        entries = {name: _describe(tensor) for name, tensor in state.items()}
        check(path, entries, expected)
        tensors = ((name, state.pop(name)) for name in names)
    return _counted(tensors, sum(entries[name].bytes for name in names), on_bytes)


def _counted(
    tensors: Iterator[tuple[str, Tensor]], total: int, on_bytes: Callable[[int, int], None] | None
) -> Iterator[tuple[str, Tensor]]:
    """Yield the same tensors; after each, call `on_bytes` with the bytes read from the file so far and the total."""
    done = 0
    for name, tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        yield name, tensor
        done += size
        if on_bytes is not None:
            on_bytes(done, total)


def _mapped(path: Path, names: Collection[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the named tensors, memory-mapped if the platform supports it."""
    try:
        open_file: Any = safe_open  # untyped in safetensors
        with open_file(str(path), framework="pt") as file:
            for name in names:
                yield name, file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; download it again") from error


def assign(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Replace the parameter or buffer of that name with a tensor."""
    owner, _, attribute = name.rpartition(".")
    module = model.get_submodule(owner)
    if attribute in module._parameters:  # pyright: ignore[reportPrivateUsage] - no public API
        module.register_parameter(attribute, nn.Parameter(tensor, requires_grad=False))
    else:
        module.register_buffer(attribute, tensor)


def _describe(tensor: Tensor) -> TensorEntry:
    names = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    format_name = names.get(tensor.dtype, str(tensor.dtype))
    return TensorEntry(tuple(tensor.shape), format_name, tensor.numel() * tensor.element_size())


def _unpickle(path: Path, allow_pickle: bool) -> dict[str, Tensor]:
    """Return the tensors of a pickled checkpoint, loaded without running code from the file."""
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist; add it or choose another file")
    if not allow_pickle:
        raise CheckpointError(
            f"{path} is not a .safetensors file; a pickled checkpoint can carry code, so use the .safetensors file, or "
            "pass --allow-pickle to read only its weights"
        )
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # damaged pickles raise arbitrary exceptions
        reason = " ".join(str(error).split())[:200]
        message = f"{path} cannot be read as weights only: {reason}; use the .safetensors file"
        raise CheckpointError(message) from error
    state: Any = cast(dict[Any, Any], loaded).get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} contains no state_dict; use the .safetensors file")
    named = cast(dict[Any, Any], state)
    return {str(name): tensor for name, tensor in named.items() if isinstance(tensor, Tensor)}
