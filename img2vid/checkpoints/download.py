"""Fetches checkpoints: what arrives is checked while it arrives, and gets its name when it is right.

Until then it is `NAME.part` beside the place of the file, and a later download goes on from there, whatever ended the
one before. A file that arrived whole and is wrong becomes `NAME.broken`; nothing ever loads either.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from img2vid import paths
from img2vid.checkpoints.connection import Answer, ConnectionDropped, open_at
from img2vid.checkpoints.header import foreign_kind, read_header
from img2vid.checkpoints.progress import Meter, OnProgress, Progress, ignore
from img2vid.checkpoints.sources import Source
from img2vid.errors import BadInput, CheckpointError, Img2VidError
from img2vid.file_lock import HomeLock
from img2vid.files import put_in_place
from img2vid.versions import ModelVersion

CHUNK = 1 << 18
"""Bytes read at once."""
CLOSE = 0.02
"""Sizes in versions.yaml may be rounded: a server's that differs by a greater share is that of another file."""
TICK = 0.2
"""Seconds between two looks whether a wait was cancelled."""


@dataclass(frozen=True)
class Timeouts:
    """How long a download bears with a server."""

    timeout: float = 20.0
    """Seconds without a byte."""
    attempts: int = 6
    """In a row, without a byte between them."""
    pause: float = 1.0
    """Seconds after the first failure; each further pause is twice as long."""
    longest: float = 300.0
    """Seconds that a server may ask to wait."""
    sleep: Callable[[float], None] = time.sleep


def part_of(path: Path) -> Path:
    """What has arrived of a checkpoint."""
    return path.with_name(f"{path.name}.part")


def broken_of(path: Path) -> Path:
    """Where a wrong file is kept aside."""
    return path.with_name(f"{path.name}.broken")


def places(version: ModelVersion) -> list[Path]:
    """Where a version's checkpoint may lie, in the order in which it is looked for."""
    file = Path(version.checkpoint).expanduser()
    return [file] if file.is_absolute() else [folder / file for folder in paths.checkpoint_folders()]


def arrived(version: ModelVersion) -> Path | None:
    """What has arrived of a version's checkpoint, where a download has begun."""
    return next((part for part in map(part_of, places(version)) if part.is_file()), None)


def download(
    version: ModelVersion, source: Source, on_progress: OnProgress = ignore, patience: Timeouts | None = None
) -> Path:
    """Fetches a version's checkpoint and returns where it is; at once where it is there already.

    Raises BadInput where there is no room for it or another program fetches it, CheckpointError where what arrived is
    wrong, Img2VidError where it cannot be had; Cancelled as `on_progress` raises it. What has arrived is kept.
    """
    there = version.checkpoint_path
    if there is not None:
        return there
    target = _choose_place(version)
    with exclusive(target):
        # Another program may have been quicker, while this one looked.
        if not target.is_file():
            _Transfer(version, source, target, on_progress, patience or Timeouts()).run()
    return target


def _choose_place(version: ModelVersion) -> Path:
    """Where it was begun, or the first place that can be written to and has room."""
    begun = arrived(version)
    if begun is not None:
        return begun.with_name(begun.name.removesuffix(".part"))
    troubles: list[str] = []
    for path in places(version):
        try:
            paths.require_writable(path.parent)
            require_room(path.parent, version.bytes or 0, version.name)
            return path
        except BadInput as error:
            troubles.append(str(error))
    raise BadInput(troubles[0] if len(troubles) == 1 else f"no folder will do: {'; '.join(troubles)}")


def require_room(folder: Path, needed: int, what: str) -> None:
    """Raises BadInput where the disk of a folder has not that many bytes left."""
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free
    if free < needed:
        raise BadInput(
            f"for {what}, {needed / 1e9:.2f} GB are needed on the disk of {folder}, which has {free / 1e9:.2f} GB "
            "left; make room, or name a folder on another disk in IMG2VID_CHECKPOINTS"
        )


@contextmanager
def exclusive(target: Path) -> Generator[None, None, None]:
    """For the block, only this program may touch what has arrived of a checkpoint; BadInput where another one does."""
    try:
        lock = HomeLock(target.parent, f".{target.name}.lock")
        mine = lock.acquire()
    except OSError as error:
        raise BadInput(
            f"nothing can be written to {target.parent} ({error.strerror}); choose another folder"
        ) from error
    if not mine:
        raise BadInput(f"another program is downloading {target.name} already; wait for it, or stop it there")
    try:
        yield
    finally:
        lock.release()


