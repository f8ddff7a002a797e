"""Modules shared by two models, which stay in memory when the model is switched.

svd and svd_xt differ in their networks, but may have the same CLIP and the same encoder of the conditioning frame. The
old engine passes its modules to the new one. Their weights are compared with the new checkpoint, tensor by tensor up to
the first difference. Each module records the files that match, so that switching back reads none of its weights.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from img2vid import paths
from img2vid.engine.config import ImagePredictionEmbedderConfig
from img2vid.engine.interface import FileId, ModelSource, Parts, SharedModule
from img2vid.engine.model import SvdModel
from img2vid.engine.nets.clip import architecture
from img2vid.engine.weights.checkpoint import Place, is_pickled
from img2vid.engine.weights.stored import Entries, find_tensors, read_stored
from img2vid.errors import CheckpointError

SHARED = ("cond_frames_without_noise", "cond_frames")
"""Input keys of the embedders with weights: CLIP, and the encoder of the conditioning frame."""


def reuse(model: SvdModel, source: ModelSource, place: Place, spare: Parts) -> dict[str, SharedModule]:
    """Insert the spare modules whose weights match the checkpoint into a model on the meta device, and return them.

    Their weights need not be read from the file. Raise CheckpointError if the file does not match the configuration.
    """
    file = file_id(source.checkpoint)
    if not spare or file is None or is_pickled(source.checkpoint):
        return {}
    stored = find_tensors(source.checkpoint, model.weights(), source.unet)
    taken: dict[str, SharedModule] = {}
    for key, part in spare.items():
        if part.signature != fingerprint(source, key):
            continue
        if file in part.files or _has_weights_of(stored, prefix_of(source, key), part.module, place):
            model.conditioner.embedders[_index(source, key)] = part.module
            taken[key] = replace(part, files=part.files | {file})
    return taken


def parts_of(model: SvdModel, source: ModelSource, taken: Parts) -> dict[str, SharedModule]:
    """Return the shared modules of a loaded model, including the reused ones in `taken`."""
    file = file_id(source.checkpoint)
    same: frozenset[FileId] = frozenset(() if file is None else (file,))
    return {
        key: taken.get(key) or SharedModule(model.conditioner.embedder(key), fingerprint(source, key), same)
        for key in SHARED
    }


def file_id(path: Path) -> FileId | None:
    """Return the identity of a checkpoint, or None if it is missing; a replaced file has another modification time."""
    try:
        facts = [file.stat() for file in paths.weight_files(path)]
    except OSError:
        return None
    if not facts:
        return None
    return str(path.absolute()), sum(one.st_size for one in facts), max(one.st_mtime_ns for one in facts)


def prefix_of(source: ModelSource, key: str) -> str:
    """Return the prefix of an embedder's weights in the checkpoint."""
    return f"conditioner.embedders.{_index(source, key)}."


def fingerprint(source: ModelSource, key: str) -> str:
    """Return everything that defines an embedder except its weights, as JSON: computation, device and formats."""
    config = source.config.conditioner_config.emb_models[_index(source, key)].embedder
    facts: list[Any] = [
        type(config).__name__,
        config.model_dump(mode="json"),
        source.options.device,
        source.options.precision,
    ]
    if isinstance(config, ImagePredictionEmbedderConfig):
        facts.append(architecture(config.open_clip_embedding_config.arch, source.config_path.parent))
    else:
        facts.remove(source.options.precision)  # the encoder is always in float32
    return json.dumps(facts, sort_keys=True)


def _has_weights_of(stored: Entries, prefix: str, module: nn.Module, place: Place) -> bool:
    """Return True if a checkpoint's weights, converted by `place`, equal those of the module."""
    current = module.state_dict(prefix=prefix, keep_vars=True)
    try:
        for name, tensor in read_stored({name: stored[name] for name in current}):
            new = place(name, tensor)
            if new.dtype != current[name].dtype or not torch.equal(new.to(current[name].device), current[name]):
                return False
    except CheckpointError:
        return False  # the regular loading reports the error
    return True


def _index(source: ModelSource, key: str) -> int:
    return [entry.input_key for entry in source.config.conditioner_config.emb_models].index(key)
