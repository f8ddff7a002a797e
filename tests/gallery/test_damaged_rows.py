"""Rows with any contents: those that cannot be read are left out and named, and all others are shown."""

import gzip
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from gallery_entries import add_entry
from hypothesis import given, settings
from hypothesis import strategies as st

from img2vid.errors import BadInput, UnreadableRow
from img2vid.gallery.entries import Entries, Filter
from img2vid.gallery.studies import Studies
from img2vid.gallery.trash import Trash
from img2vid.jobs.job import ModelStatus, State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.progress import Event
from img2vid.settings import SampleSettings

DATA = Path(__file__).parents[1] / "data" / "inputs" / "store"
CHOICE = LoadOptions()
HIDING = ("id", "job", "deleted", "imported")
"""Columns that decide to what a row belongs; another value moves a row out of a list without an error."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with rows of every kind, of which each test damages a copy."""
    store = Store(tmp_path_factory.mktemp("filled") / "img2vid.sqlite")
    for seed in (1, 2):
        add_entry(store, store.home, f"dogs_{seed}", seed)
    service = JobService(store)
    service.submit([(SampleSettings(num_frames=3), CHOICE)], _picture(), "own", ".png")
    store.start(store.queue()[0].id, "worker")
    store.record_result(store.jobs()[0].id, Entries(store).find()[0].result)
    store.record_progress(store.jobs()[0].id, Event("sample", 1, 2, 1.0, 1.0, 1.0, memory=1, preview=b"GIF"))
    wanted = [(SampleSettings(seed=seed), CHOICE) for seed in (5, 6)]
    Studies(store).begin(service, "compare", wanted, _picture(), "own", ".png")
    store.record_model("worker", ModelStatus("ready", "svd_tiny"))
    store.request_model("svd_tiny", CHOICE)
    store.write_note("desk", {"status": None, "workers": [], "scheduler": None})
    store.close()
    return store


def _picture() -> bytes:
    return (Path(__file__).parents[2] / "assets" / "dandelion.jpg").read_bytes()


@pytest.fixture
def damaged(filled: Store, tmp_path: Path) -> Iterator[Store]:
    store = copy(filled, tmp_path / "img2vid.sqlite")
    yield store
    store.close()


def copy(store: Store, path: Path) -> Store:
    with closing(sqlite3.connect(store.path)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
    return Store(path)


def columns(store: Store) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(store.path)) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [(table, row[1]) for table in tables for row in db.execute(f"PRAGMA table_info({table})")]


def set_value(store: Store, table: str, column: str, value: Any, which: str = "rowid = 1") -> None:
    """Store any value, as a damaged disk or another program would; constraints do not apply."""
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = REPLACE(sql, 'NOT NULL', '') WHERE sql != ''")
        db.commit()
        db.execute("PRAGMA writable_schema = RESET")
    with closing(sqlite3.connect(store.path)) as db:
        db.execute(f"UPDATE OR IGNORE {table} SET {column} = {value if isinstance(value, str) else '?'} WHERE {which}",
                   [] if isinstance(value, str) else [value])  # fmt: skip
        db.commit()


def read_everything(store: Store) -> tuple[list[int], list[str]]:
    """Read as the pages and the service do; return the numbers of the entries and the ids of the jobs."""
    entries, studies = Entries(store), Studies(store)
    found = entries.find(limit=-1)
    for entry in found:
        assert entries.entry(entry.number) == entry
        time.localtime(entry.created)
        assert entry.settings.num_frames >= 1
        str(entry.result.video).encode()
    for wanted in (
        Filter(text="dogs"),
        Filter(deleted=True),
        Filter(least_rating=1, tags=("a",), since=date(2020, 1, 1)),
    ):
        entries.find(wanted)
        assert entries.count(wanted) >= 0
    entries.versions()
    entries.tags()
    jobs = store.jobs(limit=500)
    for job in [*jobs, *store.queue()]:
        assert store.job(job.id) == job
        store.progress(job.id)
        store.expected_seconds(job.settings, job.options)
        time.localtime(job.created)
    for study in studies.studies("compare"):
        studies.cells(study)
    store.model()
    store.model_request()
    store.to_cancel()
    store.note("desk")
    service = JobService(store)
    service.status()
    service.workers()
    service.is_remote()
    Trash(store).remove_expired()
    store.recover()
    store.drop_models()
    assert store.jobs(states=[State.RUNNING]) == []
    return [entry.number for entry in found], [job.id for job in jobs]