class _Transfer:
    """One download: the part on the disk, its checksum so far, and the attempts that it takes."""

    def __init__(
        self, version: ModelVersion, source: Source, target: Path, on_progress: OnProgress, patience: Timeouts
    ) -> None:
        self._version, self._source, self._target = version, source, target
        self._on_progress, self._patience = on_progress, patience
        self._part = part_of(target)
        self._hash = hashlib.sha256()
        self._done = 0
        self._total: int | None = None
        self._mark = ""

    def run(self) -> None:
        """Raises what `download` raises."""
        try:
            self._resume()
            self._receive_all()
            self._finish()
        except OSError as error:  # the network's have become Dropped before
            raise Img2VidError(f"{self._part} cannot be written ({error.strerror}){self._kept()}") from error
        finally:
            if self._version.sha256 is None:
                self._part.unlink(missing_ok=True)

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
        """What another attempt goes on with, as the end of a sentence."""
        if not self._done or self._version.sha256 is None:
            return "; start the download again"
        return f"; {self._done / 1e9:.2f} GB are kept, and the download goes on from there when it is started again"

    def _resume(self) -> None:
        """Reads what has arrived before; without a known checksum nobody could tell whether the rest fits to it."""
        if not self._part.is_file():
            return
        if self._version.sha256 is None:
            self._part.unlink()
            return
        size = self._part.stat().st_size
        meter = Meter("check", self._on_progress)
        with self._part.open("rb") as file:
            while chunk := file.read(CHUNK):
                self._hash.update(chunk)
                self._done += len(chunk)
                meter(self._done, size)

    def _receive(self) -> None:
        """Everything from here to the end of the file; raises Dropped where the connection fails before."""
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
            raise ConnectionDropped("the server ended the connection too early")

    def _accept(self, answer: Answer) -> None:
        """Looks whether the answer goes on where the part ends; begins anew where it does not."""
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
                raise ConnectionDropped("the server has another file than the one that was begun")
        self._mark, self._total = answer.mark, answer.total
        expected = self._version.bytes
        if answer.total is not None:
            if expected and abs(answer.total - expected) > CLOSE * expected:
                raise CheckpointError(
                    f"the file at {self._source.name} has {answer.total:,} bytes and cannot be {self._target.name} "
                    f"({expected:,} bytes); choose another source"
                )
            require_room(self._target.parent, answer.total - self._done, self._version.name)

    def _restart(self) -> None:
        self._part.unlink(missing_ok=True)
        self._hash, self._done = hashlib.sha256(), 0

    def _wait(self, drop: ConnectionDropped, failures: int) -> None:
        """Until the next attempt; raises Img2VidError where there is to be none."""
        if failures >= self._patience.attempts:
            advice = "look at the network and the proxy (HTTPS_PROXY)"
            raise Img2VidError(f"{drop} ({failures} attempts); {advice}{self._kept()}")
        pause = self._patience.pause * 2 ** (failures - 1) if drop.pause is None else drop.pause
        if pause > self._patience.longest:
            raise Img2VidError(f"{drop}, {pause / 60:.0f} minutes{self._kept()}")
        while pause > 0:
            note = f"{drop}; next attempt in {pause:.0f} s"
            self._on_progress(Progress("wait", self._done, self._total or 0, note=note))
            self._patience.sleep(min(pause, TICK))
            pause -= TICK

    def _finish(self) -> None:
        """Gives the file its name, or keeps it aside where it is wrong."""
        expected, found = self._version.sha256, self._hash.hexdigest()
        trouble = ""
        if expected is not None and found != expected:
            trouble = f"its SHA-256 is {found}, expected {expected}"
        elif expected is None and self._target.suffix == ".safetensors":
            trouble = _look_into(self._part)
        if not trouble:
            put_in_place(self._part, self._target)
            return
        aside = broken_of(self._target)
        self._part.replace(aside)
        raise CheckpointError(
            f"what {self._source.name} gave is not {self._target.name}: {trouble}; it is kept aside as {aside}, and "
            "never used; download it again, or choose another source"
        )


def _look_into(path: Path) -> str:
    """What is wrong with a file of which no checksum is known, or nothing."""
    try:
        kind = foreign_kind(read_header(path))
    except CheckpointError as error:
        return str(error)
    return f"it is {kind}" if kind else ""
