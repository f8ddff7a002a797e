"""Modules shared by two models, which stay in memory when the model is switched.

svd and svd_xt differ in their networks, but may have the same CLIP and the same encoder of the conditioning frame. The
old engine passes its modules to the new one. Their weights are compared with the new checkpoint, tensor by tensor up to
the first difference. Each module records the files that match, so that switching back reads none of its weights.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from img2vid.checkpoints.header import read_header
from img2vid.engine.config import EmbedderEntry, ImagePredictionEmbedderConfig
from img2vid.engine.interface import FileId, LoadOptions, Parts, SharedModule
from img2vid.engine.model import SvdModel
from img2vid.engine.nets.clip import architecture
from img2vid.engine.weights.checkpoint import Place, check

SHARED = ("cond_frames_without_noise", "cond_frames")
"""Input keys of the embedders with weights: CLIP, and the encoder of the conditioning frame."""


def reuse(model: SvdModel, options: LoadOptions, place: Place, spare: Parts) -> dict[str, SharedModule]:
    """Insert the spare modules whose weights match the checkpoint into a model on the meta device, and return them.

    Their weights need not be read from the file. Raise CheckpointError if the file does not match the configuration.
    """
    file = file_id(options.checkpoint)
    if not spare or file is None or options.checkpoint.suffix != ".safetensors":
        return {}
    check(options.checkpoint, read_header(options.checkpoint), model.weights())
    taken: dict[str, SharedModule] = {}
    for key, part in spare.items():
        if part.signature != fingerprint(options, key):
            continue
        if file in part.files or _has_weights_of(options.checkpoint, prefix_of(options, key), part.module, place):
            model.conditioner.embedders[_index(options, key)] = part.module
            taken[key] = replace(part, files=part.files | {file})
    return taken


def parts_of(model: SvdModel, options: LoadOptions, taken: Parts) -> dict[str, SharedModule]:
    """Return the shared modules of a loaded model, including the reused ones in `taken`."""
    file = file_id(options.checkpoint)
    files: frozenset[FileId] = frozenset(() if file is None else (file,))
    return {
        key: taken.get(key) or SharedModule(model.conditioner.embedder(key), fingerprint(options, key), files)
        for key in SHARED
    }


def file_id(path: Path) -> FileId | None:
    """Return the identity of a file, or None if it does not exist; a replaced file has another modification time."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return str(path.absolute()), facts.st_size, facts.st_mtime_ns


def prefix_of(options: LoadOptions, key: str) -> str:
    """Return the prefix of an embedder's weights in the checkpoint."""
    return f"conditioner.embedders.{_index(options, key)}."


def fingerprint(options: LoadOptions, key: str) -> str:
    """Return everything that defines an embedder except its weights, as JSON: computation, device and formats."""
    config = _entry(options, key).embedder
    facts: list[Any] = [type(config).__name__, config.model_dump(mode="json"), str(options.device), options.precision]
    if isinstance(config, ImagePredictionEmbedderConfig):
        facts.append(architecture(config.open_clip_embedding_config.arch, options.config_path.parent))
    else:
        facts.remove(options.precision)  # the encoder is always in float32
    return json.dumps(facts, sort_keys=True)


def _has_weights_of(path: Path, prefix: str, module: nn.Module, place: Callable[[str, Tensor], Tensor]) -> bool:
    """Return True if a checkpoint's weights, converted by `place`, equal those of the module."""
    open_file: Any = safe_open  # untyped in safetensors
    try:
        with open_file(str(path), framework="pt") as file:
            for name, current in module.state_dict(keep_vars=True).items():
                new = place(prefix + name, file.get_tensor(prefix + name))
                if new.dtype != current.dtype or not torch.equal(new.to(current.device), current):
                    return False
    except (SafetensorError, OSError):
        return False  # the regular loading reports the error
    return True


def _index(options: LoadOptions, key: str) -> int:
    return [entry.input_key for entry in options.config.conditioner_config.emb_models].index(key)


def _entry(options: LoadOptions, key: str) -> EmbedderEntry:
    return options.config.conditioner_config.emb_models[_index(options, key)]
