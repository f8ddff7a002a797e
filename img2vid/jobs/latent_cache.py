"""What was sampled, kept on disk until its video is there: whatever ends a run while it decodes, sampling is not lost.

A blob is found again by all that its latents depend on. So a job that is run again begins with decoding, also with
another decode_t. It says which model made it, and is used by no other.
"""

import hashlib
import io
import json
import logging
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from img2vid.files import whole_file
from img2vid.inference import EngineChoice, LoadedModel, made_by
from img2vid.jobs.job import Job
from img2vid.settings import SampleSettings

logger = logging.getLogger(__name__)

KEPT = 12
"""Packets that are kept, the newest; one of the full model has about 4 MB."""
AFTERWARDS = {"decode_t", "saving_fps", "watermark", "num_samples"}
"""Settings that count only when the latents are there."""
OF_DECODING = {"decoder_precision", "memory"}
"""Fields of EngineChoice on which latents do not depend."""


def fingerprint(settings: SampleSettings, choice: EngineChoice, picture_sha256: str) -> str:
    """The name of one video's latents: settings and picture alike, latents alike."""
    engine = {name: value for name, value in asdict(choice).items() if name not in OF_DECODING}
    facts = [settings.model_dump(exclude=AFTERWARDS), engine, picture_sha256]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def latents_key(job: Job, index: int) -> str:
    """The name of the latents of a job's `index`-th video."""
    return fingerprint(job.settings_of(index), job.choice, job.picture.stem)


def pack(latents: NDArray[np.float32], made_by: str) -> bytes:
    """Latents (T, z, h, w) as bytes, with the description of the model that made them."""
    packed = io.BytesIO()
    np.savez(packed, latents=latents, made_by=np.array(made_by))
    return packed.getvalue()


def unpack(blob: bytes, made_by: str) -> NDArray[np.float32] | None:
    """The latents of a blob, or None where it is empty, damaged, or made by another model."""
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as values:
            return values["latents"] if str(values["made_by"]) == made_by else None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


class LatentCache:
    """The blobs of one home. It is an insurance: where its disk is full, runs go on without."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "latents"

    def put(self, key: str, blob: bytes) -> None:
        """Keeps a blob, whole or not at all, and lets go of the oldest ones."""
        try:
            with whole_file(self._path(key)) as part:
                part.write_bytes(blob)
            for old in sorted(self._folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
                old.unlink()
        except OSError as error:
            logger.warning("What was sampled cannot be kept: %s", error)

    def get(self, key: str) -> bytes:
        """The blob of that name, or nothing."""
        try:
            return self._path(key).read_bytes()
        except OSError:
            return b""

    def has(self, key: str) -> bool:
        """Whether there is a blob of that name."""
        return self._path(key).is_file()

    def drop(self, key: str) -> None:
        """Lets go of a blob, for its video is on disk."""
        with suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npz"


class CachedLatents:
    """A cache for runs in this very process, as the pipeline wants it; `pipeline.Keeping` says how."""

    def __init__(self, cache: LatentCache, model: LoadedModel, choice: EngineChoice, picture_sha256: str) -> None:
        self._cache, self._model, self._choice, self._picture = cache, model, choice, picture_sha256

    def recall(self, settings: SampleSettings) -> NDArray[np.float32] | None:
        """What was kept of such a run."""
        return unpack(self._cache.get(self._key(settings)), made_by(self._model))

    def keep(self, settings: SampleSettings, latents: NDArray[np.float32]) -> None:
        """Keeps what was sampled."""
        self._cache.put(self._key(settings), pack(latents, made_by(self._model)))

    def drop(self, settings: SampleSettings) -> None:
        """Lets go of it, for the video is on disk."""
        self._cache.drop(self._key(settings))

    def _key(self, settings: SampleSettings) -> str:
        return fingerprint(settings, self._choice, self._picture)
