"""Checkpoint files: validation against a model, and loading without a second copy in memory.

The file's header is validated before any weight is read.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from img2vid.checkpoints.header import TensorEntry
from img2vid.engine.interface import ModelSource, OnBytes
from img2vid.engine.model import SvdModel, build_meta
from img2vid.engine.weights.diffusers_names import UNET
from img2vid.engine.weights.packed import PACKED, is_packed, scale_of, with_scale
from img2vid.engine.weights.stored import Entries, check, read_headers, read_stored
from img2vid.errors import CheckpointError, is_out_of_memory, shown

Place = Callable[[str, Tensor], Tensor]
"""(name, CPU tensor) -> tensor in the model's format and device; a tensor returned unchanged stays memory-mapped."""


def build_model(source: ModelSource) -> SvdModel:
    """Return the model on the meta device, without the modules that sampling does not use.

    The CLIP architecture may be a file beside the configuration.
    """
    model = build_meta(source.config, source.config_path.parent)
    model.drop_unused()
    model.network.drop_unused()
    return model


def fill(
    model: SvdModel,
    source: ModelSource,
    place: Place,
    on_bytes: OnBytes | None = None,
    keep_packed: Callable[[str], bool] = lambda name: False,
) -> None:
    """Load the tensors of the model that are on the meta device, one at a time, directly from the file.

    keep_packed: names of weights that keep a format of one byte per value. Raise CheckpointError if there is NaN or
    infinity among the weights.
    """
    expected = model.weights()
    missing = frozenset(name for name, tensor in expected.items() if tensor.is_meta)
    ranges: dict[str, Tensor] = {}
    allow_pickle = source.options.allow_pickle
    tensors = read_tensors(source.checkpoint, expected, allow_pickle, on_bytes, missing, source.unet, keep_packed)
    for name, tensor in tensors:
        placed = place(name, tensor)
        assign(model, name, placed)
        ranges[name] = value_range(placed)
    require_finite(source, expected, ranges)


def read_tensors(
    path: Path,
    expected: Mapping[str, Tensor],
    allow_pickle: bool,
    on_bytes: OnBytes | None = None,
    wanted: Collection[str] | None = None,
    unet: Path | None = None,
    keep_packed: Callable[[str], bool] = lambda name: False,
) -> Iterator[tuple[str, Tensor]]:
    """Validate a checkpoint, then yield its tensors that are in `expected`, by name.

    path: a `.safetensors` file, a diffusers folder, or a `.ckpt` file if `allow_pickle` is set. wanted: names to read;
    all by default. unet: diffusers file of the UNet to use instead. keep_packed: see `read_stored`. on_bytes is called
    when the caller has finished with a tensor. Raise CheckpointError before the first tensor if the
    checkpoint does not match.
    """
    if is_pickled(path):
        state = _unpickle(path, allow_pickle)
        headers = read_headers(path, unet, {name: _describe(tensor) for name, tensor in state.items()})
    else:
        state, headers = None, read_headers(path, unet)
    found = headers.locate(expected)
    check(headers, found, expected)
    stored = {name: found[name] for name in expected if wanted is None or name in wanted}
    tensors = read_stored(stored, state, keep_packed)
    return _counted(tensors, stored, on_bytes)


def is_pickled(checkpoint: Path) -> bool:
    """Return True for a file other than `.safetensors`."""
    return checkpoint.suffix != ".safetensors" and not checkpoint.is_dir()


def value_range(tensor: Tensor) -> Tensor:
    """Return the difference of the largest and the smallest value, a scalar on the tensor's device.

    It is not finite if a value is NaN or infinite. Unlike `isfinite`, this needs no memory and reads the tensor once.
    """
    if not tensor.numel():
        return torch.zeros((), device=tensor.device)
    # Not all versions of torch have aminmax for Apple's GPUs.
    tensor = tensor.float() if is_packed(tensor) else tensor
    low, high = (tensor.amin(), tensor.amax()) if tensor.device.type == "mps" else tensor.aminmax()
    return high.float() - low.float()


def require_finite(source: ModelSource, expected: Mapping[str, Tensor], ranges: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError if the `value_range` of a loaded tensor is not finite because of the file.

    The conversion to a smaller format can make infinity too.
    """
    finite = torch.stack(list(ranges.values())).isfinite() if ranges else torch.ones(0, dtype=torch.bool)
    names = list(ranges)
    suspects = [names[int(place)] for place in (~finite).nonzero()]
    path, allow_pickle = source.checkpoint, source.options.allow_pickle
    if suspects:
        for name, tensor in read_tensors(path, expected, allow_pickle, wanted=suspects, unet=source.unet):
            if not tensor.isfinite().all():
                file = source.unet if source.unet is not None and name.startswith(UNET) else path
                raise CheckpointError(f"{file} is damaged: {shown(name)} contains NaN or infinity; download it again")


def _counted(
    tensors: Iterator[tuple[str, Tensor]], stored: Entries, on_bytes: OnBytes | None
) -> Iterator[tuple[str, Tensor]]:
    """Yield the same tensors; after each, call `on_bytes` with the bytes read from the file so far and the total."""
    done, total = 0, sum(entry.bytes for entry in stored.values())
    for name, tensor in tensors:
        yield name, tensor
        done += stored[name].bytes
        if on_bytes is not None:
            on_bytes(done, total)


def assign(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Replace the parameter or buffer of that name with a tensor."""
    owner, _, attribute = name.rpartition(".")
    module = model.get_submodule(owner)
    if attribute in module._parameters:  # pyright: ignore[reportPrivateUsage] - no public API
        parameter = nn.Parameter(tensor, requires_grad=False)
        if is_packed(tensor):
            with_scale(parameter, scale_of(tensor))
        module.register_parameter(attribute, parameter)
    else:
        module.register_buffer(attribute, tensor)


def _describe(tensor: Tensor) -> TensorEntry:
    names = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    names |= {dtype: name for name, dtype in PACKED.items()}
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
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        message = f"{path} cannot be read as weights only: {reason}; use the .safetensors file"
        raise CheckpointError(message) from error
    state: Any = cast(dict[Any, Any], loaded).get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} contains no state_dict; use the .safetensors file")
    named = cast(dict[Any, Any], state)
    return {str(name): tensor for name, tensor in named.items() if isinstance(tensor, Tensor)}
