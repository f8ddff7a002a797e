"""Atomic file writes that never overwrite files of other writers.

Everything is first written under a hidden temporary name in the same folder, so no incomplete file ever has the final
name. A killed process may leave its temporary file (`.*.part`) behind.
"""

import errno
import itertools
import os
import secrets
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def temporary_file(folder: Path) -> Generator[Path, None, None]:
    """Yield an empty file in `folder`, which is created if missing. The file is removed at the end unless moved."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder.absolute() / f".{secrets.token_hex(8)}.part"
    part.touch(exist_ok=False)
    try:
        yield part
    finally:
        # A failed cleanup must not replace the error that is propagating.
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Generator[Path, None, None]:
    """Yield a temporary path to write to. It replaces `path` at the end of the block unless an error occurs."""
    with temporary_file(path.parent) as part:
        yield part
        put_in_place(part, path)


def put_in_place(part: Path, path: Path) -> None:
    """Flush the finished file `part` to disk, then rename it to `path`, replacing any file there."""
    _to_disk(part)
    part.replace(path)
    _folder_to_disk(path.parent)


def publish(part: Path, path: Path, *, companions: Sequence[str] = ()) -> Path:
    """Move the finished file `part` to `path` or the first free of `name_2`, `name_3`, ...; return the final path.

    Safe when several processes publish under the same name at once: each gets its own name. A name is also taken if
    a file with that stem and one of the `companions` suffixes (such as ".json") exists.
    """
    _to_disk(part)
    for candidate in _numbered(path):
        if any(candidate.with_suffix(suffix).exists() for suffix in companions):
            continue
        with suppress(FileExistsError):
            _move_to_new(part, candidate)
            _folder_to_disk(candidate.parent)
            return candidate
    raise AssertionError("unreachable")


def move(source: Path, path: Path) -> None:
    """Move a file atomically, also to another disk. Raise FileExistsError if `path` exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _move_to_new(source, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with temporary_file(path.parent) as part:
            shutil.copyfile(source, part)
            shutil.copystat(source, part)
            _to_disk(part)
            _move_to_new(part, path)
    try:
        source.unlink(missing_ok=True)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}_{number}{path.suffix}")


def _move_to_new(part: Path, path: Path) -> None:
    """Rename `part`, or raise FileExistsError. A hard link is the only atomic step that never replaces a file."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # exFAT and some network drives have no hard links
        _reserve_and_replace(part, path)


def _reserve_and_replace(part: Path, path: Path) -> None:
    path.touch(exist_ok=False)
    try:
        part.replace(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _to_disk(path: Path) -> None:
    """Flush the contents to disk, so that the file is complete if power fails after the rename."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    """Flush the new name to disk. Does nothing on Windows and on network drives that do not support it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
