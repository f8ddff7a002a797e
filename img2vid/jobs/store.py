"""Job store: the queue, the jobs' results and the model status.

A job is on disk when `add` returns. The store only records; the service runs the jobs.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from img2vid.errors import BadInput, StoreError
from img2vid.jobs import fingerprint
from img2vid.jobs import job as rows
from img2vid.jobs.database import Connection
from img2vid.jobs.inputs import keep_input
from img2vid.jobs.job import Job, ModelRequest, ModelStatus, State
from img2vid.jobs.timings import Timings
from img2vid.options import LoadOptions
from img2vid.paths import safe_name
from img2vid.progress import Event, Result
from img2vid.settings import SampleSettings
from img2vid.settings_validation import make_settings
from img2vid.text_to_image.settings import ImageSettings

WITHOUT_COLUMN = ("made", "results", "pictures")
"""Fields of a job that are not in its row."""
COLUMN_NAMES = {"options": "choice"}
"""Names of columns that differ from the field's."""
COLUMNS = ", ".join(
    f"jobs.{COLUMN_NAMES.get(one.name, one.name)}" for one in fields(Job) if one.name not in WITHOUT_COLUMN
)
"""Columns that `job_of` reads."""


class Store(Timings):
    """Jobs of one home. Raises StoreError if the disk or the file fails and BadInput for an unknown job."""

    # Jobs, for pages and the command line

    def add(
        self,
        settings: SampleSettings,
        options: LoadOptions,
        picture: bytes,
        picture_name: str,
        suffix: str,
        folder: Path | None = None,
        animation: str | None = None,
    ) -> Job:
        """Add a job to the end of the queue and return it. `folder` defaults to one in the home named by version."""
        kept = self.keep_picture(picture, suffix)
        target = self.output_folder(settings, folder).absolute()
        values = (rows.settings_to_text(settings), rows.options_to_text(options), kept.name)
        return self._insert((*values, safe_name(picture_name), str(target), animation, "video", "", ""))

    def add_image(
        self,
        image: ImageSettings,
        settings: SampleSettings,
        options: LoadOptions,
        folder: Path | None = None,
        animation: str | None = None,
    ) -> Job:
        """Add a job for pictures to the end of the queue and return it. `add_link` adds one for videos of the first."""
        target = self.output_folder(settings, folder).absolute()
        values = (
            rows.settings_to_text(settings),
            rows.options_to_text(options),
            "",
            safe_name(image.name),
            str(target),
        )
        return self._insert((*values, animation, "image", rows.image_to_text(image), ""))

    def add_link(self, before: Job, settings: SampleSettings, folder: Path) -> Job:
        """Add a job that continues another one, which may be unfinished, and return it; see `Job.continues`.

        After a video, `settings` have the seed after that video's.
        """
        values = (rows.settings_to_text(settings), rows.options_to_text(before.options), f"{before.id}.png")
        more = (before.picture_name, str(folder.absolute()), before.animation, "video", "", before.id)
        return self._insert((*values, *more))

    def output_folder(self, settings: SampleSettings, folder: Path | None) -> Path:
        """Return the folder for the videos of a job; by default the model version's in the home."""
        return self.home / settings.version if folder is None else folder

    def set_picture(self, job_id: str, picture: bytes) -> Job:
        """Store the input of a job that continues another one, a PNG file, and return the job."""
        kept = self.keep_picture(picture, ".png")
        with self.writing(durable=True) as db:
            db.execute("UPDATE jobs SET picture = ? WHERE id = ?", (kept.name, job_id))
        return self.job(job_id)

    def keep_picture(self, picture: bytes, suffix: str) -> Path:
        """Write an input to disk unless it exists; return its path."""
        try:
            return keep_input(self.home / "inputs", picture, suffix)
        except OSError as error:
            raise StoreError(
                f"the picture cannot be saved in {self.home} ({error.strerror}); is the disk full?"
            ) from error

    def resubmit(self, job_id: str) -> Job:
        """Add copies of a job and of the unfinished ones that continue it; return the first."""
        columns = "settings, choice, picture, picture_name, folder, animation, kind, image"
        with self.reading() as db:
            values = self._one(db, f"SELECT {columns}, continues FROM jobs WHERE id = ?", job_id)
            added = first = self._insert(values)
            unfinished = (State.FAILED, State.INTERRUPTED, State.WAITING)
            query = f"SELECT id, {columns} FROM jobs WHERE continues = ? AND state IN (?, ?, ?) ORDER BY number LIMIT 1"
            while row := db.execute(query, (job_id, *unfinished)).fetchone():
                job_id, settings, options, _, *others = row
                added = self._insert((settings, options, f"{added.id}.png", *others, added.id))
        return first

    def _insert(self, values: Sequence[Any]) -> Job:
        job_id = rows.new_id()
        with self.writing(durable=True) as db:
            db.execute(
                "INSERT INTO jobs (id, state, place, created, settings, choice, picture, picture_name, folder, "
                "animation, kind, image, continues) "
                "SELECT ?, ?, COALESCE(MAX(place), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM jobs",
                (job_id, State.WAITING, time.time(), *values),
            )
        return self.job(job_id)

    def job(self, job_id: str) -> Job:
        """Return the job with this id. Raise UnreadableRow if its row cannot be read."""
        with self.reading() as db:
            row = self._one(db, f"SELECT id, {COLUMNS} FROM jobs WHERE id = ?", job_id)
            return self.read_row("job", row, partial(self.job_of, db))

    def jobs(self, limit: int = 50, states: Sequence[State] | None = None) -> list[Job]:
        """Return the newest jobs, newest first, without imports."""
        wanted = tuple(State) if states is None else tuple(states)
        return self._jobs(wanted, "number DESC", limit)

    def queue(self, limit: int = -1) -> list[Job]:
        """Return the waiting jobs in queue order."""
        return self._jobs((State.WAITING,), "place, number", limit)

    def ready(self, limit: int) -> list[Job]:
        """Return the waiting jobs in queue order, without those that continue an unfinished one."""
        unfinished = (
            "AND NOT EXISTS (SELECT 1 FROM jobs AS other WHERE other.id = jobs.continues AND other.state IN "
            f"('{State.WAITING.value}', '{State.RUNNING.value}'))"
        )
        return self._jobs((State.WAITING,), "place, number", limit, unfinished)

    def move(self, job_id: str, place: int) -> None:
        """Move a waiting job to another place in the queue; 0 is the next to run."""
        with self.writing(durable=True) as db:
            found = db.execute("SELECT id FROM jobs WHERE state = ? ORDER BY place, number", (State.WAITING,))
            order = [row[0] for row in found]
            if job_id not in order:
                raise BadInput(f"the job {job_id} is no longer queued")
            order.remove(job_id)
            order.insert(max(place, 0), job_id)
            db.executemany("UPDATE jobs SET place = ? WHERE id = ?", list(enumerate(order)))

    def cancel(self, job_id: str) -> None:
        """Cancel a waiting job, or request that the service stop a running one after its current step."""
        if self.cancel_waiting(job_id):
            return
        with self.writing(durable=True) as db:
            db.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = ?", (job_id, State.RUNNING))

    def cancel_waiting(self, job_id: str) -> bool:
        """Cancel a job if it is waiting; return True if it was."""
        with self.writing(durable=True) as db:
            return self._cancel_waiting(db, "id = ?", (job_id,)) == 1

    def clear_queue(self) -> int:
        """Cancel all waiting jobs and return their number."""
        with self.writing(durable=True) as db:
            return self._cancel_waiting(db, "TRUE", ())

    def progress(self, job_id: str) -> Event | None:
        """Return the newest event of a running job, or None."""
        with self.reading() as db:
            found = db.execute("SELECT job, event, preview FROM progress WHERE job = ?", (job_id,)).fetchall()
        read = self.read_all("progress", found, rows.progress_from_row)
        return next(iter(read), None)

    def model(self) -> ModelStatus:
        """Return the status of the model that changed last, and the version the user requested."""
        request = self.model_request()
        with self.reading() as db:
            found = db.execute("SELECT worker, status FROM models ORDER BY changed DESC LIMIT 1").fetchall()
        read = self.read_all("model", found, rows.model_from_text)
        status = next(iter(read), ModelStatus())
        version = "" if request is None else request.version
        return replace(status, wanted=bool(version), wanted_version=version)

    # Records of the service

    def start(self, job_id: str, worker: str = "") -> bool:
        """Record that a job was assigned to a worker; return False if it is neither waiting nor running."""
        with self.writing() as db:
            changed = db.execute(
                "UPDATE jobs SET state = ?, started = COALESCE(started, ?), worker = ?, attempts = attempts + 1 "
                "WHERE id = ? AND state IN (?, ?)",
                (State.RUNNING, time.time(), worker, job_id, State.WAITING, State.RUNNING),
            )
            return changed.rowcount == 1

    def requeue(self, job_id: str) -> None:
        """Return a running or interrupted job to the front of the queue. It resumes after its finished videos."""
        with self.writing(durable=True) as db:
            db.execute(
                "UPDATE jobs SET state = ?, started = NULL, finished = NULL, error = '', "
                "place = (SELECT MIN(place) - 1 FROM jobs) WHERE id = ? AND state IN (?, ?)",
                (State.WAITING, job_id, State.RUNNING, State.INTERRUPTED),
            )
            db.execute("DELETE FROM progress WHERE job = ?", (job_id,))

    def finish(self, job_id: str, state: State, error: str = "", error_type: str = "", details: str = "") -> None:
        """Record the final state of a running job. Final states never change."""
        with self.writing(durable=True) as db:
            db.execute(
                "UPDATE jobs SET state = ?, finished = ?, error = ?, error_type = ?, details = ? "
                "WHERE id = ? AND state = ?",
                (state, time.time(), error, error_type, details, job_id, State.RUNNING),
            )
            db.execute("DELETE FROM progress WHERE job = ?", (job_id,))

    def recover(self) -> int:
        """End the jobs that were running when an earlier service exited; return their number.

        Waiting jobs that cannot be read, or whose settings are invalid, fail.
        """
        reason = "the program ended while the job was running; run it again"
        with self.writing(durable=True) as db:
            ended = db.execute(
                "UPDATE jobs SET state = CASE WHEN cancel THEN ? ELSE ? END, error = CASE WHEN cancel THEN '' ELSE ? "
                "END, finished = ? WHERE state = ?",
                (State.CANCELLED, State.INTERRUPTED, reason, time.time(), State.RUNNING),
            )
            db.execute("DELETE FROM progress")
            query = f"SELECT number, id, {COLUMNS} FROM jobs WHERE state = ?"
            for number, *row in db.execute(query, (State.WAITING,)).fetchall():
                try:
                    make_settings(self.read_row("job", row, partial(self.job_of, db)).settings.model_dump())
                except BadInput as error:
                    db.execute(
                        "UPDATE jobs SET state = ?, error = ?, finished = ? WHERE number = ?",
                        (State.FAILED, str(error), time.time(), number),
                    )
        return ended.rowcount

    def to_cancel(self) -> set[str]:
        """Return the ids of running jobs with a cancel request."""
        with self.reading() as db:
            return {row[0] for row in db.execute("SELECT id FROM jobs WHERE state = ? AND cancel", (State.RUNNING,))}

    def record_result(self, job_id: str, result: Result) -> None:
        """Record a video of a job that is on disk."""
        with self.writing(durable=True) as db:
            self.insert_result(db, job_id, result, time.time())

    def insert_result(self, db: Connection, job_id: str, result: Result, created: float) -> int:
        """Insert a row for a video of a job in an open transaction; return its number."""
        query = "SELECT settings, choice, picture, picture_name FROM jobs WHERE id = ?"
        settings, options, picture, picture_name = self._one(db, query, job_id)
        one = rows.one_video(rows.settings_from_text(settings), result.seed)
        likeness = fingerprint.of_video(one, rows.options_from_text(options), picture)
        words = rows.searched(picture_name, one.version, "", ())
        added = db.execute(
            "INSERT INTO results (job, result, created, version, likeness, words) VALUES (?, ?, ?, ?, ?, ?)",
            (job_id, rows.result_to_text(result), created, one.version, likeness, words),
        )
        return added.lastrowid or 0

    def record_picture(self, job_id: str, file: str, likeness: str) -> None:
        """Record a picture of a job that is among the inputs, under its fingerprint."""
        with self.writing(durable=True) as db:
            query = "INSERT INTO pictures (job, file, likeness, created) VALUES (?, ?, ?, ?)"
            db.execute(query, (job_id, file, likeness, time.time()))

    def picture_like(self, likeness: str, since: float) -> str | None:
        """Return the file of a picture with this fingerprint that was made after a time and still exists, or None."""
        query = "SELECT file FROM pictures WHERE likeness = ? AND created >= ? ORDER BY number DESC"
        with self.reading() as db:
            found = [row[0] for row in db.execute(query, (likeness, since)).fetchall()]
        return next((file for file in found if (self.home / "inputs" / file).is_file()), None)

    def record_notice(self, job_id: str, notice: str) -> None:
        """Add a notice to a job unless it has it already."""
        with self.writing() as db:
            db.execute(
                "UPDATE jobs SET notice = CASE WHEN notice = '' THEN :notice WHEN INSTR(notice, :notice) THEN notice "
                "ELSE notice || '; ' || :notice END WHERE id = :job",
                {"notice": notice, "job": job_id},
            )

    def record_progress(self, job_id: str, progress: Event) -> None:
        """Record the newest event of a running job. An event without a preview keeps the last preview."""
        event = asdict(progress)
        preview, _ = event.pop("preview"), event.pop("frames")
        with self.writing() as db:
            db.execute(
                "INSERT INTO progress SELECT id, :event, :preview FROM jobs WHERE id = :job AND state = :running "
                "ON CONFLICT (job) DO UPDATE SET event = :event, "
                "preview = CASE WHEN LENGTH(:preview) THEN :preview ELSE preview END",
                {"event": json.dumps(event), "preview": preview, "job": job_id, "running": State.RUNNING},
            )

    def record_model(self, worker: str, status: ModelStatus) -> None:
        """Record the model status of a worker."""
        with self.writing() as db:
            db.execute("REPLACE INTO models VALUES (?, ?, ?)", (worker, time.time(), json.dumps(asdict(status))))

    def drop_models(self, workers: Sequence[str] | None = None) -> None:
        """Delete the model status of lost workers; by default of all workers."""
        with self.writing() as db:
            known = [row[0] for row in db.execute("SELECT worker FROM models")] if workers is None else workers
            db.executemany("DELETE FROM models WHERE worker = ?", [(worker,) for worker in known])

    def model_request(self) -> ModelRequest | None:
        """Return the newest model request, or None."""
        with self.reading() as db:
            found = db.execute(
                "SELECT number, number, version, choice FROM wishes ORDER BY number DESC LIMIT 1"
            ).fetchall()
        return next(iter(self.read_all("model request", found, rows.request_from_row)), None)

    def request_model(self, version: str, options: LoadOptions) -> None:
        """Request that workers load this version, or unload their models if it is ""."""
        with self.writing(durable=True) as db:
            db.execute("INSERT INTO wishes (version, choice) VALUES (?, ?)", (version, rows.options_to_text(options)))
            db.execute("DELETE FROM wishes WHERE number < (SELECT MAX(number) FROM wishes)")

    # Rows

    def _one(self, db: Connection, query: str, job_id: str) -> tuple[Any, ...]:
        row = db.execute(query, (job_id,)).fetchone()
        if row is None:
            raise BadInput(f"there is no job {job_id!r} in {self.path}")
        return row

    def _jobs(self, states: Sequence[State], order: str, limit: int, also: str = "") -> list[Job]:
        marks = ", ".join("?" for _ in states)
        which = f"state IN ({marks}) AND NOT imported {also}"
        query = f"SELECT id, {COLUMNS} FROM jobs WHERE {which} ORDER BY {order} LIMIT ?"
        with self.reading() as db:
            return self.read_all("job", db.execute(query, (*states, limit)).fetchall(), partial(self.job_of, db))

    def job_of(self, db: Connection, *row: Any) -> Job:
        """Return the job of a row with COLUMNS; for `read_row`."""
        job_id, state, settings, options, picture, picture_name, folder, *more, imported, kind, image = row
        query = "SELECT number, result FROM results WHERE job = ? AND deleted IS NULL ORDER BY number"
        found = db.execute(query, (job_id,)).fetchall()
        results = self.read_all("result", found, rows.result_from_text)
        made = db.execute("SELECT COUNT(*) FROM results WHERE job = ?", (job_id,)).fetchone()[0]
        files = db.execute("SELECT file FROM pictures WHERE job = ? ORDER BY number", (job_id,)).fetchall()
        inputs = self.home / "inputs"
        return Job(
            job_id,
            State(state),
            rows.settings_from_text(settings),
            rows.options_from_text(options),
            inputs / picture,
            picture_name,
            Path(folder),
            *more,
            imported=bool(imported),
            made=made,
            results=tuple(results),
            kind=kind,
            image=rows.image_from_text(image),
            pictures=tuple(inputs / file for (file,) in files),
        )

    def _cancel_waiting(self, db: Connection, which: str, values: tuple[Any, ...]) -> int:
        query = f"UPDATE jobs SET state = ?, finished = ? WHERE state = ? AND {which}"
        return db.execute(query, (State.CANCELLED, time.time(), State.WAITING, *values)).rowcount
