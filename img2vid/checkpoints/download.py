"""Resumable checkpoint downloads, verified while data arrives.

Data is written to `NAME.part` and renamed when complete and correct. A later download resumes from the part. A complete
but invalid file becomes `NAME.broken`. Neither is ever loaded.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as dataclass_replace
from pathlib import Path

from img2vid import paths
from img2vid.checkpoints.connection import Answer, ConnectionDropped, open_at
from img2vid.checkpoints.header import foreign_kind, read_header
from img2vid.checkpoints.progress import Meter, OnProgress, Progress, ignore
from img2vid.checkpoints.sources import Source
from img2vid.errors import BadInput, CheckpointError, Img2VidError
from img2vid.file_lock import HomeLock
from img2vid.files import put_in_place, reason, remove, replace
from img2vid.versions import CheckpointRow, R, load_versions

CHUNK = 1 << 18
"""Bytes per read."""
CLOSE = 0.02
"""Relative size tolerance: sizes in versions.yaml may be rounded; a larger difference means another file."""
TICK = 0.2
"""Seconds between cancellation checks while waiting."""


@dataclass(frozen=True)
class Timeouts:
    """Timeouts and retries of a download."""

    timeout: float = 20.0
    """Seconds without a byte before the connection counts as lost."""
    attempts: int = 6
    """Consecutive failures without progress before giving up."""
    pause: float = 1.0
    """Seconds before the first retry; doubled after each further failure."""
    longest: float = 300.0
    """Longest Retry-After in seconds that is accepted."""
    sleep: Callable[[float], None] = time.sleep


def part_of(path: Path) -> Path:
    """Return the path of a partial download."""
    return path.with_name(f"{path.name}.part")


def broken_of(path: Path) -> Path:
    """Return the path of an invalid download."""
    return path.with_name(f"{path.name}.broken")


def lock_of(path: Path) -> Path:
    """Return the path of the lock of a download."""
    return path.with_name(f".{path.name}.lock")


def places(version: CheckpointRow) -> list[Path]:
    """Return the possible paths of a version's own file, in search order."""
    file = Path(version.own_file).expanduser()
    return [file] if file.is_absolute() else [folder / file for folder in paths.checkpoint_folders()]


def arrived(version: CheckpointRow) -> Path | None:
    """Return the partial download of a version's checkpoint, or None."""
    return next((part for part in map(part_of, places(version)) if part.is_file()), None)


def arrived_bytes(version: CheckpointRow) -> int:
    """Return the bytes on disk of an unfinished download, also of one in diffusers' layout."""
    files = [*folder_files(version).values()]
    found = [arrived(version), *(one.own_path or arrived(one) for one in files)]
    return sum(path.stat().st_size for path in found if path is not None)


def folder_files(version: R) -> dict[str, R]:
    """Return the published files of a version in diffusers' layout, each as a version with this file alone."""
    folder = version.checkpoint.removesuffix(".safetensors")
    return {
        name: version.model_copy(update={"checkpoint": f"{folder}/{name}", "diffusers": {}, **facts.model_dump()})
        for name, facts in version.diffusers.items()
    }


def download_folder(
    version: CheckpointRow,
    find: Callable[[str], Source],
    on_progress: OnProgress = ignore,
    patience: Timeouts | None = None,
) -> Path:
    """Download the files of a version in diffusers' layout and return its folder.

    find: returns the source of a file by its name in the repository. Raise the errors of `download`, and BadInput if
    the version is not published in this layout.
    """
    if version.checkpoint_path is not None:
        return version.checkpoint_path
    files = folder_files(version)
    if not files:
        names = ", ".join(one.name for one in load_versions().values() if one.diffusers)
        raise BadInput(f"{version.name} is not published in diffusers' layout; choose from {names}")
    sizes = [one.bytes or 0 for one in files.values()]
    folder, before = Path(), 0
    for name, one in files.items():

        def report(progress: Progress, before: int = before) -> None:
            total = sum(sizes) if all(sizes) else before + progress.total
            on_progress(dataclass_replace(progress, done=before + progress.done, total=total))

        path = download(one, find(name), report, patience)
        before += path.stat().st_size
        folder = path.parent.parent
    return folder


