"""Parts that two models have in common: on a switch they stay in memory and are not loaded again.

svd and svd_xt differ in their networks, while CLIP and the encoder of the conditioning frame may well be the same. The
engine that goes hands its parts over. Whether the new checkpoint holds the same weights is found out by comparing them,
tensor by tensor up to the first one that differs; which files were found to agree is kept with the part, so that going
back to the first model reads nothing of them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from img2vid.checkpoints.header import read_header
from img2vid.engine.config import EmbedderEntry, ImagePredictionEmbedderConfig
from img2vid.engine.encoder_cache import EncoderCache
from img2vid.engine.interface import LoadOptions
from img2vid.engine.model import SvdModel
from img2vid.engine.nets.clip import architecture
from img2vid.engine.weights.checkpoint import Place, check

SHARED = ("cond_frames_without_noise", "cond_frames")
"""The input keys of the embedders that have weights: CLIP, and the encoder of the conditioning frame."""

FileId = tuple[str, int, int]
"""Path, size and time of change of a checkpoint."""


@dataclass(frozen=True)
class SharedModule:
    """An embedder, with its weights on their device.

    made_as: all that it is besides its weights. files: checkpoints that are known to hold these very weights. seen:
    what it made of the last pictures.
    """

    module: nn.Module
    made_as: str
    files: frozenset[FileId]
    seen: EncoderCache = field(default_factory=EncoderCache)


Parts = Mapping[str, SharedModule]
"""Parts by the input key of the embedder."""


def reuse(model: SvdModel, options: LoadOptions, place: Place, spare: Parts) -> dict[str, SharedModule]:
    """Puts spare parts into a model on the meta device wherever the checkpoint holds just their weights.

    What is taken needs not be read from the file any more. Raises CheckpointError where the file does not fit at all.
    """
    file = file_id(options.checkpoint)
    if not spare or file is None or options.checkpoint.suffix != ".safetensors":
        return {}
    check(options.checkpoint, read_header(options.checkpoint), model.weights())
    taken: dict[str, SharedModule] = {}
    for key, part in spare.items():
        if part.made_as != fingerprint(options, key):
            continue
        if file in part.files or _holds(options.checkpoint, prefix_of(options, key), part.module, place):
            model.conditioner.embedders[_index(options, key)] = part.module
            taken[key] = replace(part, files=part.files | {file})
    return taken


def parts_of(model: SvdModel, options: LoadOptions, taken: Parts) -> dict[str, SharedModule]:
    """The parts of a model that was just loaded, those that it took over among them."""
    file = file_id(options.checkpoint)
    files: frozenset[FileId] = frozenset(() if file is None else (file,))
    return {
        key: taken.get(key) or SharedModule(model.conditioner.embedder(key), fingerprint(options, key), files)
        for key in SHARED
    }


def file_id(path: Path) -> FileId | None:
    """Which file it is, or None where it is gone; another one of the same name has another time of change."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return str(path.absolute()), facts.st_size, facts.st_mtime_ns


def prefix_of(options: LoadOptions, key: str) -> str:
    """What the names of an embedder's weights begin with in the checkpoint."""
    return f"conditioner.embedders.{_index(options, key)}."


def fingerprint(options: LoadOptions, key: str) -> str:
    """All that an embedder is besides its weights, as a text: what is computed, where, and in which formats."""
    config = _entry(options, key).embedder
    facts: list[Any] = [type(config).__name__, config.model_dump(mode="json"), str(options.device), options.precision]
    if isinstance(config, ImagePredictionEmbedderConfig):
        facts.append(architecture(config.open_clip_embedding_config.arch, options.config_path.parent))
    else:
        facts.remove(options.precision)  # the encoder is in float32 whatever the precision
    return json.dumps(facts, sort_keys=True)


def _holds(path: Path, prefix: str, module: nn.Module, place: Callable[[str, Tensor], Tensor]) -> bool:
    """Whether a checkpoint's weights, placed as a model holds them, are those of the module."""
    open_file: Any = safe_open  # safetensors declares no types for it
    try:
        with open_file(str(path), framework="pt") as file:
            for name, held in module.state_dict(keep_vars=True).items():
                new = place(prefix + name, file.get_tensor(prefix + name))
                if new.dtype != held.dtype or not torch.equal(new.to(held.device), held):
                    return False
    except (SafetensorError, OSError):
        return False  # loading it in the usual way says what is wrong
    return True


def _index(options: LoadOptions, key: str) -> int:
    return [entry.input_key for entry in options.config.conditioner_config.emb_models].index(key)


def _entry(options: LoadOptions, key: str) -> EmbedderEntry:
    return options.config.conditioner_config.emb_models[_index(options, key)]
