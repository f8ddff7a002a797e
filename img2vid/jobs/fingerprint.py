"""Fingerprints of runs: everything that a video, its latents or its peak memory depends on.

The values are kept in the database and in file names, so what goes into them must not change.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from img2vid.inference import EngineChoice
from img2vid.settings import PARAMS, SampleSettings

AFTER_SAMPLING = {"decode_t", "saving_fps", "watermark", "num_samples"}
"""Settings that do not affect the latents."""
OF_DECODING = {"decoder_precision", "memory"}
"""Fields of EngineChoice that do not affect the latents."""
OF_VIDEO = ("provider", "device", "precision", "decoder_precision")
"""Fields of EngineChoice that affect a video's frames."""
OF_MEMORY = ("provider", "device", "precision", "decoder_precision", "memory")
"""Fields of EngineChoice that affect memory, besides `compile`."""


def of_video(settings: SampleSettings, choice: EngineChoice, picture: str) -> str:
    """Return the fingerprint of one video. Videos with the same fingerprint are identical.

    picture: file name among the store's inputs, which starts with the checksum of its contents. Unused settings, the
    memory plan, threads, compilation and num_samples are not part of it.
    """
    used = (settings.sampler, settings.discretization, settings.guider)
    needed = {name for option in used for name in PARAMS[option]}
    unused = {name for names in PARAMS.values() for name in names} - needed
    counted = settings.model_dump(exclude={*unused, "num_samples", "saving_fps"})
    engine = tuple(_values(choice, OF_VIDEO))
    return _sha256([counted, settings.file_fps, engine, picture.partition(".")[0]])


def of_latents(settings: SampleSettings, choice: EngineChoice, picture_sha256: str) -> str:
    """Return the fingerprint of one video's latents: 32 hexadecimal digits."""
    engine = {name: value for name, value in asdict(choice).items() if name not in OF_DECODING}
    return _sha256([settings.model_dump(exclude=AFTER_SAMPLING), engine, picture_sha256])[:32]


def of_memory(settings: SampleSettings, choice: EngineChoice) -> str:
    """Return the name of a kind of run whose peak memory is the same."""
    frames = (settings.width, settings.height, settings.num_frames, settings.decode_t)
    compiled = ("compiled",) if choice.compile else ()
    return " ".join(map(str, ("memory", settings.version, *_values(choice, OF_MEMORY), *compiled, *frames)))


def _values(choice: EngineChoice, names: Iterable[str]) -> list[Any]:
    return [getattr(choice, name) for name in names]


def _sha256(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
