"""The store of jobs: the only place with SQL. Any number of threads and processes may use it at once.

What `add` was given is on disk before it returns. The store only remembers; who runs what is the desk's business.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from img2vid import paths
from img2vid.errors import BadInput, StoreError
from img2vid.jobs import job as rows
from img2vid.jobs.estimate import Timing, expected
from img2vid.jobs.inputs import keep_input, safe_name
from img2vid.jobs.job import Job, JobProgress, ModelStatus, ModelWish, State, StoredResult
from img2vid.loading import EngineChoice
from img2vid.settings import SampleSettings

FILE_NAME = "img2vid.sqlite"
VERSION = 1
PATIENCE = 30.0
"""Seconds to wait for others who write."""
SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, place INTEGER NOT NULL,
    settings TEXT NOT NULL, choice TEXT NOT NULL, picture TEXT NOT NULL, picture_name TEXT NOT NULL,
    folder TEXT NOT NULL, animation TEXT, created REAL NOT NULL, started REAL, finished REAL,
    attempts INTEGER NOT NULL DEFAULT 0, cancel INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
    error_type TEXT NOT NULL DEFAULT '', details TEXT NOT NULL DEFAULT '', notice TEXT NOT NULL DEFAULT '',
    worker TEXT NOT NULL DEFAULT ''
);
CREATE INDEX jobs_by_state ON jobs (state, place);
CREATE TABLE results (number INTEGER PRIMARY KEY, job TEXT NOT NULL REFERENCES jobs (id), result TEXT NOT NULL);
CREATE INDEX results_by_job ON results (job);
CREATE TABLE progress (job TEXT PRIMARY KEY REFERENCES jobs (id), event TEXT NOT NULL, preview BLOB NOT NULL);
CREATE TABLE models (worker TEXT PRIMARY KEY, changed REAL NOT NULL, status TEXT NOT NULL);
CREATE TABLE wishes (number INTEGER PRIMARY KEY AUTOINCREMENT, version TEXT NOT NULL, choice TEXT NOT NULL);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE timings (
    number INTEGER PRIMARY KEY, version TEXT NOT NULL, provider TEXT NOT NULL, device TEXT NOT NULL,
    precision TEXT NOT NULL, timing TEXT NOT NULL
);
"""
COLUMNS = ", ".join(field.name for field in fields(Job) if field.name != "results")


