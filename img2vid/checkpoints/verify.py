"""Verification of a checkpoint on disk: size, header and checksum."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from img2vid import paths
from img2vid.checkpoints.download import CHUNK, component_of
from img2vid.checkpoints.header import foreign_kind, read_header
from img2vid.checkpoints.progress import Meter, OnProgress, ignore
from img2vid.errors import CheckpointError
from img2vid.files import reason
from img2vid.versions import CheckpointRow


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


def verify(version: CheckpointRow, on_progress: OnProgress = ignore) -> Verified:
    """Read a version's own checkpoint, all files of a folder. Raise CheckpointError, with advice, if it is invalid."""
    version.require_checkpoint()
    path = version.own_path or Path(version.own_file)
    if not path.is_dir():
        return _verify_file(version, path, version.sha256, on_progress)
    checked = [
        _verify_file(version, file, facts.sha256 if facts else None, on_progress)
        for file in paths.weight_files(path)
        for facts in [version.diffusers.get(file.relative_to(path).as_posix())]
    ]
    digests = " ".join(one.sha256 for one in checked)
    return Verified(path, sum(one.bytes for one in checked), digests, all(one.known for one in checked))


def _verify_file(version: CheckpointRow, path: Path, sha256: str | None, on_progress: OnProgress) -> Verified:
    if path.suffix == ".safetensors":
        kind = foreign_kind(read_header(path), component_of(version, path))
        if kind is not None:
            raise CheckpointError(f"{path} is {kind}; {_again(version)}")
    size, found = checksum(path, on_progress)
    if sha256 is not None and found != sha256:
        raise CheckpointError(
            f"{path} is damaged or a different file: SHA-256 {found}, expected {sha256} "
            f"({size:,} bytes); {_again(version)}"
        )
    return Verified(path, size, found, sha256 is not None)


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
        raise CheckpointError(f"cannot read {path} ({reason(error)}); check the disk") from error
    return done, digest.hexdigest()


def _again(version: CheckpointRow) -> str:
    return f"remove it (`img2vid models remove {version.name}`) and download it again"
