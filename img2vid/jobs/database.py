"""SQLite database of a home: its tables, migrations and connections. Safe for many threads and processes at once.

SQL is used only here and in `store`, `entries` and `studies`, which build on this module.
"""

import shutil
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from img2vid import paths
from img2vid.errors import BadInput, DamagedStore, Img2VidError, StoreError, UnreadableRow, shown
from img2vid.files import remove, replace
from img2vid.jobs import fingerprint
from img2vid.jobs import job as rows

Connection = sqlite3.Connection
T = TypeVar("T")
D = TypeVar("D", bound="Database")

FILE_NAME = "img2vid.sqlite"
REBUILD = "rebuild it with `img2vid recover` or on the System page"
ADVICE = {
    "locked": "it is in use by another program, so try again when that has finished",
    "readonly": "it is read-only, so make the file and its folder writable or set IMG2VID_HOME",
    "unable to open": "check the folder's permissions or set IMG2VID_HOME",
    "disk is full": "free some space on the disk",
    "disk I/O": "the disk is full or failing, or the file was damaged",
}
"""Remedies by SQLite's message, as Python 3.10 has no error codes; all other errors mean a damaged file."""
PATIENCE = 30.0
"""Timeout in seconds for other writers."""
MOST_LOST = 30_000
"""Number of rows that are searched one by one after a damaged page."""
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
SCHEMA_3 = "ALTER TABLE jobs ADD COLUMN continues TEXT NOT NULL DEFAULT '';"
SCHEMA_4 = """
ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'video';
ALTER TABLE jobs ADD COLUMN image TEXT NOT NULL DEFAULT '';
CREATE TABLE pictures (
    number INTEGER PRIMARY KEY, job TEXT NOT NULL REFERENCES jobs (id), file TEXT NOT NULL, likeness TEXT NOT NULL,
    created REAL NOT NULL
);
CREATE INDEX pictures_by_job ON pictures (job);
CREATE INDEX pictures_by_likeness ON pictures (likeness);
"""


