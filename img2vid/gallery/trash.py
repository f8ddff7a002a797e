"""Trash: deleted videos stay in a folder of the home for thirty days and can be restored.

Each deleted video has its own folder there, named after its row, with its files and `where.json`. That records the
original paths and is written before any file is moved, so that a later run can roll back incomplete moves.
"""

import filecmp
import logging
import secrets
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from img2vid.errors import BadInput, Img2VidError, MediaError, UnreadableRow
from img2vid.file_lock import HomeLock
from img2vid.files import move, read_text, reason, remove, remove_folder, whole_file
from img2vid.gallery.entries import Entries, Entry, Filter
from img2vid.jobs.store import Store
from img2vid.media.videos import COMPANIONS
from img2vid.progress import Result

log = logging.getLogger(__name__)

FOLDER, WHERE, LOCK = "trash", "where.json", "trash.lock"
KEPT_SECONDS = 30 * 24 * 3600.0
PATIENCE = 10.0
"""Timeout in seconds for another program that uses the trash."""
_threads = threading.Lock()


@dataclass(frozen=True)
class Where:
    """Contents of `where.json`: number of the row, original paths, and time of deletion."""

    number: Annotated[int, Field(ge=1, lt=2**63)]
    files: tuple[str, ...]
    deleted: float = 0.0


_WHERE = TypeAdapter(Where)


