"""Gallery entries: all finished videos with ratings, notes, tags and measurements."""

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from img2vid.errors import BadInput
from img2vid.gallery.measurement import Measurement, measure_result
from img2vid.jobs import fingerprint
from img2vid.jobs import job as rows
from img2vid.jobs.database import Connection
from img2vid.jobs.job import STRICT, Job, Moment, State
from img2vid.jobs.store import COLUMNS, Store
from img2vid.options import LoadOptions
from img2vid.paths import safe_name
from img2vid.progress import Result
from img2vid.settings import SampleSettings
from img2vid.settings_validation import make_settings, read_settings
from img2vid.versions import load_versions

MOST_STARS = 5
MOST_WORDS = 100
"""Maximum number of conditions of a search; SQLite can evaluate a few hundred."""
ROW = (
    "results.number, results.number, results.result, results.created, results.rating, results.note, results.tags, "
    f"results.measurement, results.deleted, {COLUMNS}"
)
ORDERS = {
    "Newest": "results.created DESC, results.number DESC",
    "Oldest": "results.created, results.number",
    "Rating": "results.rating DESC, results.created DESC, results.number DESC",
    "Picture": "LOWER(jobs.picture_name), results.created, results.number",
}
"""Orders of entries by name, the usual one first."""
NEWEST = "Newest"
FROM = "FROM results LEFT JOIN jobs ON jobs.id = results.job"


@checked_dataclass(frozen=True, config=STRICT)
class Entry:
    """Video of the gallery. Times are seconds since 1970."""

    number: int
    result: Result
    created: Moment
    rating: Annotated[int, Field(ge=0, le=MOST_STARS)]
    """1 to 5, or 0 if not rated."""
    note: str
    tags: tuple[str, ...]
    measurement: Measurement | None
    deleted: Moment | None
    """Time of deletion, or None."""
    job: Job

    @property
    def settings(self) -> SampleSettings:
        """Settings that made this video. They may differ from the job's, for example by a halved decode_t."""
        requested = rows.one_video(self.job.settings, self.result.seed)
        try:
            return make_settings({**requested.model_dump(), **read_settings(self.result.metadata, "it", newer=True)})
        except BadInput:  # written by another version of the program
            return requested

    @property
    def imported(self) -> bool:
        """True if the video was imported from disk."""
        return self.job.imported


@dataclass(frozen=True)
class Filter:
    """Search filter for entries. Fields at their defaults match everything.

    since and until are local days, both included. Entries match if they have all tags, and all words of the text in the
    picture's name, the version, the note or the tags, ignoring case.
    """

    versions: tuple[str, ...] = ()
    since: datetime.date | None = None
    until: datetime.date | None = None
    least_rating: int = 0
    text: str = ""
    tags: tuple[str, ...] = ()
    deleted: bool = False
    """True to search the trash instead."""

    def condition(self) -> tuple[str, list[Any]]:
        """Return the SQL condition and its values. Raise BadInput for more than SQLite can search for."""
        words = self.text.casefold().split()
        if (number := len(words) + len(self.tags) + len(self.versions)) > MOST_WORDS:
            raise BadInput(f"a search has at most {MOST_WORDS} words, tags and versions, got {number}; use fewer")
        parts = [f"results.deleted IS {'NOT ' if self.deleted else ''}NULL"]
        values: list[Any] = []
        if self.versions:
            parts.append(f"results.version IN ({', '.join('?' for _ in self.versions)})")
            values += self.versions
        after = None if self.until in (None, datetime.date.max) else self.until + datetime.timedelta(days=1)
        for comparison, day in (("created >= ?", self.since), ("created < ?", after)):
            if day is not None:
                parts.append(f"results.{comparison}")
                values.append(_start(day))
        if self.least_rating:
            parts.append("results.rating >= ?")
            values.append(self.least_rating)
        for word in words:
            parts.append("INSTR(results.words, ?)")
            values.append(word)
        for tag in self.tags:
            parts.append("INSTR(results.tags, ?)")
            values.append(f"\n{tag}\n")
        return " AND ".join(parts), values


def _start(day: datetime.date) -> float:
    """Return the timestamp of local midnight."""
    try:
        return datetime.datetime.combine(day, datetime.time()).timestamp()
    except (OverflowError, OSError, ValueError):  # Windows rejects dates before 1970
        return 0.0