_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""Errors of functions that read a damaged row."""


def _fill_results(db: Connection) -> None:
    """Fill the columns that version 2 adds to the results of version 1."""
    found = db.execute(
        "SELECT results.number, result, settings, choice, picture, picture_name, COALESCE(finished, jobs.created) "
        "FROM results JOIN jobs ON jobs.id = results.job"
    )
    for number, result, settings, options, picture, picture_name, created in found.fetchall():
        try:
            requested = rows.settings_from_text(settings)
            one = rows.one_video(requested, rows.result_from_text(result).seed)
            likeness = fingerprint.of_video(one, rows.options_from_text(options), picture)
            words = rows.searched(picture_name, requested.version, "", ())
        except _UNREADABLE:  # readers of the row report it
            continue
        db.execute(
            "UPDATE results SET created = ?, version = ?, likeness = ?, words = ? WHERE number = ?",
            (created, requested.version, likeness, words, number),
        )


def _nothing(db: Connection) -> None:
    pass


VERSIONS: tuple[tuple[str, Callable[[Connection], None]], ...] = (
    *((SCHEMA_1, _nothing), (SCHEMA_2, _fill_results), (SCHEMA_3, _nothing), (SCHEMA_4, _nothing)),
)
"""Migrations: SQL and a function that turn each schema version into the next."""


class _Connection(sqlite3.Connection):
    file: object = None
    """Identity of the opened file."""


class Database:
    """SQLite database. Raises StoreError if the disk or the file fails, DamagedStore if only a rebuild helps."""

    def __init__(self, path: Path | None = None) -> None:
        """path: the file, created on first use; by default `img2vid.sqlite` in the home."""
        self.path = (paths.home() / FILE_NAME if path is None else path).absolute()
        self.home = self.path.parent
        """Folder with `inputs`, and with `kept` for videos whose own folder could not be written."""
        self.unreadable: dict[str, str] = {}
        """Reasons why rows were left out of what was read, by the row's name."""
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close idle connections. The database can be used again afterwards."""
        with self._lock:
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    @contextmanager
    def reading(self) -> Generator["_Connection", None, None]:
        """Yield a connection that no other thread uses during the block."""
        try:
            db = self._take_idle() or self._open()
            try:
                yield db
            except BaseException:
                db.close()
                raise
            with self._lock:
                self._idle.append(db)
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise _store_error(self.path, error) from error

    @contextmanager
    def writing(self, *, durable: bool = False) -> Generator[Connection, None, None]:
        """Yield a connection in a transaction. A durable one survives a power loss once the block has ended."""
        with self.reading() as db:
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                if db.file != self._identity():
                    raise StoreError(f"the job database {self.path} was replaced; try again")
                yield db
            except BaseException:
                db.rollback()  # a no-op if SQLite has ended the transaction, as on a full disk
                raise
            db.execute("COMMIT")

    def check(self) -> None:
        """Raise DamagedStore if SQLite finds damage in the file."""
        with self.reading() as db:
            found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise _store_error(self.path, sqlite3.DatabaseError(" ".join(found.split())[:200]))

    @contextmanager
    def rebuilding(self: D) -> Generator[tuple[D, Path | None], None, None]:
        """Yield another database with the rows of this one that can be copied, and the path of a copy of this one.

        At the end of the block it replaces this one. Raise StoreError if another program is writing to this one.
        """
        kept = self._set_aside() if self.path.exists() else None
        part = self.path.with_name(f".{self.path.stem}.rebuilt.sqlite")
        _delete(part)
        other = type(self)(part)
        try:
            with other.writing() as db:
                for table, found in ({} if kept is None else _salvage(kept)).items():
                    _insert(db, table, found)
            yield other, kept
            other.close()
            self._replace_with(part)
        finally:
            other.close()
            _delete(part)
        self.unreadable.clear()

    # Rows

    def read_all(self, kind: str, found: Iterable[Sequence[Any]], read: Callable[..., T]) -> list[T]:
        """Return the result of `read` for each row. Rows that it cannot read are left out and named in `unreadable`."""
        readable: list[T] = []
        for row in found:
            with suppress(UnreadableRow):
                readable.append(self.read_row(kind, row, read))
        return readable

    def read_row(self, kind: str, row: Sequence[Any], read: Callable[..., T]) -> T:
        """Return the result of `read` for the columns after the first. Raise UnreadableRow if it fails.

        The first column identifies the row among those of its kind.
        """
        name = f"{kind} {str(row[0])[:40]}"
        try:
            found = read(*row[1:])
        except _UNREADABLE as error:
            reason = self.unreadable[name] = f"{name} cannot be read ({_reason(error)})"
            raise UnreadableRow(f"{reason}; rebuild the job database with `img2vid recover`") from error
        self.unreadable.pop(name, None)
        return found

    # Files

    def _set_aside(self) -> Path:
        """Copy the files to a dated name, without writers if the file is sound enough to be locked; return the path."""
        stem = self.path.with_name(f"{self.path.stem}.{datetime.now():%Y-%m-%d-%H%M%S-%f}.sqlite")
        with closing(sqlite3.connect(self.path, timeout=1.0, isolation_level=None)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                found = _store_error(self.path, error)
                if not isinstance(found, DamagedStore):
                    raise found from error
            try:
                for suffix in ("-wal", ""):
                    with suppress(FileNotFoundError):
                        shutil.copyfile(f"{self.path}{suffix}", f"{stem}{suffix}")
            except OSError as error:
                raise StoreError(f"the job database cannot be copied to {stem} ({error.strerror})") from error
        return stem

    def _replace_with(self, path: Path) -> None:
        """Replace the contents with those of another database. Open connections, also of others, see the new ones."""
        self.close()
        with closing(sqlite3.connect(path)) as source:
            try:
                with closing(sqlite3.connect(self.path, timeout=PATIENCE)) as target:
                    source.backup(target)
                    return
            except sqlite3.Error as error:
                if not isinstance(found := _store_error(self.path, error), DamagedStore):
                    raise found from error
        try:  # no SQLite database, so no connection can use it
            _delete(self.path)
            replace(path, self.path)
        except OSError as error:
            raise StoreError(f"the job database {self.path} cannot be replaced ({error.strerror})") from error

    def _identity(self) -> object:
        """Return a value that differs between the file and one that takes its place, or None without a file."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _take_idle(self) -> "_Connection | None":
        """Return an idle connection, or None. Those to a file that was deleted or replaced are closed."""
        file = self._identity()
        with self._lock:
            while self._idle:
                db = self._idle.pop()
                if db.file == file:
                    return db
                db.close()
        return None

    def _open(self) -> "_Connection":
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the folder {self.home} cannot be created ({error.strerror}); set IMG2VID_HOME"
            ) from error
        file = self._identity()
        # Transactions are explicit, and each connection is used by one thread at a time.
        options: dict[str, Any] = {"timeout": PATIENCE, "isolation_level": None, "check_same_thread": False}
        db = sqlite3.connect(self.path, factory=_Connection, **options)
        try:
            db.text_factory = _text
            db.execute("PRAGMA journal_mode = WAL")
            self._make_tables(db)
            db.file = file or self._identity()
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
            raise DamagedStore(
                f"the job database {self.path} has version {_version(db)}, this program supports {len(VERSIONS)}; "
                f"update img2vid or {REBUILD}"
            )


