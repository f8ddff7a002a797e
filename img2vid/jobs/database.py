"""The SQLite file of a home: its tables, and connections to it. Any number of threads and processes may use it at once.

SQL is spoken here and in `store`, `entries` and `studies`, which stand on this, and nowhere else.
"""

import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from img2vid import paths
from img2vid.errors import StoreError
from img2vid.jobs import job as rows

Connection = sqlite3.Connection

FILE_NAME = "img2vid.sqlite"
PATIENCE = 30.0
"""Seconds to wait for others who write."""
FIRST = """
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
SECOND = """
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


def _fill(db: Connection) -> None:
    """Gives the results of a store of the first version what those of the second have from the start."""
    found = db.execute(
        "SELECT results.number, result, settings, choice, picture, picture_name, COALESCE(finished, jobs.created) "
        "FROM results JOIN jobs ON jobs.id = results.job"
    )
    for number, result, settings, choice, picture, picture_name, created in found.fetchall():
        asked = rows.settings_from_text(settings)
        one = rows.one_video(asked, rows.result_from_text(result).seed)
        likeness = rows.likeness(one, rows.choice_from_text(choice), picture)
        words = rows.searched(picture_name, asked.version, "", ())
        db.execute(
            "UPDATE results SET created = ?, version = ?, likeness = ?, words = ? WHERE number = ?",
            (created, asked.version, likeness, words, number),
        )


def _nothing(db: Connection) -> None:
    pass


VERSIONS: tuple[tuple[str, Callable[[Connection], None]], ...] = ((FIRST, _nothing), (SECOND, _fill))
"""What makes each version of the tables of the one before it."""


class Database:
    """Errors of the disk or the file are StoreError."""

    def __init__(self, path: Path | None = None) -> None:
        """path: the file, made at the first use; by default `img2vid.sqlite` in the home."""
        self.path = (paths.home() / FILE_NAME if path is None else path).absolute()
        self.home = self.path.parent
        """Inputs lie here in `inputs`, and videos in `kept` where their own folder could not take them."""
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the connections that nobody uses; the database can be used again afterwards."""
        with self._lock:
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    @contextmanager
    def reading(self) -> Generator[Connection, None, None]:
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
    def writing(self, *, durable: bool = False) -> Generator[Connection, None, None]:
        """A transaction, whole or not at all; a durable one is on the disk when the block ends, power cut or not."""
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

    def _make_tables(self, db: Connection) -> None:
        if _version(db) < len(VERSIONS):
            # Whoever comes second finds the tables made when its turn to write has come.
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
                f"the store of jobs {self.path} is of version {_version(db)}, this program knows {len(VERSIONS)}; "
                "update img2vid, or move the file away"
            )


def _version(db: Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
