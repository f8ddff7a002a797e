"""Files that appear whole or not at all, and never on top of a file that somebody else has written.

Everything is first written under a hidden temporary name in the same folder. Whatever stops the writing, no unfinished
file is ever seen under the final name; a process that is killed may leave its temporary file (`.*.part`) behind.
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
    """An empty file in `folder`, which is made if need be; it is removed when the block ends, unless it was moved."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder.absolute() / f".{secrets.token_hex(8)}.part"
    part.touch(exist_ok=False)
    try:
        yield part
    finally:
        # While an error is on its way, a failure to clean up must not take its place.
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Generator[Path, None, None]:
    """A temporary path to write to; at the end of the block it takes the place of `path`, if nothing went wrong."""
    with temporary_file(path.parent) as part:
        yield part
        put_in_place(part, path)


def put_in_place(part: Path, path: Path) -> None:
    """Renames the finished file `part` to `path`, which it replaces, when its contents are on the disk."""
    _to_disk(part)
    part.replace(path)
    _folder_to_disk(path.parent)


def publish(part: Path, path: Path, *, companions: Sequence[str] = ()) -> Path:
    """Move the finished file `part` to `path`, or to the first free of `name_2`, `name_3`, ...; returns where it went.

    Safe with any number of processes publishing under the same name at once: each gets a name of its own.
    A name is also skipped where a file with one of the `companions` suffixes (such as ".json") has it already.
    """
    _to_disk(part)
    for candidate in _numbered(path):
        if any(candidate.with_suffix(suffix).exists() for suffix in companions):
            continue
        with suppress(FileExistsError):
            _move_to_new(part, candidate)
            _folder_to_disk(candidate.parent)
            return candidate
    raise AssertionError("the numbers never end")


def move(source: Path, path: Path) -> None:
    """Moves a file, also to another disk, whole or not at all; raises FileExistsError where `path` is taken."""
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
    """Rename, or raise FileExistsError: a second name (hard link) is the one step that never replaces a file."""
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
    """Wait until the contents are on the disk, so that a power cut after the renaming finds the whole file."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    """Wait until the new name is on the disk; Windows and some network drives cannot be asked for that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