class Entries:
    """Videos of a store. Raises StoreError if the disk fails and BadInput for an unknown number."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, wanted: Filter = Filter(), limit: int = 24, offset: int = 0, order: str = NEWEST) -> list[Entry]:
        """Return entries in one of ORDERS."""
        condition, values = wanted.condition()
        query = f"SELECT {ROW} {FROM} WHERE {condition} ORDER BY {ORDERS[order]}"
        return self._entries(f"{query} LIMIT ? OFFSET ?", [*values, limit, offset])

    def count(self, wanted: Filter = Filter()) -> int:
        """Return the number of matching entries."""
        return self._count(*wanted.condition())

    def place(self, wanted: Filter, entry: Entry, order: str = NEWEST) -> int:
        """Return the index of an entry among the matching ones, or their number if it does not match."""
        condition, values = wanted.condition()
        with self._store.reading() as db:
            found = db.execute(f"SELECT results.number {FROM} WHERE {condition} ORDER BY {ORDERS[order]}", values)
            numbers = [row[0] for row in found]
        return numbers.index(entry.number) if entry.number in numbers else len(numbers)

    def _count(self, condition: str, values: Sequence[Any]) -> int:
        with self._store.reading() as db:
            return int(db.execute(f"SELECT COUNT(*) FROM results WHERE {condition}", values).fetchone()[0])

    def entry(self, number: int) -> Entry:
        """Return the entry with this number, deleted or not. Raise UnreadableRow if its row cannot be read."""
        with self._store.reading() as db:
            row = db.execute(f"SELECT {ROW} {FROM} WHERE results.number = ?", [number]).fetchone()
            if row is None:
                raise BadInput(f"there is no video {number} in {self._store.path}")
            return self._store.read_row("video", row, partial(self.entry_of, db))

    def exists(self, number: int) -> bool:
        """Return True if a row has this number, also if it cannot be read."""
        with self._store.reading() as db:
            return db.execute("SELECT 1 FROM results WHERE number = ?", (number,)).fetchone() is not None

    def find_by_job(self, job_id: str) -> list[Entry]:
        """Return the videos of a job that are not deleted, oldest first."""
        query = f"SELECT {ROW} {FROM} WHERE results.job = ? AND results.deleted IS NULL ORDER BY results.number"
        return self._entries(query, [job_id])

    def naming(self, path: Path) -> list[Entry]:
        """Return the entries, including deleted ones, whose video has this path."""
        found = self._entries(f"SELECT {ROW} {FROM} WHERE INSTR(results.result, ?)", [rows.path_in_text(path)])
        return [entry for entry in found if entry.result.video == path]

    def versions(self) -> list[str]:
        """Return the model versions of all entries, sorted by name."""
        with self._store.reading() as db:
            found = db.execute("SELECT DISTINCT version FROM results ORDER BY version").fetchall()
        return [row[0] for row in found if isinstance(row[0], str)]

    def tags(self) -> list[str]:
        """Return all tags in use, sorted by name."""
        with self._store.reading() as db:
            found = db.execute("SELECT DISTINCT tags FROM results WHERE tags != '' AND deleted IS NULL").fetchall()
        return sorted({tag for row in found for tag in tags_of(row[0])}, key=str.casefold)

    def same(self, settings: SampleSettings, options: LoadOptions, picture: str) -> Entry | None:
        """Return an existing video with the same inputs, or None. `picture` is the input's file name.

        Videos older than the checkpoint file are ignored, because the checkpoint may have been replaced.
        """
        version = load_versions().get(settings.version)
        files = [] if version is None else version.files
        since = max((file.stat().st_mtime for file in files), default=0.0)
        query = (
            f"SELECT {ROW} {FROM} WHERE results.likeness = ? AND results.deleted IS NULL AND results.created >= ? "
            "ORDER BY results.number DESC"
        )
        found = self._entries(query, [fingerprint.of_video(settings, options, picture), since])
        return next((entry for entry in found if entry.result.video.is_file()), None)

    # Annotations

    def rate(self, number: int, rating: int) -> None:
        """Rate a video from 1 to 5, or 0 to remove the rating."""
        if not 0 <= rating <= MOST_STARS:
            raise BadInput(f"a rating is a whole number from 0 to {MOST_STARS}, got {rating}")
        self._set(number, "rating = ?", rating)

    def annotate(self, number: int, note: str) -> None:
        """Replace the note of a video."""
        self._set(number, "note = ?", note.strip())

    def tag(self, number: int, tags: Sequence[str]) -> None:
        """Replace the tags of a video, stripped and without duplicates, in the given order."""
        plain = dict.fromkeys(" ".join(tag.split()) for tag in tags)
        self._set(number, "tags = ?", "".join(f"\n{tag}\n" for tag in plain if tag))

    def record_measurement(self, number: int, measurement: Measurement) -> None:
        """Store the measurement of a video."""
        with self._store.writing() as db:
            db.execute("UPDATE results SET measurement = ? WHERE number = ?", (measurement.to_text(), number))

    def measured(self, entry: Entry) -> Entry:
        """Return the entry with its measurement, which is computed and stored if missing.

        Measuring takes some seconds at full size. Raise BadInput if the file cannot be read.
        """
        if entry.measurement is not None:
            return entry
        measurement = measure_result(entry.job, entry.result, entry.settings)
        self.record_measurement(entry.number, measurement)
        return replace(entry, measurement=measurement)

    # Adding and removing

    def add_imported(
        self,
        result: Result,
        settings: SampleSettings,
        options: LoadOptions,
        picture: bytes,
        picture_name: str,
        suffix: str,
        *,
        created: float | None = None,
        animation: str | None = None,
        imported: bool = False,
    ) -> Entry:
        """Add a video that no service made: one of the command line, or one found on disk.

        `settings` are those of this single video. `created` defaults to now.
        """
        kept = self._store.keep_picture(picture, suffix)
        moment = time.time() if created is None else created
        job_id = rows.new_id()
        texts = (rows.settings_to_text(settings), rows.options_to_text(options), kept.name, safe_name(picture_name))
        with self._store.writing(durable=True) as db:
            db.execute(
                "INSERT INTO jobs (id, state, place, settings, choice, picture, picture_name, folder, animation, "
                "created, started, finished, attempts, imported) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
                (
                    *(job_id, State.DONE, *texts, str(result.video.parent), animation),
                    *(moment, moment - result.seconds, moment, imported),
                ),
            )
            number = self._store.insert_result(db, job_id, result, moment)
        return self.entry(number)

    def mark_deleted(self, numbers: Sequence[int], result_of: dict[int, Result] | None = None) -> None:
        """Mark entries as deleted. `result_of` has the results with paths in the trash."""
        self._move(numbers, result_of or {}, time.time())

    def restore(self, numbers: Sequence[int], result_of: dict[int, Result] | None = None) -> None:
        """Mark entries as not deleted. `result_of` has the results with the restored paths."""
        self._move(numbers, result_of or {}, None)

    def remove(self, numbers: Sequence[int]) -> None:
        """Delete the rows permanently, and jobs without remaining videos. Files are not touched."""
        with self._store.writing(durable=True) as db:
            for number in numbers:
                job = db.execute("SELECT job FROM results WHERE number = ?", (number,)).fetchone()
                db.execute("DELETE FROM results WHERE number = ?", (number,))
                ended = (State.DONE, State.FAILED, State.CANCELLED, State.INTERRUPTED)
                db.execute(
                    "DELETE FROM jobs WHERE id = ? AND state IN (?, ?, ?, ?) "
                    "AND NOT EXISTS (SELECT 1 FROM results WHERE results.job = jobs.id)",
                    (job[0] if job else "", *ended),
                )

    # Rows

    def _move(self, numbers: Sequence[int], result_of: dict[int, Result], deleted: float | None) -> None:
        with self._store.writing(durable=True) as db:
            db.executemany("UPDATE results SET deleted = ? WHERE number = ?", [(deleted, number) for number in numbers])
            moved = [(rows.result_to_text(result), number) for number, result in result_of.items()]
            db.executemany("UPDATE results SET result = ? WHERE number = ?", moved)

    def _set(self, number: int, assignment: str, value: object) -> None:
        with self._store.writing(durable=True) as db:
            if db.execute(f"UPDATE results SET {assignment} WHERE number = ?", (value, number)).rowcount == 0:
                raise BadInput(f"there is no video {number} in {self._store.path}")
            query = f"SELECT picture_name, results.version, note, tags {FROM} WHERE results.number = ?"
            name, version, note, tags = db.execute(query, (number,)).fetchone()
            words = rows.searched(name, version, note, tags_of(tags))
            db.execute("UPDATE results SET words = ? WHERE number = ?", (words, number))

    def _entries(self, query: str, values: Sequence[Any]) -> list[Entry]:
        with self._store.reading() as db:
            return self._store.read_all("video", db.execute(query, values).fetchall(), partial(self.entry_of, db))

    def entry_of(self, db: Connection, number: int, *row: Any) -> Entry:
        """Return the entry of a row with ROW; for `read_row`."""
        result, created, rating, note, tags, measurement, deleted, *job = row
        return Entry(
            number,
            rows.result_from_text(result),
            created,
            rating,
            note,
            tags_of(tags),
            Measurement.from_text(measurement),
            deleted,
            self._store.job_of(db, *job),
        )


def tags_of(text: object) -> tuple[str, ...]:
    """Return the tags in a column."""
    return tuple(tag for tag in text.split("\n") if tag) if isinstance(text, str) else ()