class Trash:
    """Trash of a store. Raises MediaError and changes nothing if a file cannot be moved."""

    def __init__(self, store: Store) -> None:
        self._store, self._entries = store, Entries(store)
        self._folder = store.home / FOLDER

    def put(self, numbers: Sequence[int]) -> None:
        """Move videos to the trash: all of them, or none if one cannot be moved.

        Files of imported videos, which img2vid does not own, and files of other entries stay in place.
        """
        with self._locked():
            found = [self._entries.entry(number) for number in dict.fromkeys(numbers)]
            wanted = [entry for entry in found if entry.deleted is None]
            moved: dict[int, Result] = {}
            try:
                for entry in wanted:
                    moved[entry.number] = self._move_to_trash(entry)
                self._entries.mark_deleted([entry.number for entry in wanted], moved)
            except BaseException:
                self._recover()
                raise

    def restore(self, numbers: Sequence[int]) -> list[Entry]:
        """Restore deleted videos to their original paths, or under a new name if the path is taken."""
        with self._locked():
            back: dict[int, Result] = {}
            try:
                for number in dict.fromkeys(numbers):
                    entry = self._entries.entry(number)
                    if entry.deleted is not None:
                        back[number] = self._restore_files(entry)
                self._entries.restore(list(back), back)
            except BaseException:
                self._recover()
                raise
            for folder in self._folders():
                if _number_of(folder) in back:
                    _remove(folder)
            return [self._entries.entry(number) for number in back]

    def purge(self, numbers: Sequence[int]) -> None:
        """Delete videos in the trash permanently, rows and files."""
        with self._locked():
            self._purge(numbers)

    def empty(self) -> int:
        """Delete everything in the trash permanently; return the number of videos."""
        with self._locked():
            numbers = [entry.number for entry in self._entries.find(Filter(deleted=True), limit=-1)]
            self._purge(numbers)
            return len(numbers)

    def remove_expired(self, now: float | None = None) -> int:
        """Roll back incomplete moves and permanently delete videos older than thirty days; return their number."""
        before = (time.time() if now is None else now) - KEPT_SECONDS
        with self._locked():
            self._recover()
            old = [
                entry.number
                for entry in self._entries.find(Filter(deleted=True), limit=-1)
                if entry.deleted is not None and entry.deleted < before
            ]
            self._purge(old)
            return len(old)

    def restore_lost(self) -> list[Path]:
        """Move the files of deleted videos without a row back to their original paths; return the videos' paths."""
        found: list[Path] = []
        with self._locked():
            for folder in self._folders():
                number = _number_of(folder)
                if number is not None and not self._entries.exists(number):
                    with suppress(OSError):
                        found += [path for path in _move_back(folder).values() if path.suffix == ".mp4"]
                        remove_folder(folder)
        return found

    # One video

    def _move_to_trash(self, entry: Entry) -> Result:
        """Move an entry's files into its own trash folder; return the result with the new paths."""
        files = [path for path in self._owned_files(entry) if path.is_file()]
        if not files:
            return entry.result
        folder = self._folder / f"{entry.number}-{secrets.token_hex(4)}"
        with _reporting("deleted", files[0]):
            folder.mkdir(parents=True)
            _write_where(folder, Where(entry.number, tuple(map(str, files)), time.time()))
        for index, path in enumerate(files):
            with _reporting("deleted", path):
                move(path, folder / _name(index, path))
        return relocated(entry.result, {path: folder / _name(index, path) for index, path in enumerate(files)})

    def _owned_files(self, entry: Entry) -> list[Path]:
        """Return the files to move with the entry: none shared with another entry, of imports only created files."""
        files = files_of(entry.result)
        if any(other.number != entry.number for other in self._entries.naming(entry.result.video)):
            return []
        return [path for path in files if self._store.home in path.parents] if entry.imported else files

    def _restore_files(self, entry: Entry) -> Result:
        folder = next((one for one in self._folders() if _number_of(one) == entry.number), None)
        if folder is None:
            return entry.result
        with _reporting("restored", next(iter(_files_in(folder)), entry.result.video)):
            return relocated(entry.result, _move_back(folder))

    def _purge(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if self._entries.entry(number).deleted is None:
                raise BadInput(f"video {number} is not in the trash; delete it first")
        self._entries.remove(numbers)
        for folder in self._folders():
            if _number_of(folder) in numbers:
                _remove(folder)

    # Recovery

    def _recover(self) -> None:
        """Roll back or redo incomplete moves, which leave folders that disagree with their rows."""
        for folder in self._folders():
            number = _number_of(folder)
            if number is None:
                if not (folder / WHERE).exists():  # written first and deleted first
                    remove_folder(folder)
                continue
            try:
                entry = self._entries.entry(number)
            except UnreadableRow:
                continue
            except BadInput:  # the row was deleted permanently, or the store was replaced
                if _deleted_at(folder) < time.time() - KEPT_SECONDS:
                    _remove(folder)
                continue
            inside = any(folder in path.parents for path in files_of(entry.result))
            if entry.deleted is None and not inside:
                self._roll_back(folder, entry)
            elif entry.deleted is not None and inside:
                self._redo(folder, entry)

    def _roll_back(self, folder: Path, entry: Entry) -> None:
        """Undo a deletion that was not committed: move the files back to the paths in the row.

        If another file has taken one of the paths since, complete the deletion instead.
        """
        with suppress(OSError):
            inside = {path: folder / _name(index, path) for index, path in enumerate(_files_in(folder))}
            inside = {path: here for path, here in inside.items() if here.is_file()}
            if any(path.exists() and not filecmp.cmp(here, path, shallow=False) for path, here in inside.items()):
                self._entries.mark_deleted([entry.number], {entry.number: relocated(entry.result, inside)})
                return
            for path, here in inside.items():
                if path.exists():
                    remove(here)  # a copy from another disk, whose original still exists
                else:
                    move(here, path)
            _remove(folder)

    def _redo(self, folder: Path, entry: Entry) -> None:
        """Undo a restore that was not committed: move the files into the trash again."""
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
    def _locked(self) -> Generator[None, None, None]:
        """Hold the trash lock for the block, against other threads and programs."""
        lock = HomeLock(self._store.home, LOCK)
        with _threads:
            deadline = time.monotonic() + PATIENCE
            while not lock.acquire():
                if time.monotonic() > deadline:
                    raise Img2VidError("another program is deleting videos; try again when it is done")
                time.sleep(0.05)
            try:
                yield
            finally:
                lock.release()


def files_of(result: Result) -> list[Path]:
    """Return the paths of a video's files, existing or not."""
    return [result.video, result.still, result.sidecar, *([result.animation] if result.animation else [])]


def relocated(result: Result, to: dict[Path, Path]) -> Result:
    """Return the result with replaced paths."""
    animation = None if result.animation is None else to.get(result.animation, result.animation)
    video, still, sidecar = (to.get(path, path) for path in files_of(result)[:3])
    return replace(result, video=video, still=still, sidecar=sidecar, animation=animation)


def _move_back(folder: Path) -> dict[Path, Path]:
    """Move all files of a folder back under the first free name; return the new paths by the old ones."""
    where = _where(folder)
    if where is None:
        return {}
    originals = [Path(path) for path in where.files]
    number = 1
    while any(_with_number(path, number).exists() for path in _with_companions(originals)):
        number += 1
    # Written before any file is moved, so that an incomplete move can be undone.
    targets = [_with_number(path, number) for path in originals]
    _write_where(folder, replace(where, files=tuple(map(str, targets))))
    places = {folder / _name(index, path): path for index, path in enumerate(targets)}
    for here, path in places.items():
        if here.is_file():
            move(here, path)
    return places


def _with_companions(originals: Sequence[Path]) -> list[Path]:
    """Return the files and all possible companion files of their videos."""
    videos = [path for path in originals if path.suffix == ".mp4"]
    return [*originals, *(video.with_suffix(suffix) for video in videos for suffix in COMPANIONS)]


def _with_number(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_name(f"{path.stem}_{number}{path.suffix}")


def _name(index: int, path: Path) -> str:
    """Return a file's name in the trash, numbered so that no two collide."""
    return f"{index}{path.suffix}"


def _number_of(folder: Path) -> int | None:
    where = _where(folder)
    return None if where is None else where.number


def _files_in(folder: Path) -> list[Path]:
    where = _where(folder)
    return [] if where is None else [Path(path) for path in where.files]


def _deleted_at(folder: Path) -> float:
    where = _where(folder)
    return time.time() if where is None else where.deleted


def _where(folder: Path) -> Where | None:
    """Return the contents of `where.json`, or None if it is missing or damaged."""
    try:
        return _WHERE.validate_json(read_text(folder / WHERE))
    except (OSError, ValueError):
        return None


def _write_where(folder: Path, where: Where) -> None:
    with whole_file(folder / WHERE) as part:
        part.write_bytes(_WHERE.dump_json(where))


def _remove(folder: Path) -> None:
    """Delete a trash folder. Files that another program has open remain without where.json, until the next start."""
    with suppress(OSError):
        remove(folder / WHERE)
    remove_folder(folder)


@contextmanager
def _reporting(done: str, path: Path) -> Generator[None, None, None]:
    """Raise MediaError naming the user's file `path` if it cannot be moved."""
    try:
        yield
    except OSError as error:
        raise MediaError(f"nothing was {done}, because '{path.name}' cannot be moved: {reason(error)}") from error
