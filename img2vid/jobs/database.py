"""SQLite database of a home: its tables, migrations and connections. Safe for many threads and processes at once.

SQL is used only here and in `store`, `entries` and `studies`, which build on this module.
"""

import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from img2vid import paths
from img2vid.errors import StoreError
from img2vid.jobs import fingerprint
from img2vid.jobs import job as rows

Connection = sqlite3.Connection

FILE_NAME = "img2vid.sqlite"
PATIENCE = 30.0
"""Timeout in seconds for other writers."""
SCHEMA_1 = """
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
SCHEMA_2 = """
ALTER TABLE jobs ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
ALTER TABLE results ADD COLUMN created REAL NOT NULL DEFAULT 0;
ALTER TABLE results ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE results ADD COLUMN likeness TEXT NOT NULL DEFAULT '';
ALTER TABLE results ADD COLUMN rating INTEGER NOT NULL DEFAULT 0;
ALTER TABLE results ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE results ADD COLUMN tags TEXT NOT NULL DEFAULT '';
ALTER TABLE results ADD COLUMN words TEXT NOT NULL DEFAULT '';
ALTER TABLE results ADD COLUMN measurement TEXT NOT NULL DEFAULT '';
ALTER TABLE results ADD COLUMN deleted REAL;
CREATE INDEX results_by_time ON results (created);
CREATE INDEX results_by_likeness ON results (likeness);
CREATE TABLE studies (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, created REAL NOT NULL,
    study TEXT NOT NULL
);
"""


def _fill_results(db: Connection) -> None:
    """Fill the columns that version 2 adds to the results of version 1."""
    found = db.execute(
        "SELECT results.number, result, settings, choice, picture, picture_name, COALESCE(finished, jobs.created) "
        "FROM results JOIN jobs ON jobs.id = results.job"
    )
    for number, result, settings, choice, picture, picture_name, created in found.fetchall():
        requested = rows.settings_from_text(settings)
        one = rows.one_video(requested, rows.result_from_text(result).seed)
        likeness = fingerprint.of_video(one, rows.choice_from_text(choice), picture)
        words = rows.searched(picture_name, requested.version, "", ())
        db.execute(
            "UPDATE results SET created = ?, version = ?, likeness = ?, words = ? WHERE number = ?",
            (created, requested.version, likeness, words, number),
        )


def _nothing(db: Connection) -> None:
    pass


VERSIONS: tuple[tuple[str, Callable[[Connection], None]], ...] = ((SCHEMA_1, _nothing), (SCHEMA_2, _fill_results))
"""Migrations: SQL and a function that turn each schema version into the next."""


class Database:
    """SQLite database. Raises StoreError if the disk or the file fails."""

    def __init__(self, path: Path | None = None) -> None:
        """path: the file, created on first use; by default `img2vid.sqlite` in the home."""
        self.path = (paths.home() / FILE_NAME if path is None else path).absolute()
        self.home = self.path.parent
        """Folder with `inputs`, and with `kept` for videos whose own folder could not be written."""
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close idle connections. The database can be used again afterwards."""
        with self._lock:
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    @contextmanager
    def reading(self) -> Generator[Connection, None, None]:
        """Yield a connection that no other thread uses during the block."""
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
            raise StoreError(f"the job database {self.path} cannot be used ({error}); is the disk full?") from error

    @contextmanager
    def writing(self, *, durable: bool = False) -> Generator[Connection, None, None]:
        """Yield a connection in a transaction. A durable one survives a power loss once the block has ended."""
        with self.reading() as db:
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _open(self) -> Connection:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the folder {self.home} cannot be created ({error.strerror}); set IMG2VID_HOME"
            ) from error
        # Transactions are explicit, and each connection is used by one thread at a time.
        db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            self._make_tables(db)
        except BaseException:
            db.close()
            raise
        return db

    def _make_tables(self, db: Connection) -> None:
        if _version(db) < len(VERSIONS):
            # Another process may have migrated the tables before this one gets the write lock.
            db.execute("BEGIN IMMEDIATE")
            try:
                for number, (statements, fill) in enumerate(VERSIONS[_version(db) :], start=_version(db) + 1):
                    for statement in statements.split(";")[:-1]:
                        db.execute(statement)
                    fill(db)
                    db.execute(f"PRAGMA user_version = {number}")
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        if _version(db) > len(VERSIONS):
            raise StoreError(
                f"the job database {self.path} has version {_version(db)}, this program supports {len(VERSIONS)}; "
                "update img2vid or move the file away"
            )


def _version(db: Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
