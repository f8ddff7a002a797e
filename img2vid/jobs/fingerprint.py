"""Fingerprints of runs: everything that a video, its latents or its peak memory depends on.

The values are kept in the database and in file names, so what goes into them must not change.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from img2vid.options import LoadOptions
from img2vid.settings import ABOUT, SampleSettings, used_settings
from img2vid.text_to_image.settings import ImageSettings

AFTER_SAMPLING = {"decode_t", "saving_fps", "watermark", "num_samples"}
"""Settings that do not affect the latents."""
OF_DECODING = {"decoder_precision", "memory"}
"""Fields of LoadOptions that do not affect the latents."""
OF_VIDEO = ("provider", "device", "precision", "decoder_precision")
"""Fields of LoadOptions that affect a video's frames."""
OF_MEMORY = ("provider", "device", "precision", "decoder_precision", "memory")
"""Fields of LoadOptions that affect memory, besides `compile`."""


def of_video(settings: SampleSettings, options: LoadOptions, picture: str) -> str:
    """Return the fingerprint of one video. Videos with the same fingerprint are identical.

    picture: file name among the store's inputs, which starts with the checksum of its contents. Unused settings, the
    memory plan, threads, compilation and num_samples are not part of it.
    """
    used = {*used_settings(settings.model_dump())} - {"num_samples", "saving_fps"}
    counted = {name: value for name, value in _settings(settings).items() if name in used}
    engine = tuple(_values(options, OF_VIDEO))
    return _sha256([counted, settings.file_fps, engine, picture.partition(".")[0]])


def of_picture(image: ImageSettings, options: LoadOptions) -> str:
    """Return the fingerprint of one picture from a prompt. Pictures with the same fingerprint are identical."""
    return _sha256([image.model_dump(exclude={"candidates"}), _values(options, ("device", "precision"))])


def of_latents(settings: SampleSettings, options: LoadOptions, picture_sha256: str) -> str:
    """Return the fingerprint of one video's latents: 32 hexadecimal digits."""
    engine = {name: value for name, value in asdict(options).items() if name not in OF_DECODING}
    return _sha256([_settings(settings, AFTER_SAMPLING), engine, picture_sha256])[:32]


def of_memory(settings: SampleSettings, options: LoadOptions) -> str:
    """Return the name of a kind of run whose peak memory is the same."""
    frames = (settings.width, settings.height, settings.num_frames, settings.decode_t)
    compiled = ("compiled",) if options.compile else ()
    return " ".join(map(str, ("memory", settings.version, *_values(options, OF_MEMORY), *compiled, *frames)))


def _settings(settings: SampleSettings, without: Iterable[str] = ()) -> dict[str, Any]:
    """Return the settings as plain values, without those added later that have their default."""
    fields = SampleSettings.model_fields
    return {
        name: value
        for name, value in settings.model_dump(exclude={*without}).items()
        if not (ABOUT[name].added_later and value == fields[name].default)
    }


def _values(options: LoadOptions, names: Iterable[str]) -> list[Any]:
    return [getattr(options, name) for name in names]


def _sha256(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