def download(
    version: CheckpointRow, source: Source, on_progress: OnProgress = ignore, patience: Timeouts | None = None
) -> Path:
    """Download a version's checkpoint and return its path; do nothing if it is already installed.

    Raise BadInput if there is not enough disk space or another process is downloading it, CheckpointError if the data
    is invalid, Img2VidError if the download fails, and Cancelled if `on_progress` raises it. Partial data is kept.
    """
    there = version.own_path
    if there is not None:
        return there
    target = _choose_place(version)
    with exclusive(target):
        # Another process may have finished it in the meantime.
        if not target.is_file():
            _Transfer(version, source, target, on_progress, patience or Timeouts()).run()
    return target


def _choose_place(version: CheckpointRow) -> Path:
    """Return the place of an existing partial download, else the first writable place with enough room."""
    begun = arrived(version)
    if begun is not None:
        return begun.with_name(begun.name.removesuffix(".part"))
    errors: list[str] = []
    for path in places(version):
        try:
            paths.require_writable(path.parent)
            require_room(path.parent, version.bytes or 0, version.name)
            return path
        except BadInput as error:
            errors.append(str(error))
    raise BadInput(errors[0] if len(errors) == 1 else f"no checkpoint folder can be used: {'; '.join(errors)}")


def require_room(folder: Path, needed: int, what: str) -> None:
    """Raise BadInput if the folder's disk has fewer than `needed` bytes free."""
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free
    if free < needed:
        raise BadInput(
            f"not enough disk space in {folder} for {what}: {needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free; "
            "free some space, or set IMG2VID_CHECKPOINTS to a folder on another disk"
        )


@contextmanager
def exclusive(target: Path) -> Generator[None, None, None]:
    """Lock a checkpoint's partial download for the block. Raise BadInput if another process holds the lock."""
    try:
        lock = HomeLock(target.parent, lock_of(target).name)
        mine = lock.acquire()
    except OSError as error:
        raise BadInput(f"cannot write to {target.parent} ({reason(error)}); choose another folder") from error
    if not mine:
        raise BadInput(f"another process is already downloading {target.name}; wait for it to finish or stop it")
    try:
        yield
    finally:
        lock.release()