def _version(db: Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _delete(path: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        remove(Path(f"{path}{suffix}"))


def _salvage(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a damaged database by table, as far as they can be read."""
    tables: dict[str, list[dict[str, Any]]] = {}
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = _text
        for table in ("jobs", "results", "pictures", "studies", "timings", "notes", "wishes"):
            with suppress(sqlite3.Error):
                columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
                if columns:
                    tables[table] = [dict(zip(columns, row, strict=True)) for row in _salvage_table(db, table)]
    return tables


def _salvage_table(db: Connection, table: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    last = 0
    with suppress(sqlite3.Error):
        for number, *row in db.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid"):
            found.append(tuple(row))
            last = number
        return found
    # A damaged page ends the scan; rows of other pages are found one by one.
    for number in range(last + 1, last + MOST_LOST):
        with suppress(sqlite3.Error):
            found += db.execute(f"SELECT * FROM {table} WHERE rowid = ?", (number,)).fetchall()
    return found


def _insert(db: Connection, table: str, found: Sequence[dict[str, Any]]) -> None:
    """Insert rows with the columns that the table has, except those that violate a constraint."""
    known = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    for row in found:
        names = [name for name in known if name in row]
        query = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})"
        with suppress(sqlite3.Error):
            db.execute(query, [row[name] for name in names])


def _text(data: bytes) -> str | bytes:
    """Decode a text column; damaged text stays bytes, which the readers of rows reject."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _reason(error: Exception) -> str:
    """Return why a row cannot be read, in a few words; pydantic's first lines name the column and the problem."""
    return shown(" ".join(f"{type(error).__name__}: {error}".split("[type=")[0].split()))


def _store_error(path: Path, error: sqlite3.Error | UnicodeEncodeError) -> Img2VidError:
    """Return an error that says what is wrong with the database, or with a text to store, and what to do."""
    if isinstance(error, UnicodeEncodeError):
        return BadInput(f"'{error.object}' is not valid Unicode; enter it again")
    reason = str(error)
    for words, advice in ADVICE.items():
        if words in reason:
            return StoreError(f"the job database {path} cannot be used ({reason}); {advice}")
    return DamagedStore(f"the job database {path} cannot be used ({reason}); it is damaged, so {REBUILD}")
