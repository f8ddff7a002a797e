"""Looks whether a checkpoint on the disk is what it should be: its size, its header, its checksum."""

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
    """A file with nothing wrong. known: whether its checksum was compared with one that the version's row gives."""

    path: Path
    bytes: int
    sha256: str
    known: bool

    def sentence(self) -> str:
        """What was found."""
        size = f"{self.bytes:,} bytes"
        if self.known:
            return f"{self.path} is right: {size}, SHA-256 as expected"
        return f"{self.path} is whole ({size}); its row names no SHA-256 to compare with {self.sha256}"


def verify(version: ModelVersion, on_progress: OnProgress = ignore) -> Verified:
    """Reads all of a version's checkpoint. Raises CheckpointError that says what is wrong with it and what to do."""
    path = version.require_checkpoint()
    if path.suffix == ".safetensors":
        kind = foreign_kind(read_header(path))
        if kind is not None:
            raise CheckpointError(f"{path} is {kind}; {_again(version)}")
    size, found = checksum(path, on_progress)
    if version.sha256 is not None and found != version.sha256:
        raise CheckpointError(
            f"{path} is damaged or another file: its SHA-256 is {found}, expected {version.sha256} "
            f"({size:,} bytes); {_again(version)}"
        )
    return Verified(path, size, found, version.sha256 is not None)


def checksum(path: Path, on_progress: OnProgress = ignore) -> tuple[int, str]:
    """Size and SHA-256 of a file. Raises CheckpointError where it cannot be read."""
    digest, done, meter = hashlib.sha256(), 0, Meter("check", on_progress)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                meter(done, size)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); the disk may be damaged") from error
    return done, digest.hexdigest()


def _again(version: ModelVersion) -> str:
    return f"remove it (`img2vid models remove {version.name}`) and get it again"
