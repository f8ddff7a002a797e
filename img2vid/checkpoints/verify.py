"""Verification of a checkpoint on disk: size, header and checksum."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from img2vid.checkpoints.download import CHUNK
from img2vid.checkpoints.header import foreign_kind, read_header
from img2vid.checkpoints.progress import Meter, OnProgress, ignore
from img2vid.errors import CheckpointError
from img2vid.versions import ModelVersion


@dataclass(frozen=True)
class Verified:
    """A valid file. known: the checksum was compared with the one in the version's row."""

    path: Path
    bytes: int
    sha256: str
    known: bool

    def sentence(self) -> str:
        """Return the outcome in a sentence."""
        size = f"{self.bytes:,} bytes"
        if self.known:
            return f"{self.path} is valid: {size}, SHA-256 matches"
        return f"{self.path} is readable ({size}), but there is no reference to compare its SHA-256 {self.sha256} with"


def verify(version: ModelVersion, on_progress: OnProgress = ignore) -> Verified:
    """Read a version's whole checkpoint. Raise CheckpointError, with advice, if it is invalid."""
    path = version.require_checkpoint()
    if path.suffix == ".safetensors":
        kind = foreign_kind(read_header(path))
        if kind is not None:
            raise CheckpointError(f"{path} is {kind}; {_again(version)}")
    size, found = checksum(path, on_progress)
    if version.sha256 is not None and found != version.sha256:
        raise CheckpointError(
            f"{path} is damaged or a different file: SHA-256 {found}, expected {version.sha256} "
            f"({size:,} bytes); {_again(version)}"
        )
    return Verified(path, size, found, version.sha256 is not None)


def checksum(path: Path, on_progress: OnProgress = ignore) -> tuple[int, str]:
    """Return the size and SHA-256 of a file. Raise CheckpointError if it cannot be read."""
    digest, done, meter = hashlib.sha256(), 0, Meter("check", on_progress)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                meter(done, size)
    except OSError as error:
        raise CheckpointError(f"cannot read {path} ({error.strerror}); check the disk") from error
    return done, digest.hexdigest()


def _again(version: ModelVersion) -> str:
    return f"remove it (`img2vid models remove {version.name}`) and download it again"