class _Transfer:
    """One download: the partial file, its running checksum and the retries."""

    def __init__(
        self, version: CheckpointRow, source: Source, target: Path, on_progress: OnProgress, patience: Timeouts
    ) -> None:
        self._version, self._source, self._target = version, source, target
        self._on_progress, self._patience = on_progress, patience
        self._part = part_of(target)
        self._hash = hashlib.sha256()
        self._done = 0
        self._total: int | None = None
        self._mark = ""

    def run(self) -> None:
        """Download the file. Raise the errors of `download`."""
        try:
            self._resume()
            self._receive_all()
            self._finish()
        except OSError as error:  # network errors are already ConnectionDropped
            raise Img2VidError(f"cannot write {self._part} ({reason(error)}){self._kept()}") from error
        finally:
            if self._version.sha256 is None:
                remove(self._part)

    def _receive_all(self) -> None:
        furthest, failures = self._done, 0
        while True:
            try:
                self._receive()
                return
            except ConnectionDropped as drop:
                failures = 1 if self._done > furthest else failures + 1
                furthest = max(furthest, self._done)
                self._wait(drop, failures)

    def _kept(self) -> str:
        """Return the end of an error message: how much is kept for the next attempt."""
        if not self._done or self._version.sha256 is None:
            return "; start the download again"
        return f"; {self._done / 1e9:.2f} GB are kept; start the download again to resume"

    def _resume(self) -> None:
        """Hash the existing part. Without a known checksum, discard it: the rest could not be verified against it."""
        if not self._part.is_file():
            return
        if self._version.sha256 is None:
            remove(self._part)
            return
        size = self._part.stat().st_size
        meter = Meter("check", self._on_progress)
        with self._part.open("rb") as file:
            while chunk := file.read(CHUNK):
                self._hash.update(chunk)
                self._done += len(chunk)
                meter(self._done, size)

    def _receive(self) -> None:
        """Receive data until the end of the file. Raise ConnectionDropped if the connection fails first."""
        answer = open_at(self._source, self._done, self._patience.timeout)
        try:
            self._accept(answer)
            meter = Meter("download", self._on_progress)
            meter(self._done, self._total or 0)
            with self._part.open("ab") as file:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    self._hash.update(chunk)
                    self._done += len(chunk)
                    meter(self._done, self._total or 0)
        finally:
            answer.stream.close()
        if self._done < (self._total or (self._version.bytes or 0) * (1 - CLOSE)):
            raise ConnectionDropped("the server closed the connection too early")

    def _accept(self, answer: Answer) -> None:
        """Check that the answer continues the part; restart at 0 if it does not."""
        changed = (
            self._version.sha256 is None
            and self._done > 0
            and (answer.mark, answer.total)
            != (
                self._mark,
                self._total,
            )
        )
        if answer.start != self._done or changed:
            self._restart()
            if answer.start != 0:
                raise ConnectionDropped("the file on the server has changed")
        self._mark, self._total = answer.mark, answer.total
        expected = self._version.bytes
        if answer.total is not None:
            if expected and abs(answer.total - expected) > CLOSE * expected:
                raise CheckpointError(
                    f"the file at {self._source.name} has {answer.total:,} bytes, but {self._target.name} has "
                    f"{expected:,}; choose another source"
                )
            require_room(self._target.parent, answer.total - self._done, self._version.name)

    def _restart(self) -> None:
        remove(self._part)
        self._hash, self._done = hashlib.sha256(), 0

    def _wait(self, drop: ConnectionDropped, failures: int) -> None:
        """Wait for the next attempt. Raise Img2VidError when the retries are used up."""
        if failures >= self._patience.attempts:
            advice = "check the network and the proxy (HTTPS_PROXY)"
            raise Img2VidError(f"{drop} ({failures} attempts); {advice}{self._kept()}")
        pause = self._patience.pause * 2 ** (failures - 1) if drop.pause is None else drop.pause
        if pause > self._patience.longest:
            raise Img2VidError(f"{drop}, {pause / 60:.0f} minutes{self._kept()}")
        while pause > 0:
            note = f"{drop}; retrying in {pause:.0f} s"
            self._on_progress(Progress("wait", self._done, self._total or 0, note=note))
            self._patience.sleep(min(pause, TICK))
            pause -= TICK

    def _finish(self) -> None:
        """Move a valid file to its final name. Otherwise move it aside and raise CheckpointError."""
        expected, found = self._version.sha256, self._hash.hexdigest()
        problem = ""
        if expected is not None and found != expected:
            problem = f"its SHA-256 is {found}, expected {expected}"
        elif expected is None and self._target.suffix == ".safetensors":
            problem = _inspect(self._part, component_of(self._version, self._target))
        if not problem:
            put_in_place(self._part, self._target)
            return
        aside = broken_of(self._target)
        replace(self._part, aside)
        raise CheckpointError(
            f"the file from {self._source.name} is not {self._target.name}: {problem}. It was moved to {aside}; "
            "download it again, or choose another source"
        )


def component_of(version: CheckpointRow, file: Path) -> str:
    """Return the component of diffusers' layout that a version's own file is, "" or "sdxl" for a whole checkpoint."""
    if version.kind == "image":
        return "sdxl"
    if version.unet is not None:
        return "unet"
    return file.parent.name if file.parent.name in paths.COMPONENTS else ""


def _inspect(path: Path, component: str) -> str:
    """Return the problem with a file without a known checksum, or ""."""
    try:
        kind = foreign_kind(read_header(path), component)
    except CheckpointError as error:
        return str(error)
    return f"it is {kind}" if kind else ""
