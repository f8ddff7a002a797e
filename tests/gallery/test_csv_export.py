"""CSV rows of measurements, readable by programs and Excel."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_client import PHOTO
from made_videos import write_result

from img2vid.gallery.csv_export import BYTE_ORDER_MARK, as_csv, csv_row
from img2vid.gallery.entries import Entries, Entry
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    store = Store(tmp_path / "home" / "img2vid.sqlite")
    job = store.add(SampleSettings(seed=4, height=64, width=64), LoadOptions(), PHOTO.read_bytes(), "photo", ".jpg")
    store.start(job.id)
    store.record_result(job.id, write_result(job, 4))
    (found,) = Entries(store).find_by_job(job.id)
    return found


def test_a_row_has_labels_measurements_and_settings(entry: Entry, tmp_path: Path) -> None:
    measured = Entries(Store(tmp_path / "home" / "img2vid.sqlite")).measured(entry)
    assert measured.measurement is not None
    found = csv_row({"seed": 4}, measured)
    assert list(found)[:3] == ["seed", "state", "seconds (s)"]
    assert (found["seed"], found["state"], found["seconds (s)"]) == (4, "done", 12.0)
    assert found["motion (pixels per frame)"] == pytest.approx(measured.measurement.mean_motion, rel=1e-5)
    assert found["contrast drift (%)"] == pytest.approx(100 * measured.measurement.contrast_drift, rel=1e-5)
    assert found["video"] == str(entry.result.video)
    assert {*SampleSettings.model_fields} - {"num_samples"} <= {*found}
    assert found["peak memory (MB)"] is None


def test_what_was_not_measured_is_left_empty(entry: Entry) -> None:
    found = csv_row({"column": "svd"}, entry)
    assert found["motion (pixels per frame)"] is None
    assert csv_row({"column": "svd"}, None, "failed") == {"column": "svd", "state": "failed"}


def test_a_csv_has_all_names_whatever_the_rows_lack() -> None:
    text = as_csv([{"a": 1, "state": "failed"}, {"a": None, "state": "done", "b (s)": 0.5, "c": True}])
    assert text == f"{BYTE_ORDER_MARK}a,state,b (s),c\r\n1,failed,,\r\n,done,0.5,true\r\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_a_text_that_a_spreadsheet_would_compute_stays_a_text(text: str) -> None:
    assert as_csv([{"a": text}]).splitlines()[1].strip('"') == f"'{text}"


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5))
def test_what_is_written_is_what_is_read(texts: list[str]) -> None:
    rows = [{"name": f"x{text}", "number": index} for index, text in enumerate(texts)]
    read = list(csv.DictReader(io.StringIO(as_csv(rows).removeprefix(BYTE_ORDER_MARK), newline="")))
    assert read == [{"name": one["name"], "number": str(one["number"])} for one in rows]
