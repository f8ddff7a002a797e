"""Contact sheet: three files with one name, atomic, never overwriting another file."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_videos import write_result
from PIL import Image

from img2vid import paths
from img2vid.errors import MediaError
from img2vid.gallery import contact_sheet
from img2vid.gallery.contact_sheet import ContactSheet
from img2vid.gallery.studies import Studies, Study
from img2vid.gallery.sweep_axes import Axis, cell_names, cells_from_options
from img2vid.jobs.eta import seconds_left
from img2vid.jobs.job import State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.media.composites import Align
from img2vid.media.videos import read_frames, read_metadata
from img2vid.options import LoadOptions

PHOTO = (paths.PROJECT / "assets" / "dogs.jpg").read_bytes()
AXES = (Axis("motion_bucket_id", (20, 127)), Axis("seed", (1, 2)))


class Made:
    """Return a sweep of four cells: done, failed, running and waiting."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home / "img2vid.sqlite")
        self.studies = Studies(self.store)
        cells = [(cell, LoadOptions()) for cell in cells_from_options({"height": 64, "width": 64}, AXES)]
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
        return ContactSheet(self.study, self.studies.cells(self.study), cell_names(AXES))

    def comparison(self, *seeds: int) -> ContactSheet:
        """Return a finished comparison of new seeds."""
        wanted = [(self.study.cells[0].settings.model_copy(update={"seed": seed}), LoadOptions()) for seed in seeds]
        study = self.studies.begin(JobService(self.store), "compare", wanted, PHOTO, "dogs", ".jpg")
        for cell in study.cells:
            self.store.start(cell.job)
            self.store.record_result(cell.job, write_result(self.store.job(cell.job), cell.settings.seed))
            self.store.finish(cell.job, State.DONE)
        return ContactSheet(study, self.studies.cells(study), [f"seed {seed}" for seed in seeds])


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "home")


def test_a_sheet_says_what_is_in_the_place_of_a_video(made: Made) -> None:
    sheet = made.sheet()
    assert (sheet.rows, sheet.columns) == (["seed 1", "seed 2"], ["motion bucket id 20", "motion bucket id 127"])
    assert [cell.reason for cell in sheet.cells] == ["done", "failed: memory ran out", "being made", "waiting"]
    assert sheet.names[1] == "motion bucket id 127, seed 1"
    assert [name for name, _ in sheet.made] == ["motion bucket id 20, seed 1"]
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
    first = sheet.write(path)
    before = {file: file.read_bytes() for file in first.values()}
    second = sheet.write(path)
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
    files = made.sheet().write(tmp_path / "dogs.mp4")
    assert files[".mp4"].name == "dogs_2.mp4"
    assert (tmp_path / "dogs.csv").read_text(encoding="utf-8") == "mine"


def test_all_files_are_there_or_none(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "out"
    monkeypatch.setattr(contact_sheet, "whole_file", full)
    with pytest.raises(MediaError, match="the disk is full"):
        made.sheet().write(folder / "dogs.mp4")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("align", ["time", "stretch"])
def test_a_comparison_is_a_row_or_a_wipe_with_all_settings(made: Made, tmp_path: Path, align: Align) -> None:
    sheet = made.comparison(8, 9)
    clips = [read_frames(entry.result.video) for _, entry in sheet.made]
    row = replace(sheet, align=align).write(tmp_path / "row.mp4")[".mp4"]
    frames = read_frames(row)
    assert len(frames) == len(clips[0]) == len(clips[1])
    # The clips have one color each, so the middle of each half has the color of its clip.
    half = frames.shape[2] // 2
    for shown, clip in ((frames[2][:, :half], clips[0]), (frames[2][:, half:], clips[1])):
        middle = shown[2 * shown.shape[0] // 3, shown.shape[1] // 2].astype(int)
        assert np.abs(middle - clip[2].mean(axis=(0, 1))).max() < 8
    metadata = read_metadata(row)
    assert (metadata["form"], metadata["align"]) == ("side by side", align)
    assert [(video["label"], video["settings"]["seed"]) for video in metadata["videos"]] == [
        ("seed 8", 8),
        ("seed 9", 9),
    ]
    wiped = tmp_path / "wipe.mp4"
    wiped.write_bytes(replace(sheet, align=align, wipe=True).video())
    assert len(read_frames(wiped)) == 4 * len(frames)  # at 6 frames per second the edge would jump
    assert read_metadata(wiped)["form"] == "wipe"
    sheet.made[1][1].result.video.unlink()
    alone = ContactSheet(sheet.study, made.studies.cells(sheet.study), sheet.names, align, wipe=True)
    wiped.write_bytes(alone.video())  # a wipe needs two clips
    assert len(read_frames(wiped)) == len(frames) and read_metadata(wiped)["form"] == "side by side"
    assert [cell.reason for cell in alone.cells] == ["done", "its file is gone or damaged"]
    lines = alone.table().splitlines()
    assert lines[0].startswith("\ufeffcolumn,state,") and lines[2].startswith("seed 9,its file is gone or damaged,")


def test_a_damaged_video_does_not_affect_the_other_columns(made: Made, tmp_path: Path) -> None:
    """Regression: one damaged file ended a comparison after all its videos were made."""
    for measured_before in (False, True):
        sheet = made.comparison(21 + measured_before, 31 + measured_before)
        if measured_before:
            sheet = replace(sheet, cells=[made.studies.measured(cell) for cell in sheet.study.cells])
        damaged = sheet.cells[0].entry
        assert damaged is not None
        damaged.result.video.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(64))
        if not measured_before:
            sheet = replace(sheet, cells=[made.studies.measured(cell) for cell in sheet.study.cells])
            assert [cell.reason for cell in sheet.cells] == ["its file is gone or damaged", "done"]
        files = sheet.write(tmp_path / "out" / "sheet.mp4")
        assert len(read_frames(files[".mp4"])) > 1


def test_downloads_are_whole_files(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "sheet.mp4"
    path.write_bytes(made.sheet().video())
    assert read_metadata(path)["picture"] == "dogs"
    with Image.open(io.BytesIO(made.sheet().still())) as still:
        assert np.asarray(still.convert("RGB")).shape == read_frames(path).shape[1:]


def test_the_time_left_is_that_of_what_runs_and_waits(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [made.store.job(cell.job) for cell in made.study.cells]
    assert seconds_left(made.store, jobs) is None  # no estimate without earlier videos
    monkeypatch.setattr(Store, "expected_seconds", lambda *arguments: 10.0)
    assert seconds_left(made.store, jobs) == 20.0
    assert seconds_left(made.store, jobs, workers=2) == 10.0
    assert seconds_left(made.store, jobs[:2]) == 0.0
    # Jobs ahead of the last one in the queue count too.
    other = made.store.add(jobs[0].settings, LoadOptions(), PHOTO, "other", ".jpg")
    assert seconds_left(made.store, jobs) == 20.0
    made.store.move(other.id, 0)
    assert seconds_left(made.store, jobs) == 30.0
