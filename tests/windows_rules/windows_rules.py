"""pytest plugin that enforces Windows' rules for files on Linux.

    PYTHONPATH=tests/windows_rules python -m pytest -p windows_rules tests --ignore tests/browser

The same calls fail as on Windows, with PermissionError, FileExistsError or OSError:

- removing, renaming or replacing a file that a process has open or mapped, or a folder with such a file or with the
  working directory of a process (Python, SQLite and ffmpeg open without FILE_SHARE_DELETE)
- removing or replacing a read-only file
- `os.rename` to an existing name
- making a name with a forbidden character, with a space or dot at its end, or of a device
- making a name that differs from an existing one only by case

The rules hold below the folder of temporary files, for Python code in the test process and its subprocesses, which find
`sitecustomize.py` through PYTHONPATH. Calls of C libraries are not seen.
"""

import errno
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator

ROOT = os.path.realpath(tempfile.gettempdir()) + os.sep
DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))}
FORBIDDEN = {*'<>:"|?*', *map(chr, range(32))}
VARIABLE = "WINDOWS_RULES"
"""Environment variable of the processes that the rules are for: the id of the first."""
_checking = threading.local()
_finished = threading.Event()
_ours: dict[str, bool] = {}


def absolute(path: object, folder: object = -1) -> str | None:
    """Return the absolute path of an audit event's arguments, or None if it is not below ROOT."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None
    text = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0 and not os.path.isabs(text):
        text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
    parent, name = os.path.split(os.path.abspath(text))
    real = os.path.join(os.path.realpath(parent), name)
    return real if real.startswith(ROOT) else None


def is_ours(process: str) -> bool:
    """Return True if a process belongs to this test run: it inherited the variable or was forked by the first one."""
    first = os.environ[VARIABLE]
    if process not in _ours:
        with open(f"/proc/{process}/environ", "rb") as file:
            inherited = f"{VARIABLE}={first}\0".encode() in file.read()
        with open(f"/proc/{process}/stat", "rb") as file:
            parent = file.read().rpartition(b")")[2].split()[1].decode()
        _ours[process] = inherited or first in (process, parent)
    return _ours[process]


def held() -> Iterator[str]:
    """Yield the paths of all files that processes of this run have open or mapped, and of their working directories."""
    processes = {entry for entry in os.listdir("/proc") if entry.isdigit()}
    for gone in {*list(_ours)} - processes:
        _ours.pop(gone, None)
    for process in processes:
        try:
            if not is_ours(process):
                continue
            yield os.path.join(os.readlink(f"/proc/{process}/cwd"), "")
            for descriptor in os.scandir(f"/proc/{process}/fd"):
                try:
                    yield os.readlink(descriptor.path)
                except OSError:
                    continue
            with open(f"/proc/{process}/maps", encoding="utf-8", errors="surrogateescape") as maps:
                yield from {line[line.index("/") :].rstrip("\n") for line in maps if ROOT in line}
        except (OSError, ValueError):  # the process has ended
            continue


def require_free(path: str) -> None:
    """Raise PermissionError if the file or folder could not be moved or removed."""
    try:
        status = os.lstat(path)
    except OSError:
        return
    if stat.S_ISLNK(status.st_mode):
        return
    folder = stat.S_ISDIR(status.st_mode)
    if not folder and not status.st_mode & stat.S_IWUSR:
        raise PermissionError(errno.EACCES, "[Windows rule] the file is read-only", path)
    for other in held():
        if other == path or (folder and other.startswith(path + os.sep)):
            in_use = not os.path.isdir(other) or other.endswith(os.sep)
        elif not folder and status.st_nlink > 1 and other.startswith(ROOT) and os.path.isfile(other):
            in_use = os.path.samefile(other, path)
        else:
            in_use = False
        if in_use:
            raise PermissionError(errno.EACCES, f"[Windows rule] {other} is in use", path)


def require_good_name(path: str) -> None:
    """Raise OSError if the path is new and not possible on Windows."""
    if os.path.lexists(path):
        return
    folder, name = os.path.split(path)
    if FORBIDDEN & {*name} or name != name.rstrip(" .") or name.split(".")[0].rstrip().lower() in DEVICES:
        raise OSError(errno.EINVAL, "[Windows rule] this name is not possible", path)
    others = os.listdir(folder) if os.path.isdir(folder) else []
    for other in others:
        if other.casefold() == name.casefold():
            raise FileExistsError(errno.EEXIST, f"[Windows rule] {other} is the same name", path)


def on_open(arguments: tuple[object, ...]) -> None:
    path, mode, flags = arguments
    writes = isinstance(mode, str) and {*"wxa"} & {*mode}
    if (writes or (isinstance(flags, int) and flags & os.O_CREAT)) and (new := absolute(path)):
        require_good_name(new)


def on_mkdir(arguments: tuple[object, ...]) -> None:
    if new := absolute(arguments[0], arguments[2]):
        require_good_name(new)


def on_remove(arguments: tuple[object, ...]) -> None:
    if old := absolute(arguments[0], arguments[1]):
        require_free(old)


def on_rename(arguments: tuple[object, ...]) -> None:
    old, new = absolute(arguments[0], arguments[2]), absolute(arguments[1], arguments[3])
    if old:
        require_free(old)
    if new and new != old:
        require_free(new)
        if old is None or new.casefold() != old.casefold():
            require_good_name(new)


CHECKS = {"open": on_open, "os.mkdir": on_mkdir, "os.remove": on_remove, "os.rename": on_rename}
"""Checks by the audit event that announces a call. They raise the error of Windows."""


def hook(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook."""
    if event not in CHECKS or _finished.is_set() or getattr(_checking, "now", False):
        return
    _checking.now = True
    try:
        CHECKS[event](arguments)
    finally:
        _checking.now = False


def install() -> None:
    """Enforce the rules in this process."""
    rename = os.rename

    def refusing_rename(source, target, *, src_dir_fd=None, dst_dir_fd=None):  # type: ignore[no-untyped-def]
        path = absolute(target)
        if path and os.path.lexists(path) and not os.path.samefile(source, target):
            raise FileExistsError(errno.EEXIST, "[Windows rule] os.rename does not replace files", path)
        return rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    os.rename = refusing_rename
    sys.addaudithook(hook)


def pytest_configure(config: object) -> None:
    """Start. With pytest-xdist, the main process comes first."""
    os.environ.setdefault(VARIABLE, str(os.getpid()))
    install()


def pytest_unconfigure(config: object) -> None:
    """End: pytest then removes the temporary folders of earlier runs."""
    _finished.set()
