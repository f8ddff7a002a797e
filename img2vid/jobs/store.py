"""Job store: the queue, the jobs' results and the model status.

A job is on disk when `add` returns. The store only records; the service runs the jobs.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from img2vid.errors import BadInput, StoreError
from img2vid.inference import EngineChoice
from img2vid.jobs import fingerprint
from img2vid.jobs import job as rows
from img2vid.jobs.database import Connection, Database
from img2vid.jobs.estimate import Timing, expected
from img2vid.jobs.inputs import keep_input, safe_name
from img2vid.jobs.job import Job, JobProgress, ModelRequest, ModelStatus, State, StoredResult
from img2vid.settings import SampleSettings

COLUMNS = ", ".join(f"jobs.{field.name}" for field in fields(Job) if field.name not in ("made", "results"))
"""Columns that `job_of` reads."""


class Store(Database):
    """Jobs of one home. Raises StoreError if the disk or the file fails and BadInput for an unknown job."""

    # Jobs, for pages and the command line

    def add(
        self,
        settings: SampleSettings,
        choice: EngineChoice,
        picture: bytes,
        picture_name: str,
        suffix: str,
        folder: Path | None = None,
        animation: str | None = None,
    ) -> Job:
        """Add a job to the end of the queue and return it. `folder` defaults to one in the home named by version."""
        kept = self.keep_picture(picture, suffix)
        target = (self.home / settings.version if folder is None else folder).absolute()
        values = (rows.settings_to_text(settings), rows.choice_to_text(choice), kept.name)
        return self._insert((*values, safe_name(picture_name), str(target), animation))

    def keep_picture(self, picture: bytes, suffix: str) -> Path:
        """Write an input to disk unless it exists; return its path."""
        try:
            return keep_input(self.home / "inputs", picture, suffix)
        except OSError as error:
            raise StoreError(
                f"the picture cannot be saved in {self.home} ({error.strerror}); is the disk full?"
            ) from error

    def resubmit(self, job_id: str) -> Job:
        """Add a job with the picture and the settings of another one and return it."""
        with self.reading() as db:
            values = self._one(
                db, "SELECT settings, choice, picture, picture_name, folder, animation FROM jobs WHERE id = ?", job_id
            )
        return self._insert(values)

    def _insert(self, values: Sequence[Any]) -> Job:
        job_id = rows.new_id()
        with self.writing(durable=True) as db:
            db.execute(
                "INSERT INTO jobs (id, state, place, created, settings, choice, picture, picture_name, folder, "
                "animation) SELECT ?, ?, COALESCE(MAX(place), 0) + 1, ?, ?, ?, ?, ?, ?, ? FROM jobs",
                (job_id, State.WAITING, time.time(), *values),
            )
        return self.job(job_id)

    def job(self, job_id: str) -> Job:
        """Return the job with this id."""
        with self.reading() as db:
            return self.job_of(db, self._one(db, f"SELECT {COLUMNS} FROM jobs WHERE id = ?", job_id))

    def jobs(self, limit: int = 50, states: Sequence[State] | None = None) -> list[Job]:
        """Return the newest jobs, newest first, without imports."""
        wanted = tuple(State) if states is None else tuple(states)
        return self._jobs(wanted, "number DESC", limit)

    def queue(self, limit: int = -1) -> list[Job]:
        """Return the waiting jobs in queue order."""
        return self._jobs((State.WAITING,), "place, number", limit)

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

    def progress(self, job_id: str) -> JobProgress | None:
        """Return the newest event of a running job, or None."""
        with self.reading() as db:
            row = db.execute("SELECT event, preview FROM progress WHERE job = ?", (job_id,)).fetchone()
        return None if row is None else JobProgress(**json.loads(row[0]), preview=row[1])

    def expected_seconds(self, settings: SampleSettings, choice: EngineChoice) -> float | None:
        """Return the expected seconds of a job with a loaded model, from earlier jobs, or None if unknown."""
        timing = self.timing(settings, choice)
        return None if timing is None else expected(timing, settings).whole * settings.num_samples

    def timing(self, settings: SampleSettings, choice: EngineChoice) -> Timing | None:
        """Return the usual timing of this version from the newest videos. `auto` matches any value."""
        options = {"provider": choice.provider, "device": choice.device, "precision": choice.precision}
        given = {name: value for name, value in options.items() if value != "auto"}
        which = " ".join(["WHERE version = ?", *(f"AND {name} = ?" for name in given)])
        query = f"SELECT timing FROM timings {which} ORDER BY number DESC LIMIT 5"
        with self.reading() as db:
            found = db.execute(query, (settings.version, *given.values()))
            return Timing.usual([Timing.from_text(row[0]) for row in found])

    def model(self) -> ModelStatus:
        """Return the status of the model that changed last, and the version the user requested."""
        request = self.model_request()
        with self.reading() as db:
            row = db.execute("SELECT status FROM models ORDER BY changed DESC LIMIT 1").fetchone()
        status = ModelStatus() if row is None else ModelStatus(**json.loads(row[0]))
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
        """End the jobs that were running when an earlier service exited; return their number."""
        with self.reading() as db:
            found = db.execute("SELECT id, cancel FROM jobs WHERE state = ?", (State.RUNNING,)).fetchall()
        for job_id, cancelled in found:
            if cancelled:
                self.finish(job_id, State.CANCELLED)
            else:
                self.finish(job_id, State.INTERRUPTED, "the program ended while the job was running; run it again")
        return len(found)

    def to_cancel(self) -> set[str]:
        """Return the ids of running jobs with a cancel request."""
        with self.reading() as db:
            return {row[0] for row in db.execute("SELECT id FROM jobs WHERE state = ? AND cancel", (State.RUNNING,))}

    def record_result(self, job_id: str, result: StoredResult) -> None:
        """Record a video of a job that is on disk."""
        with self.writing(durable=True) as db:
            self.insert_result(db, job_id, result, time.time())

    def insert_result(self, db: Connection, job_id: str, result: StoredResult, created: float) -> int:
        """Insert a row for a video of a job in an open transaction; return its number."""
        query = "SELECT settings, choice, picture, picture_name FROM jobs WHERE id = ?"
        settings, choice, picture, picture_name = self._one(db, query, job_id)
        one = rows.one_video(rows.settings_from_text(settings), result.seed)
        likeness = fingerprint.of_video(one, rows.choice_from_text(choice), picture)
        words = rows.searched(picture_name, one.version, "", ())
        added = db.execute(
            "INSERT INTO results (job, result, created, version, likeness, words) VALUES (?, ?, ?, ?, ?, ?)",
            (job_id, rows.result_to_text(result), created, one.version, likeness, words),
        )
        return added.lastrowid or 0

    def record_notice(self, job_id: str, notice: str) -> None:
        """Add a notice to a job unless it has it already."""
        with self.writing() as db:
            db.execute(
                "UPDATE jobs SET notice = CASE WHEN notice = '' THEN :notice WHEN INSTR(notice, :notice) THEN notice "
                "ELSE notice || '; ' || :notice END WHERE id = :job",
                {"notice": notice, "job": job_id},
            )

    def record_progress(self, job_id: str, progress: JobProgress) -> None:
        """Record the newest event of a running job. An event without a preview keeps the last preview."""
        event = asdict(progress)
        preview = event.pop("preview")
        with self.writing() as db:
            db.execute(
                "INSERT INTO progress SELECT id, :event, :preview FROM jobs WHERE id = :job AND state = :running "
                "ON CONFLICT (job) DO UPDATE SET event = :event, "
                "preview = CASE WHEN LENGTH(:preview) THEN :preview ELSE preview END",
                {"event": json.dumps(event), "preview": preview, "job": job_id, "running": State.RUNNING},
            )

    def record_timing(self, version: str, metadata: dict[str, Any], timing: Timing) -> None:
        """Record the timing of a video. The newest hundred are kept."""
        engine = [str(metadata[name]) for name in ("provider", "device", "precision")]
        values = (None, version, *engine, json.dumps(asdict(timing)))
        with self.writing() as db:
            added = db.execute("INSERT INTO timings VALUES (?, ?, ?, ?, ?, ?)", values)
            db.execute("DELETE FROM timings WHERE number <= ?", ((added.lastrowid or 0) - 100,))

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
            row = db.execute("SELECT number, version, choice FROM wishes ORDER BY number DESC LIMIT 1").fetchone()
        return None if row is None else ModelRequest(row[0], row[1], rows.choice_from_text(row[2]))

    def request_model(self, version: str, choice: EngineChoice) -> None:
        """Request that workers load this version, or unload their models if it is ""."""
        with self.writing(durable=True) as db:
            db.execute("INSERT INTO wishes (version, choice) VALUES (?, ?)", (version, rows.choice_to_text(choice)))
            db.execute("DELETE FROM wishes WHERE number < (SELECT MAX(number) FROM wishes)")

    def note(self, name: str) -> Any:
        """Return the latest value the active service published under a name, or None."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def write_note(self, name: str, value: Any) -> None:
        """Publish a JSON value to other processes."""
        with self.writing() as db:
            db.execute("REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value)))

    # Rows

    def _one(self, db: Connection, query: str, job_id: str) -> tuple[Any, ...]:
        row = db.execute(query, (job_id,)).fetchone()
        if row is None:
            raise BadInput(f"there is no job {job_id!r} in {self.path}")
        return row

    def _jobs(self, states: Sequence[State], order: str, limit: int) -> list[Job]:
        marks = ", ".join("?" for _ in states)
        query = f"SELECT {COLUMNS} FROM jobs WHERE state IN ({marks}) AND NOT imported ORDER BY {order} LIMIT ?"
        with self.reading() as db:
            return [self.job_of(db, row) for row in db.execute(query, (*states, limit)).fetchall()]

    def job_of(self, db: Connection, row: Sequence[Any]) -> Job:
        """Return the job of a row with COLUMNS."""
        job_id, state, settings, choice, picture, picture_name, folder, *more, imported = row
        found = db.execute("SELECT result, deleted FROM results WHERE job = ? ORDER BY number", (job_id,)).fetchall()
        return Job(
            job_id,
            State(state),
            rows.settings_from_text(settings),
            rows.choice_from_text(choice),
            self.home / "inputs" / picture,
            picture_name,
            Path(folder),
            *more,
            imported=bool(imported),
            made=len(found),
            results=tuple(rows.result_from_text(result) for result, deleted in found if deleted is None),
        )

    def _cancel_waiting(self, db: Connection, which: str, values: tuple[Any, ...]) -> int:
        query = f"UPDATE jobs SET state = ?, finished = ? WHERE state = ? AND {which}"
        return db.execute(query, (State.CANCELLED, time.time(), State.WAITING, *values)).rowcount
