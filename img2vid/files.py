"""Atomic file writes that never overwrite files of other writers, and retries for files that are in use.

Everything is first written under a hidden temporary name in the same folder, so no incomplete file ever has the final
name. A killed process may leave its temporary file (`.*.part`) behind.

On Windows no program can replace, rename or remove a file that another one has open, such as a virus scanner, and no
program can open a file that is being replaced. Both are brief, so every operation here is retried for PATIENCE, unless
the user lacks the permission.
"""

import errno
import itertools
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 2.0
"""Seconds to retry an operation on a file that is in use."""
PAUSES = (0.002, 0.05)
"""Seconds before the first retry, and the longest pause. Each pause is twice as long as the one before."""
IN_USE = {32, 33}
"""Windows errors: sharing violation, lock violation. Python gives both, and "access denied", the number EACCES."""


def retry_in_use(operation: Callable[[], T]) -> T:
    """Return the result of `operation`; retry it for PATIENCE if a file is in use, then raise its PermissionError."""
    (pause, longest), end = PAUSES, time.monotonic() + PATIENCE
    while True:
        try:
            return operation()
        except OSError as error:
            if error.errno != errno.EACCES or _is_denied(error) or time.monotonic() + pause > end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, longest)


def _is_denied(error: OSError) -> bool:
    """Return True if the user may not access a file or change its folder. Windows' permissions cannot be checked."""
    if os.name == "nt":
        return False
    named = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if name]
    files = [path for path in named if path.exists()]
    return not all(os.access(path, os.R_OK | os.W_OK) for path in [*files, *(path.parent for path in named)])


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file that other programs may replace."""
    return retry_in_use(path.read_bytes)


def read_text(path: Path) -> str:
    """Return the UTF-8 text of a file that other programs may replace."""
    return retry_in_use(lambda: path.read_text(encoding="utf-8"))


def replace(source: Path, path: Path) -> None:
    """Rename `source` to `path` atomically, replacing any file there."""
    retry_in_use(lambda: source.replace(path))


def remove(path: Path) -> None:
    """Delete a file, if it exists."""
    retry_in_use(lambda: path.unlink(missing_ok=True))


def remove_folder(folder: Path) -> None:
    """Delete a folder and everything in it, also read-only files, as far as possible."""
    for path in folder.rglob("*"):
        with suppress(OSError):
            clear_read_only(path)
    try:
        retry_in_use(lambda: shutil.rmtree(folder))
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def remove_if_empty(folder: Path) -> None:
    """Delete a folder if it exists and has no files."""
    with suppress(OSError):
        folder.rmdir()


def is_read_only(path: Path) -> bool:
    """Return True if a file is marked read-only, which on Windows prevents its removal. A symlink never is."""
    with suppress(OSError):
        return not path.is_symlink() and not path.stat().st_mode & stat.S_IWUSR
    return False


def clear_read_only(path: Path) -> None:
    """Clear the read-only mark of a file that the user decided to delete."""
    if is_read_only(path):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def reason(error: Exception) -> str:
    """Return why a file operation failed, for an error message."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    if number == errno.EROFS:
        return "the disk is read-only"
    if number == errno.ENAMETOOLONG:
        return "the path is too long"
    if number == errno.EACCES:
        path = getattr(error, "filename", None)
        if path and is_read_only(Path(os.fsdecode(path))):
            return "it is read-only"
        if getattr(error, "winerror", None) in IN_USE:
            return "another program has it open"
    return getattr(error, "strerror", None) or str(error)


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
            remove(part)


@contextmanager
def whole_file(path: Path) -> Generator[Path, None, None]:
    """Yield a temporary path to write to. It replaces `path` at the end of the block unless an error occurs."""
    with temporary_file(path.parent) as part:
        yield part
        put_in_place(part, path)


def write_folder(folder: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """Write files by name to a new folder, which appears when it is complete, and return its path.

    The folder is named `folder` or the first free of `name_2`, `name_3`, ...
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.absolute().with_name(f".{secrets.token_hex(8)}.part")
    part.mkdir()
    try:
        for name, data in files:
            (part / name).write_bytes(data)
            _to_disk(part / name)
        for candidate in _numbered(folder):
            if not candidate.exists():
                replace(part, candidate)
                _folder_to_disk(candidate.parent)
                return candidate
    finally:
        if part.exists():
            remove_folder(part)
    raise AssertionError("unreachable")


@contextmanager
def all_or_none() -> Generator[dict[str, Path], None, None]:
    """Yield a dictionary for the files that the block writes, by suffix. If it fails, also on Ctrl-C, delete them."""
    written: dict[str, Path] = {}
    try:
        yield written
    except BaseException:
        for path in written.values():
            remove(path)
        raise


def put_in_place(part: Path, path: Path) -> None:
    """Flush the finished file `part` to disk, then rename it to `path`, replacing any file there."""
    _to_disk(part)
    replace(part, path)
    _folder_to_disk(path.parent)


def publish(part: Path, path: Path, *, companions: Sequence[str] = ()) -> Path:
    """Move the finished file `part` to `path` or the first free of `name_2`, `name_3`, ...; return the final path.

    Safe when several processes publish under the same name at once: each gets its own name. A name is also taken if
    a file with that stem and one of the `companions` suffixes (such as ".json") exists, or if one differs only by case,
    because both could not be copied to Windows.
    """
    _to_disk(part)
    taken = {other.name.casefold() for other in path.parent.iterdir()}
    for candidate in _numbered(path):
        if any(candidate.with_suffix(suffix).name.casefold() in taken for suffix in (path.suffix, *companions)):
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
        remove(source)
    except OSError:
        with suppress(OSError):
            remove(path)
        raise


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}_{number}{path.suffix}")


def _move_to_new(part: Path, path: Path) -> None:
    """Rename `part` atomically, or raise FileExistsError. On POSIX, `part` also keeps its old name."""
    if os.name == "nt":
        retry_in_use(lambda: part.rename(path))
        return
    try:
        path.hardlink_to(part)  # POSIX's rename would replace a file
    except FileExistsError:
        raise
    except OSError:  # exFAT and some network drives have no hard links
        _reserve_and_replace(part, path)


def _reserve_and_replace(part: Path, path: Path) -> None:
    path.touch(exist_ok=False)
    try:
        replace(part, path)
    except BaseException:
        remove(path)
        raise


def _to_disk(path: Path) -> None:
    """Flush the contents to disk, so that the file is complete if power fails after the rename."""
    with retry_in_use(lambda: path.open("rb+")) as file:
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
