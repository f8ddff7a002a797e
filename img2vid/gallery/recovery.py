"""Recovery of the job database: readable rows are kept, and all other videos are read from their own files."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from img2vid import paths
from img2vid.background import OnProgress, TaskResult
from img2vid.errors import Img2VidError, UnreadableRow
from img2vid.file_lock import HomeLock
from img2vid.gallery.chain import FOLDER as JOINED
from img2vid.gallery.entries import FROM, MOST_STARS, ROW, Entries, Entry, Filter, tags_of
from img2vid.gallery.exporting import FOLDER as EXPORTS
from img2vid.gallery.importing import try_import, videos_in
from img2vid.gallery.studies import Studies
from img2vid.gallery.trash import FOLDER as TRASH
from img2vid.gallery.trash import Trash
from img2vid.jobs import job as rows
from img2vid.jobs.database import Connection
from img2vid.jobs.job import Job
from img2vid.jobs.store import COLUMNS, Store


@dataclass(frozen=True)
class _Lost:
    """Row of a video that cannot be read, with its job if that can be read."""

    job: Job | None
    result: object
    rating: object
    note: object
    tags: object


def recover(store: Store, folders: Sequence[Path], on_progress: OnProgress, *, is_active: bool = False) -> TaskResult:
    """Rebuild the database from its readable rows and the videos in the home, in its jobs' folders and in `folders`.

    A copy of the old database is kept under a dated name. is_active: True if the caller is the active service of the
    home; it must not run a job. Raise Img2VidError if another program is active.
    """
    paths.require_writable(store.home)
    lock = HomeLock(store.home)
    if not is_active and not lock.acquire():
        raise Img2VidError(f"another program uses {store.home}; close the dashboard and other commands first")
    try:
        with store.rebuilding() as (fresh, kept):
            return _rebuild(fresh, kept, folders, on_progress)
    finally:
        lock.release()


def _rebuild(fresh: Store, kept: Path | None, folders: Sequence[Path], on_progress: OnProgress) -> TaskResult:
    entries = Entries(fresh)
    own = _job_folders(fresh)
    lost = _drop_unreadable(fresh)
    unreadable = len(lost)
    trashed = Trash(fresh).restore_lost()
    known = {
        entry.result.video for deleted in (False, True) for entry in entries.find(Filter(deleted=deleted), limit=-1)
    }
    found = dict.fromkeys(path for folder in (fresh.home, *folders) for path in videos_in(folder))
    found |= dict.fromkeys(path for folder in sorted(own) for path in sorted(folder.glob("*.mp4")))
    inner = (fresh.home / TRASH, fresh.home / EXPORTS, fresh.home / JOINED)
    videos = [path for path in found if path not in known and not any(folder in path.parents for folder in inner)]
    rebuilt, skipped = 0, list[str]()
    for index, video in enumerate(videos):
        on_progress((index, len(videos)))
        imported = fresh.home not in video.parents and video.parent not in own
        outcome = try_import(fresh, video, imported=imported)
        if outcome.new is None:
            skipped.append(f"{video}: {outcome.error}")
            continue
        rebuilt += 1
        _annotate(entries, outcome.new, lost)
        if video in trashed:
            Trash(fresh).put([outcome.new.number])
    on_progress((len(videos), len(videos)))
    return TaskResult(_summary(entries, rebuilt, unreadable, kept), tuple(skipped))


def _job_folders(store: Store) -> set[Path]:
    """Return the folders of all jobs, also of those that cannot be read otherwise."""
    with store.reading() as db:
        texts = [row[0] for row in db.execute("SELECT DISTINCT folder FROM jobs").fetchall()]
    found: set[Path] = set()
    for text in texts:
        with suppress(OSError, ValueError, TypeError):
            if Path(text).is_dir():
                found.add(Path(text))
    return found


def _drop_unreadable(store: Store) -> list[_Lost]:
    """Delete the rows that cannot be read; return those of videos."""
    entries, lost = Entries(store), list[_Lost]()
    with store.writing() as db:
        for row in db.execute(f"SELECT {ROW} {FROM}").fetchall():
            if not _is_readable(store, row, partial(entries.entry_of, db)):
                query = "SELECT job, result, rating, note, tags FROM results WHERE number = ?"
                job_id, *values = db.execute(query, (row[0],)).fetchone()
                job = db.execute(f"SELECT id, {COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchall()
                lost.append(_Lost(next(iter(store.read_all("job", job, partial(store.job_of, db))), None), *values))
                db.execute("DELETE FROM results WHERE number = ?", (row[0],))
        _drop(store, db, "jobs", COLUMNS, partial(store.job_of, db))
        _drop(store, db, "studies", "id, kind, created, study", Studies(store).study_of)
    return lost


def _drop(store: Store, db: Connection, table: str, columns: str, read: Any) -> None:
    for number, *row in db.execute(f"SELECT {table}.number, {columns} FROM {table}").fetchall():
        if not _is_readable(store, (number, *row), read):
            db.execute(f"DELETE FROM {table} WHERE number = ?", (number,))


def _is_readable(store: Store, row: Sequence[Any], read: Any) -> bool:
    with suppress(UnreadableRow):
        store.read_row("row", row, read)
        return True
    return False


def _annotate(entries: Entries, entry: Entry, lost: list[_Lost]) -> None:
    """Restore the annotations of a video, found by its path or else by its job's settings and picture."""
    path, number = rows.path_in_text(entry.result.video), entry.number
    by_path = (row for row in lost if isinstance(row.result, str) and path in row.result)
    row = next(by_path, None) or next((row for row in lost if _made(row.job, entry)), None)
    if row is None:
        return
    lost.remove(row)
    if isinstance(row.rating, int) and 0 < row.rating <= MOST_STARS:
        entries.rate(number, row.rating)
    if isinstance(row.note, str) and row.note:
        entries.annotate(number, row.note)
    if tags := tags_of(row.tags):
        entries.tag(number, tags)


def _made(job: Job | None, entry: Entry) -> bool:
    """Return True if a job requested this video; decode_t may have been lowered."""
    if job is None or job.picture != entry.job.picture:
        return False
    wanted = rows.one_video(job.settings, entry.result.seed).model_copy(update={"decode_t": entry.settings.decode_t})
    return wanted == entry.settings and entry.result.seed - job.settings.seed < job.settings.num_samples


def _summary(entries: Entries, rebuilt: int, lost: int, kept: Path | None) -> str:
    count = entries.count()
    videos = "1 video" if count == 1 else f"{count} videos"
    parts = [f"the job database lists {videos} again, {rebuilt} from their own files"]
    if lost:
        parts.append("1 row could not be read" if lost == 1 else f"{lost} rows could not be read")
    if kept is not None:
        parts.append(f"the old database is {kept.name}")
    return "; ".join(parts)
