"""Cache of sampled latents on disk, kept until their video exists: a failed decode does not sample again.

The key covers all that the latents depend on. A job that is run again starts with decoding, also with another
decode_t. Each blob records the model that made it and is used with no other model.
"""

import io
import logging
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from img2vid.files import read_bytes, remove, whole_file
from img2vid.inference import LoadedModel, made_by
from img2vid.jobs.fingerprint import of_latents
from img2vid.jobs.job import Job
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings

logger = logging.getLogger(__name__)

KEPT = 12
"""Maximum number of blobs; the oldest are dropped. One of the full model has about 4 MB."""


def latents_key(job: Job, index: int) -> str:
    """Return the cache key of a job's `index`-th video."""
    return of_latents(job.settings_of(index), job.options, job.picture.stem)


def pack(latents: NDArray[np.float32], made_by: str) -> bytes:
    """Encode latents (T, z, h, w) and the identifier of the model that made them."""
    packed = io.BytesIO()
    np.savez(packed, latents=latents, made_by=np.array(made_by))
    return packed.getvalue()


def unpack(blob: bytes, made_by: str) -> NDArray[np.float32] | None:
    """Decode the latents of a blob. Return None if it is empty, damaged or made by another model."""
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as values:
            return values["latents"] if str(values["made_by"]) == made_by else None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


class LatentCache:
    """Latent blobs of one home. Best effort: if the disk is full, runs continue without it."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "latents"

    def put(self, key: str, blob: bytes) -> None:
        """Store a blob atomically and drop the oldest ones."""
        try:
            with whole_file(self._path(key)) as part:
                part.write_bytes(blob)
            for old in sorted(self._folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
                remove(old)
        except OSError as error:
            logger.warning("Sampled latents cannot be cached: %s", error)

    def get(self, key: str) -> bytes:
        """Return the blob of this key, or empty bytes."""
        try:
            return read_bytes(self._path(key))
        except OSError:
            return b""

    def has(self, key: str) -> bool:
        """Return True if a blob of this key exists."""
        return self._path(key).is_file()

    def drop(self, key: str) -> None:
        """Delete a blob whose video is on disk."""
        with suppress(OSError):
            remove(self._path(key))

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npz"


class CachedLatents:
    """`pipeline.LatentStore` backed by a LatentCache, for runs in this process."""

    def __init__(self, cache: LatentCache, model: LoadedModel, options: LoadOptions, picture_sha256: str) -> None:
        self._cache, self._model, self._options, self._picture = cache, model, options, picture_sha256

    def recall(self, settings: SampleSettings) -> NDArray[np.float32] | None:
        """Return the cached latents of these settings, or None."""
        return unpack(self._cache.get(self._key(settings)), made_by(self._model))

    def keep(self, settings: SampleSettings, latents: NDArray[np.float32]) -> None:
        """Cache the latents of a run."""
        self._cache.put(self._key(settings), pack(latents, made_by(self._model)))

    def drop(self, settings: SampleSettings) -> None:
        """Delete the latents of a video that is on disk."""
        self._cache.drop(self._key(settings))

    def _key(self, settings: SampleSettings) -> str:
        return of_latents(settings, self._options, self._picture)