@pytest.mark.parametrize("name", ["badsettings", "badstate"])
def test_a_recorded_store_with_an_unreadable_row_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "img2vid.sqlite"
    path.write_bytes(gzip.decompress((DATA / f"{name}.sqlite.gz").read_bytes()))
    store = Store(path)
    other = add_entry(store, tmp_path)
    assert Entries(store).find() == [other]
    assert store.jobs(states=[State.DONE]) == [other.job]
    assert "video 1" in store.unreadable
    with pytest.raises(UnreadableRow, match=r"video 1 cannot be read .*`img2vid recover`"):
        Entries(store).entry(1)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("jobs", "settings", "'{oops'"),
        ("jobs", "settings", "'[]'"),
        ("jobs", "settings", "NULL"),
        ("jobs", "settings", """'{"version": "\\ud800"}'"""),
        ("jobs", "settings", """'{"sampler": "FutureSampler"}'"""),
        ("jobs", "settings", "'" + "[" * 100_000 + "'"),
        ("jobs", "state", "'sleeping'"),
        ("jobs", "created", "1e300"),
        ("jobs", "created", "-9e999"),
        ("jobs", "picture_name", "CAST(x'ff00fe' AS TEXT)"),
        ("jobs", "choice", """'{"device": 5}'"""),
        ("results", "result", "'null'"),
        ("results", "result", "x'00ff'"),
        ("results", "created", "'yesterday'"),
        ("results", "rating", "'many'"),
        ("results", "job", "'gone'"),
    ],
)
def test_an_unreadable_row_is_named_and_the_others_are_shown(
    damaged: Store, table: str, column: str, value: str
) -> None:
    before, _ = read_everything(damaged)
    set_value(damaged, table, column, value)
    now, _ = read_everything(damaged)
    assert now == [number for number in before if number != 1]
    assert "video 1" in damaged.unreadable


@pytest.mark.parametrize("value", ["'{oops'", "x'ff'", "NULL", "'[1]'", "1e300"])
def test_an_unreadable_measurement_is_measured_again(damaged: Store, value: str) -> None:
    set_value(damaged, "results", "measurement", value)
    entry = Entries(damaged).entry(1)
    assert entry.measurement is None
    assert Entries(damaged).measured(entry).measurement is not None
    assert damaged.unreadable == {}


def test_a_waiting_job_that_cannot_be_read_fails_and_says_why(damaged: Store) -> None:
    first, second = damaged.queue()
    set_value(damaged, "jobs", "settings", """'{"num_steps": 1000000000}'""", f"id = '{first.id}'")
    damaged.recover()
    assert damaged.queue() == [second]
    failed = damaged.job(first.id)
    assert failed.state is State.FAILED
    assert "steps must be a whole number from 1 to 1000, got 1000000000" in failed.error


def test_deleting_an_unreadable_video_is_refused(damaged: Store) -> None:
    set_value(damaged, "results", "result", "'{}'")
    with pytest.raises(BadInput, match="video 1 cannot be read"):
        Trash(damaged).put([1])


VALUES = st.one_of(
    st.sampled_from(
        ["NULL", "CAST(x'fffe' AS TEXT)", "9e999", "-9e999", "1e300", "-1", "''", "'{}'", "'[]'", "'null'"]
    ),
    st.binary(max_size=20),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace")),
)


@settings(max_examples=50)
@given(data=st.data())
def test_any_value_in_any_column_is_survived(filled: Store, tmp_path_factory: Any, data: st.DataObject) -> None:
    store = copy(filled, tmp_path_factory.mktemp("copy") / "img2vid.sqlite")
    table, column = data.draw(st.sampled_from([found for found in columns(filled) if found[1] != "number"]))
    set_value(store, table, column, data.draw(VALUES), data.draw(st.sampled_from(["rowid = 1", "TRUE"])))
    numbers, _ = read_everything(store)
    if column not in HIDING:
        assert {f"video {number}" for number in (1, 2, 3)} <= {
            f"video {number}" for number in numbers
        } | store.unreadable.keys()
    store.close()
