"""Deleted videos: their files lie in a folder of the home until they are wanted back, or thirty days are over.

Each deleted video has a folder of its own there, named after its row, with its files and `where.json`, which says where
they came from and is written before anything is moved. So whatever ends the program, the next one that looks can see
what was half done, and puts it back.
"""

import json
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from img2vid.errors import BadInput, Img2VidError, MediaError
from img2vid.file_lock import HomeLock
from img2vid.files import move, whole_file
from img2vid.gallery.entries import Entries, Entry, Filter
from img2vid.jobs.job import StoredResult
from img2vid.jobs.store import Store
from img2vid.media.videos import COMPANIONS

log = logging.getLogger(__name__)

FOLDER, WHERE, LOCK = "trash", "where.json", "trash.lock"
KEPT_SECONDS = 30 * 24 * 3600.0
PATIENCE = 10.0
"""Seconds to wait for another program that is at the trash."""
_threads = threading.Lock()


class Trash:
    """The trash of a store. Files that cannot be moved are MediaError, and then everything is as it was."""

    def __init__(self, store: Store) -> None:
        self._store, self._entries = store, Entries(store)
        self._folder = store.home / FOLDER

    def put(self, numbers: Sequence[int]) -> None:
        """Deletes videos: all of them or, where one cannot be moved, none.

        Files of imported videos stay where they are, for they are not ours; so do files that another entry names.
        """
        with self._alone():
            found = [self._entries.entry(number) for number in dict.fromkeys(numbers)]
            wanted = [entry for entry in found if entry.deleted is None]
            moved: dict[int, StoredResult] = {}
            try:
                for entry in wanted:
                    moved[entry.number] = self._away(entry)
                self._entries.mark_deleted([entry.number for entry in wanted], moved)
            except BaseException:
                self._recover()
                raise

    def restore(self, numbers: Sequence[int]) -> list[Entry]:
        """Brings deleted videos back to where they were, or beside, where that name was taken since."""
        with self._alone():
            back: dict[int, StoredResult] = {}
            try:
                for number in dict.fromkeys(numbers):
                    entry = self._entries.entry(number)
                    if entry.deleted is not None:
                        back[number] = self._back(entry)
                self._entries.restore(list(back), back)
            except BaseException:
                self._recover()
                raise
            for folder in self._folders():
                if _number_of(folder) in back:
                    _remove(folder)
            return [self._entries.entry(number) for number in back]

    def purge(self, numbers: Sequence[int]) -> None:
        """Deletes for good what is in the trash, rows and files."""
        with self._alone():
            self._purge(numbers)

    def empty(self) -> int:
        """Deletes everything for good that is in the trash; returns how many videos there were."""
        with self._alone():
            numbers = [entry.number for entry in self._entries.find(Filter(deleted=True), limit=-1)]
            self._purge(numbers)
            return len(numbers)

    def remove_expired(self, now: float | None = None) -> int:
        """Puts back what was half done and deletes for good what is older than thirty days; returns how many."""
        before = (time.time() if now is None else now) - KEPT_SECONDS
        with self._alone():
            self._recover()
            old = [
                entry.number
                for entry in self._entries.find(Filter(deleted=True), limit=-1)
                if entry.deleted is not None and entry.deleted < before
            ]
            self._purge(old)
            return len(old)

    # One video

    def _away(self, entry: Entry) -> StoredResult:
        """Moves its files into a folder of its own; returns where they are now."""
        files = [path for path in self._ours(entry) if path.is_file()]
        if not files:
            return entry.result
        folder = self._folder / f"{entry.number}-{secrets.token_hex(4)}"
        with _reporting("deleted"):
            folder.mkdir(parents=True)
            where = {"number": entry.number, "files": [str(path) for path in files], "deleted": time.time()}
            _write_where(folder, where)
            for index, path in enumerate(files):
                move(path, folder / _name(index, path))
        return relocated(entry.result, {path: folder / _name(index, path) for index, path in enumerate(files)})

    def _ours(self, entry: Entry) -> list[Path]:
        """The files that go with the entry: none that another one names, and of imported ones only what was added."""
        files = files_of(entry.result)
        if any(other.number != entry.number for other in self._entries.naming(entry.result.video)):
            return []
        return [path for path in files if self._store.home in path.parents] if entry.imported else files

    def _back(self, entry: Entry) -> StoredResult:
        folder = next((one for one in self._folders() if _number_of(one) == entry.number), None)
        if folder is None:
            return entry.result
        with _reporting("brought back"):
            return relocated(entry.result, _move_back(folder))

    def _purge(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if self._entries.entry(number).deleted is None:
                raise BadInput(f"video {number} is not in the trash; delete it first")
        self._entries.remove(numbers)
        for folder in self._folders():
            if _number_of(folder) in numbers:
                _remove(folder)

    # What was half done

    def _recover(self) -> None:
        """Folders that no deleted row names are of a move that did not come to its end: it is taken back."""
        for folder in self._folders():
            number = _number_of(folder)
            if number is None:  # nothing is moved before it is written where it came from
                with suppress(OSError):
                    folder.rmdir()
                continue
            try:
                entry = self._entries.entry(number)
            except BadInput:  # the row is gone: it was deleted for good, or the store is another one
                if _deleted_at(folder) < time.time() - KEPT_SECONDS:
                    _remove(folder)
                continue
            inside = any(folder in path.parents for path in files_of(entry.result))
            if entry.deleted is None and not inside:
                self._roll_back(folder, entry)
            elif entry.deleted is not None and inside:
                self._redo(folder, entry)

    def _roll_back(self, folder: Path, entry: Entry) -> None:
        """A deletion that was not written down: the files go back to where the row says they are."""
        with suppress(OSError):
            for index, path in enumerate(_files_in(folder)):
                here = folder / _name(index, path)
                if here.is_file() and not path.exists():
                    move(here, path)
                elif here.is_file():
                    here.unlink()  # a copy on another disk, whose original is still there
            _remove(folder)

    def _redo(self, folder: Path, entry: Entry) -> None:
        """A restoring that was not written down: what was moved out already comes in again."""
        with suppress(OSError):
            for index, path in enumerate(_files_in(folder)):
                here = folder / _name(index, path)
                if not here.exists() and path.is_file() and not self._entries.naming(path):
                    move(path, here)

    def _folders(self) -> list[Path]:
        with suppress(OSError):
            return sorted(folder for folder in self._folder.iterdir() if folder.is_dir())
        return []

    @contextmanager
    def _alone(self) -> Generator[None, None, None]:
        """Nobody else is at the trash during the block, in this program or another."""
        lock = HomeLock(self._store.home, LOCK)
        with _threads:
            deadline = time.monotonic() + PATIENCE
            while not lock.acquire():
                if time.monotonic() > deadline:
                    raise Img2VidError("another program is deleting videos just now; try again when it is done")
                time.sleep(0.05)
            try:
                yield
            finally:
                lock.release()


def files_of(result: StoredResult) -> list[Path]:
    """The files of a video, those that are there and those that are not."""
    return [result.video, result.still, result.sidecar, *([result.animation] if result.animation else [])]


def relocated(result: StoredResult, to: dict[Path, Path]) -> StoredResult:
    """The same result with files at other places."""
    animation = None if result.animation is None else to.get(result.animation, result.animation)
    video, still, sidecar = (to.get(path, path) for path in files_of(result)[:3])
    return replace(result, video=video, still=still, sidecar=sidecar, animation=animation)


def _move_back(folder: Path) -> dict[Path, Path]:
    """Moves all files of a folder out under one name, the first that is free; by their places in the folder."""
    came_from = _files_in(folder)
    number = 1
    while any(_with_number(path, number).exists() for path in _with_companions(came_from)):
        number += 1
    # Written down before anything is moved, as above.
    there = [_with_number(path, number) for path in came_from]
    _write_where(folder, {**_where(folder), "files": [str(path) for path in there]})
    places = {folder / _name(index, path): path for index, path in enumerate(there)}
    for here, path in places.items():
        if here.is_file():
            move(here, path)
    return places


def _with_companions(came_from: Sequence[Path]) -> list[Path]:
    """The files, and what may lie beside a video under its name."""
    videos = [path for path in came_from if path.suffix == ".mp4"]
    return [*came_from, *(video.with_suffix(suffix) for video in videos for suffix in COMPANIONS)]


def _with_number(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_name(f"{path.stem}_{number}{path.suffix}")


def _name(index: int, path: Path) -> str:
    """In the trash; names of its own, so that no two collide."""
    return f"{index}{path.suffix}"


def _number_of(folder: Path) -> int | None:
    found = _where(folder).get("number")
    return found if isinstance(found, int) else None


def _files_in(folder: Path) -> list[Path]:
    return [Path(str(path)) for path in _where(folder).get("files", [])]


def _deleted_at(folder: Path) -> float:
    return float(_where(folder).get("deleted", 0.0))


def _where(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / WHERE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _write_where(folder: Path, where: dict[str, Any]) -> None:
    with whole_file(folder / WHERE) as part:
        part.write_text(json.dumps(where), encoding="utf-8")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _reporting(done: str) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        name = Path(str(error.filename)).name if error.filename else "a file"
        raise MediaError(
            f"nothing was {done}, because '{name}' cannot be moved ({error.strerror or error}); "
            "is it in use by another program, or is the disk full?"
        ) from error