class Store:
    """The jobs of one home. Errors of the disk or the file are StoreError, an unknown job is BadInput."""

    def __init__(self, path: Path | None = None) -> None:
        """path: the file, made at the first use; by default `img2vid.sqlite` in the home."""
        self.path = (paths.home() / FILE_NAME if path is None else path).absolute()
        self.home = self.path.parent
        """Inputs lie here in `inputs`, and videos in `kept` where their own folder could not take them."""
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

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
        """A new job at the end of the queue. `folder` is by default named after the version, in the home."""
        try:
            kept = keep_input(self.home / "inputs", picture, suffix)
        except OSError as error:
            raise StoreError(
                f"the picture cannot be kept in {self.home} ({error.strerror}); is the disk full?"
            ) from error
        target = (self.home / settings.version if folder is None else folder).absolute()
        values = (rows.settings_to_text(settings), rows.choice_to_text(choice), kept.name)
        return self._insert((*values, safe_name(picture_name), str(target), animation))

    def again(self, job_id: str) -> Job:
        """A new waiting job with the picture and the settings of another one."""
        with self._reading() as db:
            values = self._one(
                db, "SELECT settings, choice, picture, picture_name, folder, animation FROM jobs WHERE id = ?", job_id
            )
        return self._insert(values)

    def _insert(self, values: Sequence[Any]) -> Job:
        job_id = secrets.token_hex(8)
        with self._writing(durable=True) as db:
            db.execute(
                "INSERT INTO jobs (id, state, place, created, settings, choice, picture, picture_name, folder, "
                "animation) SELECT ?, ?, COALESCE(MAX(place), 0) + 1, ?, ?, ?, ?, ?, ?, ? FROM jobs",
                (job_id, State.WAITING, time.time(), *values),
            )
        return self.job(job_id)

    def job(self, job_id: str) -> Job:
        """The job of that id."""
        with self._reading() as db:
            return self._job(db, self._one(db, f"SELECT {COLUMNS} FROM jobs WHERE id = ?", job_id))

    def jobs(self, limit: int = 50, states: Sequence[State] | None = None) -> list[Job]:
        """The newest jobs, newest first."""
        wanted = tuple(State) if states is None else tuple(states)
        return self._jobs(wanted, "number DESC", limit)

    def queue(self, limit: int = -1) -> list[Job]:
        """The waiting jobs in the order in which they will run."""
        return self._jobs((State.WAITING,), "place, number", limit)

    def move(self, job_id: str, place: int) -> None:
        """Gives a waiting job another place in the queue; 0 is the next to run."""
        with self._writing(durable=True) as db:
            found = db.execute("SELECT id FROM jobs WHERE state = ? ORDER BY place, number", (State.WAITING,))
            order = [row[0] for row in found]
            if job_id not in order:
                raise BadInput(f"the job {job_id} does not wait any more")
            order.remove(job_id)
            order.insert(max(place, 0), job_id)
            db.executemany("UPDATE jobs SET place = ? WHERE id = ?", list(enumerate(order)))

    def cancel(self, job_id: str) -> None:
        """Ends a waiting job; asks the desk to stop a running one, which takes it a moment."""
        if self.cancel_waiting(job_id):
            return
        with self._writing(durable=True) as db:
            db.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = ?", (job_id, State.RUNNING))

    def cancel_waiting(self, job_id: str) -> bool:
        """Ends a job if it still waits; returns whether it did."""
        with self._writing(durable=True) as db:
            return self._cancel_waiting(db, "id = ?", (job_id,)) == 1

    def empty_queue(self) -> int:
        """Ends all waiting jobs; returns how many there were."""
        with self._writing(durable=True) as db:
            return self._cancel_waiting(db, "TRUE", ())

    def progress(self, job_id: str) -> JobProgress | None:
        """The newest event of a running job."""
        with self._reading() as db:
            row = db.execute("SELECT event, preview FROM progress WHERE job = ?", (job_id,)).fetchone()
        return None if row is None else JobProgress(**json.loads(row[0]), preview=row[1])

    def expected_seconds(self, settings: SampleSettings, choice: EngineChoice) -> float | None:
        """How long a job of these settings will take with a loaded model, judged by past ones, or None."""
        timing = self.timing(settings, choice)
        return None if timing is None else expected(timing, settings).whole * settings.num_samples

    def expected_memory(self, settings: SampleSettings, choice: EngineChoice) -> int | None:
        """How many bytes a job of these settings will need at most, judged by past ones, or None."""
        timing = self.timing(settings, choice)
        return None if timing is None or not timing.model else expected(timing, settings).memory

    def timing(self, settings: SampleSettings, choice: EngineChoice) -> Timing | None:
        """The usual speed of this version here, from the newest videos; what is `auto` may have been anything."""
        asked = {"provider": choice.provider, "device": choice.device, "precision": choice.precision}
        given = {name: value for name, value in asked.items() if value != "auto"}
        which = " ".join(["WHERE version = ?", *(f"AND {name} = ?" for name in given)])
        query = f"SELECT timing FROM timings {which} ORDER BY number DESC LIMIT 5"
        with self._reading() as db:
            found = db.execute(query, (settings.version, *given.values()))
            return Timing.usual([Timing(**json.loads(row[0])) for row in found])

    def model(self) -> ModelStatus:
        """The model that was loaded, or failed to load, last."""
        wish = self.wish()
        with self._reading() as db:
            row = db.execute("SELECT status FROM models ORDER BY changed DESC LIMIT 1").fetchone()
        status = ModelStatus() if row is None else ModelStatus(**json.loads(row[0]))
        version = "" if wish is None else wish.version
        return replace(status, wanted=bool(version), wanted_version=version)

    # What the desk writes down

    def start(self, job_id: str, worker: str = "") -> bool:
        """A job was given to a worker, for the first time or again; False where it waits and runs no more."""
        with self._writing() as db:
            changed = db.execute(
                "UPDATE jobs SET state = ?, started = COALESCE(started, ?), worker = ?, attempts = attempts + 1 "
                "WHERE id = ? AND state IN (?, ?)",
                (State.RUNNING, time.time(), worker, job_id, State.WAITING, State.RUNNING),
            )
            return changed.rowcount == 1

    def put_back(self, job_id: str) -> None:
        """A running or interrupted job waits again, before all others; it goes on after the videos that it has."""
        with self._writing(durable=True) as db:
            db.execute(
                "UPDATE jobs SET state = ?, started = NULL, finished = NULL, error = '', "
                "place = (SELECT MIN(place) - 1 FROM jobs) WHERE id = ? AND state IN (?, ?)",
                (State.WAITING, job_id, State.RUNNING, State.INTERRUPTED),
            )
            db.execute("DELETE FROM progress WHERE job = ?", (job_id,))

    def finish(self, job_id: str, state: State, error: str = "", error_type: str = "", details: str = "") -> None:
        """A running job has ended; an end is never changed."""
        with self._writing(durable=True) as db:
            db.execute(
                "UPDATE jobs SET state = ?, finished = ?, error = ?, error_type = ?, details = ? "
                "WHERE id = ? AND state = ?",
                (state, time.time(), error, error_type, details, job_id, State.RUNNING),
            )
            db.execute("DELETE FROM progress WHERE job = ?", (job_id,))

    def settle(self) -> int:
        """Ends the jobs that were running under a desk that is gone; returns how many."""
        with self._reading() as db:
            found = db.execute("SELECT id, cancel FROM jobs WHERE state = ?", (State.RUNNING,)).fetchall()
        for job_id, cancelled in found:
            if cancelled:
                self.finish(job_id, State.CANCELLED)
            else:
                self.finish(job_id, State.INTERRUPTED, "the program ended while the job was running; run it again")
        return len(found)

    def to_cancel(self) -> set[str]:
        """The running jobs that somebody asked to stop."""
        with self._reading() as db:
            return {row[0] for row in db.execute("SELECT id FROM jobs WHERE state = ? AND cancel", (State.RUNNING,))}

    def record_result(self, job_id: str, result: StoredResult) -> None:
        """One of a job's videos is on disk."""
        with self._writing(durable=True) as db:
            db.execute("INSERT INTO results (job, result) VALUES (?, ?)", (job_id, rows.result_to_text(result)))

    def record_notice(self, job_id: str, notice: str) -> None:
        """Something went otherwise than asked for; further notices are added, each once."""
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET notice = CASE WHEN notice = '' THEN :notice WHEN INSTR(notice, :notice) THEN notice "
                "ELSE notice || '; ' || :notice END WHERE id = :job",
                {"notice": notice, "job": job_id},
            )

    def record_progress(self, job_id: str, progress: JobProgress) -> None:
        """A running job's newest event; one without a preview leaves the last one."""
        event = asdict(progress)
        preview = event.pop("preview")
        with self._writing() as db:
            db.execute(
                "INSERT INTO progress SELECT id, :event, :preview FROM jobs WHERE id = :job AND state = :running "
                "ON CONFLICT (job) DO UPDATE SET event = :event, "
                "preview = CASE WHEN LENGTH(:preview) THEN :preview ELSE preview END",
                {"event": json.dumps(event), "preview": preview, "job": job_id, "running": State.RUNNING},
            )

    def record_timing(self, version: str, metadata: dict[str, Any], timing: Timing) -> None:
        """How fast a video was made; the newest hundred are kept."""
        engine = [str(metadata[name]) for name in ("provider", "device", "precision")]
        values = (None, version, *engine, json.dumps(asdict(timing)))
        with self._writing() as db:
            added = db.execute("INSERT INTO timings VALUES (?, ?, ?, ?, ?, ?)", values)
            db.execute("DELETE FROM timings WHERE number <= ?", ((added.lastrowid or 0) - 100,))

    def record_model(self, worker: str, status: ModelStatus) -> None:
        """What a worker's memory holds."""
        with self._writing() as db:
            db.execute("REPLACE INTO models VALUES (?, ?, ?)", (worker, time.time(), json.dumps(asdict(status))))

    def forget_models(self, workers: Sequence[str] | None = None) -> None:
        """Workers that are gone hold nothing; without names, all of them."""
        with self._writing() as db:
            known = [row[0] for row in db.execute("SELECT worker FROM models")] if workers is None else workers
            db.executemany("DELETE FROM models WHERE worker = ?", [(worker,) for worker in known])

    def wish(self) -> ModelWish | None:
        """The newest wish."""
        with self._reading() as db:
            row = db.execute("SELECT number, version, choice FROM wishes ORDER BY number DESC LIMIT 1").fetchone()
        return None if row is None else ModelWish(row[0], row[1], rows.choice_from_text(row[2]))

    def make_wish(self, version: str, choice: EngineChoice) -> None:
        """The workers shall load this version, or, for "", let go of what they hold."""
        with self._writing(durable=True) as db:
            db.execute("INSERT INTO wishes (version, choice) VALUES (?, ?)", (version, rows.choice_to_text(choice)))
            db.execute("DELETE FROM wishes WHERE number < (SELECT MAX(number) FROM wishes)")

    def note(self, name: str) -> Any:
        """What the active desk last noted under a name, or None."""
        with self._reading() as db:
            row = db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def write_note(self, name: str, value: Any) -> None:
        """Lets other processes know; `value` is whatever JSON holds."""
        with self._writing() as db:
            db.execute("REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value)))

    # Connections

    def close(self) -> None:
        """Closes the connections that nobody uses; the store can be used again afterwards."""
        with self._lock:
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection, None, None]:
        """A connection of one's own for the block."""
        try:
            with self._lock:
                db = self._idle.pop() if self._idle else self._open()
            try:
                yield db
            except BaseException:
                db.close()
                raise
            with self._lock:
                self._idle.append(db)
        except sqlite3.Error as error:
            raise StoreError(f"the store of jobs {self.path} cannot be used ({error}); is the disk full?") from error

    @contextmanager
    def _writing(self, *, durable: bool = False) -> Generator[sqlite3.Connection, None, None]:
        """A transaction, whole or not at all; a durable one is on the disk when the block ends, power cut or not."""
        with self._reading() as db:
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the folder {self.home} cannot be made ({error.strerror}); set IMG2VID_HOME") from error
        # Transactions are begun by hand, and a connection is only ever used by one thread at a time.
        db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            self._make_tables(db)
        except BaseException:
            db.close()
            raise
        return db

    def _make_tables(self, db: sqlite3.Connection) -> None:
        if db.execute("PRAGMA user_version").fetchone() == (0,):
            # Whoever comes second finds the tables made when its turn to write has come.
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA user_version").fetchone() == (0,):
                for statement in [*SCHEMA.split(";")[:-1], f"PRAGMA user_version = {VERSION}"]:
                    db.execute(statement)
            db.execute("COMMIT")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise StoreError(
                f"the store of jobs {self.path} is of version {version}, this program knows {VERSION}; "
                "update img2vid, or move the file away"
            )

    # Rows

    def _one(self, db: sqlite3.Connection, query: str, job_id: str) -> tuple[Any, ...]:
        row = db.execute(query, (job_id,)).fetchone()
        if row is None:
            raise BadInput(f"there is no job {job_id!r} in {self.path}")
        return row

    def _jobs(self, states: Sequence[State], order: str, limit: int) -> list[Job]:
        marks = ", ".join("?" for _ in states)
        query = f"SELECT {COLUMNS} FROM jobs WHERE state IN ({marks}) ORDER BY {order} LIMIT ?"
        with self._reading() as db:
            return [self._job(db, row) for row in db.execute(query, (*states, limit)).fetchall()]

    def _job(self, db: sqlite3.Connection, row: tuple[Any, ...]) -> Job:
        job_id, state, settings, choice, picture, picture_name, folder, *more = row
        found = db.execute("SELECT result FROM results WHERE job = ? ORDER BY number", (job_id,))
        return Job(
            job_id,
            State(state),
            rows.settings_from_text(settings),
            rows.choice_from_text(choice),
            self.home / "inputs" / picture,
            picture_name,
            Path(folder),
            *more,
            results=tuple(rows.result_from_text(result[0]) for result in found),
        )

    def _cancel_waiting(self, db: sqlite3.Connection, which: str, values: tuple[Any, ...]) -> int:
        query = f"UPDATE jobs SET state = ?, finished = ? WHERE state = ? AND {which}"
        return db.execute(query, (State.CANCELLED, time.time(), State.WAITING, *values)).rowcount
