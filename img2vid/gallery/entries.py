"""Gallery entries: all finished videos with ratings, notes, tags and measurements."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from img2vid.errors import BadInput
from img2vid.gallery.measurement import Measurement, measure_result
from img2vid.inference import EngineChoice
from img2vid.jobs import fingerprint
from img2vid.jobs import job as rows
from img2vid.jobs.database import Connection
from img2vid.jobs.inputs import safe_name
from img2vid.jobs.job import Job, State, StoredResult
from img2vid.jobs.store import COLUMNS, Store
from img2vid.settings import SampleSettings, make_settings
from img2vid.versions import load_versions

MOST_STARS = 5
ROW = (
    "results.number, results.result, results.created, results.rating, results.note, results.tags, "
    f"results.measurement, results.deleted, {COLUMNS}"
)
FROM = "FROM results JOIN jobs ON jobs.id = results.job"


@dataclass(frozen=True)
class Entry:
    """Video of the gallery. Times are seconds since 1970."""

    number: int
    result: StoredResult
    created: float
    rating: int
    """1 to 5, or 0 if not rated."""
    note: str
    tags: tuple[str, ...]
    measurement: Measurement | None
    deleted: float | None
    """Time of deletion, or None."""
    job: Job

    @property
    def settings(self) -> SampleSettings:
        """Settings that made this video. They may differ from the job's, for example by a halved decode_t."""
        requested = rows.one_video(self.job.settings, self.result.seed)
        found = self.result.metadata.get("settings")
        if not isinstance(found, dict):
            return requested
        known = {
            name: value for name, value in cast("dict[str, Any]", found).items() if name in type(requested).model_fields
        }
        try:
            return make_settings({**requested.model_dump(), **known})
        except BadInput:  # written by another version of the program
            return requested

    @property
    def imported(self) -> bool:
        """True if the video was imported from disk."""
        return self.job.imported


@dataclass(frozen=True)
class Filter:
    """Search filter for entries. Fields at their defaults match everything.

    since is inclusive, until exclusive. Entries match if they have all tags, and all words of the text in the picture's
    name, the version, the note or the tags, ignoring case.
    """

    versions: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    least_rating: int = 0
    text: str = ""
    tags: tuple[str, ...] = ()
    deleted: bool = False
    """True to search the trash instead."""

    def condition(self) -> tuple[str, list[Any]]:
        """Return the SQL condition and its values."""
        parts = [f"results.deleted IS {'NOT ' if self.deleted else ''}NULL"]
        values: list[Any] = []
        if self.versions:
            parts.append(f"results.version IN ({', '.join('?' for _ in self.versions)})")
            values += self.versions
        for comparison, value in (("created >= ?", self.since), ("created < ?", self.until)):
            if value is not None:
                parts.append(f"results.{comparison}")
                values.append(value)
        if self.least_rating:
            parts.append("results.rating >= ?")
            values.append(self.least_rating)
        for word in self.text.casefold().split():
            parts.append("INSTR(results.words, ?)")
            values.append(word)
        for tag in self.tags:
            parts.append("INSTR(results.tags, ?)")
            values.append(f"\n{tag}\n")
        return " AND ".join(parts), values


class Entries:
    """Videos of a store. Raises StoreError if the disk fails and BadInput for an unknown number."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, wanted: Filter = Filter(), limit: int = 24, offset: int = 0) -> list[Entry]:
        """Return entries, newest first."""
        condition, values = wanted.condition()
        query = f"SELECT {ROW} {FROM} WHERE {condition} ORDER BY results.created DESC, results.number DESC"
        return self._entries(f"{query} LIMIT ? OFFSET ?", [*values, limit, offset])

    def count(self, wanted: Filter = Filter()) -> int:
        """Return the number of matching entries."""
        condition, values = wanted.condition()
        with self._store.reading() as db:
            return int(db.execute(f"SELECT COUNT(*) FROM results WHERE {condition}", values).fetchone()[0])

    def entry(self, number: int) -> Entry:
        """Return the entry with this number, deleted or not."""
        found = self._entries(f"SELECT {ROW} {FROM} WHERE results.number = ?", [number])
        if not found:
            raise BadInput(f"there is no video {number} in {self._store.path}")
        return found[0]

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
            return [row[0] for row in db.execute("SELECT DISTINCT version FROM results ORDER BY version")]

    def tags(self) -> list[str]:
        """Return all tags in use, sorted by name."""
        with self._store.reading() as db:
            found = db.execute("SELECT DISTINCT tags FROM results WHERE tags != '' AND deleted IS NULL").fetchall()
        return sorted({tag for row in found for tag in _tags(row[0])}, key=str.casefold)

    def same(self, settings: SampleSettings, choice: EngineChoice, picture: str) -> Entry | None:
        """Return an existing video with the same inputs, or None. `picture` is the input's file name.

        Videos older than the checkpoint file are ignored, because the checkpoint may have been replaced.
        """
        version = load_versions().get(settings.version)
        checkpoint = None if version is None else version.checkpoint_path
        since = 0.0 if checkpoint is None else checkpoint.stat().st_mtime
        query = (
            f"SELECT {ROW} {FROM} WHERE results.likeness = ? AND results.deleted IS NULL AND results.created >= ? "
            "ORDER BY results.number DESC"
        )
        found = self._entries(query, [fingerprint.of_video(settings, choice, picture), since])
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
        result: StoredResult,
        settings: SampleSettings,
        choice: EngineChoice,
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
        texts = (rows.settings_to_text(settings), rows.choice_to_text(choice), kept.name, safe_name(picture_name))
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

    def mark_deleted(self, numbers: Sequence[int], result_of: dict[int, StoredResult] | None = None) -> None:
        """Mark entries as deleted. `result_of` has the results with paths in the trash."""
        self._move(numbers, result_of or {}, time.time())

    def restore(self, numbers: Sequence[int], result_of: dict[int, StoredResult] | None = None) -> None:
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

    def _move(self, numbers: Sequence[int], result_of: dict[int, StoredResult], deleted: float | None) -> None:
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
            words = rows.searched(name, version, note, _tags(tags))
            db.execute("UPDATE results SET words = ? WHERE number = ?", (words, number))

    def _entries(self, query: str, values: Sequence[Any]) -> list[Entry]:
        with self._store.reading() as db:
            return [self._entry(db, row) for row in db.execute(query, values).fetchall()]

    def _entry(self, db: Connection, row: Sequence[Any]) -> Entry:
        number, result, created, rating, note, tags, measurement, deleted, *job = row
        return Entry(
            number,
            rows.result_from_text(result),
            created,
            rating,
            note,
            _tags(tags),
            Measurement.from_text(measurement),
            deleted,
            self._store.job_of(db, job),
        )


def _tags(text: str) -> tuple[str, ...]:
    return tuple(tag for tag in text.split("\n") if tag)
