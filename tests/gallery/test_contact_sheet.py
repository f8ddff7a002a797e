"""Contact sheet: three files with one name, atomic, never overwriting another file."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from made_videos import write_result
from PIL import Image

from img2vid import paths
from img2vid.errors import BadInput, MediaError
from img2vid.gallery import contact_sheet
from img2vid.gallery.contact_sheet import (
    ContactSheet,
    compare_sheet,
    still_bytes,
    sweep_sheet,
    video_bytes,
    write,
    write_video_sheet,
)
from img2vid.gallery.studies import Studies, Study
from img2vid.gallery.sweep_axes import Axis, cells_from_options
from img2vid.inference import EngineChoice
from img2vid.jobs.eta import seconds_left
from img2vid.jobs.job import State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.media.videos import read_frames, read_metadata

PHOTO = (paths.PROJECT / "assets" / "dogs.jpg").read_bytes()
AXES = (Axis("motion_bucket_id", (20, 127)), Axis("seed", (1, 2)))


class Made:
    """Return a sweep of four cells: done, failed, running and waiting."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home / "img2vid.sqlite")
        self.studies = Studies(self.store)
        cells = [(cell, EngineChoice()) for cell in cells_from_options({"height": 64, "width": 64}, AXES)]
        self.study: Study = self.studies.begin(
            JobService(self.store), "sweep", cells, PHOTO, "dogs", ".jpg", None, AXES
        )
        first, second, third, _ = (cell.job for cell in self.study.cells)
        for job_id in (first, second, third):
            self.store.start(job_id)
        self.store.record_result(first, write_result(self.store.job(first), 1))
        self.store.finish(first, State.DONE)
        self.store.finish(second, State.FAILED, "memory ran out")

    def sheet(self) -> ContactSheet:
        return sweep_sheet(self.study, self.studies.jobs(self.study), self.studies.made(self.study))


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "home")


def test_a_sheet_says_what_is_in_the_place_of_a_video(made: Made) -> None:
    sheet = made.sheet()
    assert (sheet.rows, sheet.columns) == (["seed 1", "seed 2"], ["motion bucket id 20", "motion bucket id 127"])
    assert sheet.reasons() == ["", "failed: memory ran out", "being made", "waiting"]
    cells = sheet.clips()
    assert [len(line) for line in cells] == [2, 2]
    assert cells[0][1] == "failed: memory ran out"
    rows = list(csv.DictReader(io.StringIO(sheet.table().removeprefix("\ufeff"))))
    assert [(row["motion_bucket_id"], row["seed"], row["state"]) for row in rows] == [
        ("20", "1", "done"),
        ("127", "1", "failed"),
        ("20", "2", "being made"),
        ("127", "2", "waiting"),
    ]


def test_files_have_one_name_and_none_is_replaced(made: Made, tmp_path: Path) -> None:
    sheet = made.sheet()
    path = tmp_path / "out" / "dogs.mp4"
    first = write(path, made.study, sheet, sheet.clips())
    before = {file: file.read_bytes() for file in first.values()}
    second = write(path, made.study, sheet, sheet.clips())
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(
        f"dogs{number}{suffix}" for number in ("", "_2") for suffix in (".mp4", ".png", ".csv")
    )
    assert {suffix: file.name for suffix, file in second.items()}[".csv"] == "dogs_2.csv"
    assert all(file.read_bytes() == data for file, data in before.items())
    assert first[".csv"].read_bytes().startswith(b"\xef\xbb\xbfmotion_bucket_id,seed,state")
    metadata = read_metadata(first[".mp4"])
    assert metadata["axes"] == [{"name": "motion_bucket_id", "values": [20, 127]}, {"name": "seed", "values": [1, 2]}]
    assert [cell["seed"] for cell in metadata["cells"]] == [1, 1, 2, 2]
    with Image.open(first[".png"]) as still:
        assert still.size == read_frames(first[".mp4"]).shape[2:0:-1]


def test_a_table_that_is_there_alone_is_not_replaced(made: Made, tmp_path: Path) -> None:
    (tmp_path / "dogs.csv").write_text("mine", encoding="utf-8")
    files = write(tmp_path / "dogs.mp4", made.study, made.sheet(), made.sheet().clips())
    assert files[".mp4"].name == "dogs_2.mp4"
    assert (tmp_path / "dogs.csv").read_text(encoding="utf-8") == "mine"


def test_all_files_are_there_or_none(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "out"
    monkeypatch.setattr(contact_sheet, "whole_file", full)
    with pytest.raises(MediaError, match="No space left"):
        write(folder / "dogs.mp4", made.study, made.sheet(), made.sheet().clips())
    assert list(folder.iterdir()) == []


def test_a_compare_is_a_row_or_a_wipe(made: Made) -> None:
    (entry, *_), (job, *_) = made.studies.made(made.study), made.studies.jobs(made.study)
    sheet = compare_sheet(["svd", "svd_xt"], [job, job], [entry, entry])
    row, rate = write_video_sheet(sheet, sheet.clips())
    assert rate == 6 and row.shape[2] > 2 * row.shape[1] / 2
    wiped, rate = write_video_sheet(sheet, sheet.clips(), wipe=True)
    assert rate == 24 and len(wiped) == 4 * len(row)
    half = compare_sheet(["svd", "svd_xt"], [job, None], [entry, None])
    alone, rate = write_video_sheet(half, half.clips(), wipe=True)  # a wipe needs two clips
    assert rate == 6 and len(alone) == len(row)
    assert half.reasons() == ["", "removed"]


def test_downloads_are_whole_files(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "sheet.mp4"
    path.write_bytes(video_bytes(made.study, made.sheet()))
    assert read_metadata(path)["picture"] == "dogs"
    with Image.open(io.BytesIO(still_bytes(made.sheet()))) as still:
        assert np.asarray(still.convert("RGB")).shape == read_frames(path).shape[1:]


def test_a_grid_that_cannot_hold_its_cells_is_refused(made: Made) -> None:
    with pytest.raises(BadInput, match="a grid of 2 x 1 cannot hold 4 videos"):
        compare_sheet(["a", "b"], made.sheet().jobs, made.sheet().made)


def test_the_time_left_is_that_of_what_runs_and_waits(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [job for job in made.studies.jobs(made.study) if job is not None]
    assert seconds_left(made.store, jobs) is None  # no estimate without earlier videos
    monkeypatch.setattr(Store, "expected_seconds", lambda *arguments: 10.0)
    assert seconds_left(made.store, jobs) == 20.0
    assert seconds_left(made.store, jobs, workers=2) == 10.0
    assert seconds_left(made.store, jobs[:2]) == 0.0
    # Jobs ahead of the last one in the queue count too.
    other = made.store.add(jobs[0].settings, EngineChoice(), PHOTO, "other", ".jpg")
    assert seconds_left(made.store, jobs) == 20.0
    made.store.move(other.id, 0)
    assert seconds_left(made.store, jobs) == 30.0
