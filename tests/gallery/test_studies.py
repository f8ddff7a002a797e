"""Studies: reuse of videos, new jobs for missing ones, and storage."""

from pathlib import Path

import pytest
from made_videos import write_result

from img2vid import paths
from img2vid.errors import BadInput
from img2vid.gallery.entries import Entries, Entry
from img2vid.gallery.studies import Outlook, Studies, Study, Wanted, active_jobs
from img2vid.gallery.sweep_axes import Axis
from img2vid.jobs.estimate import Timing
from img2vid.jobs.job import Job, State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings

CHOICE = LoadOptions()
PHOTO = (paths.PROJECT / "assets" / "dogs.jpg").read_bytes()
ENGINE = {"provider": "native", "device": "cpu", "precision": "fp32"}


def wanted(*seeds: int, **settings: object) -> list[Wanted]:
    return [(SampleSettings(**{"width": 64, "height": 64, "seed": seed, **settings}), CHOICE) for seed in seeds]


class StudyFixture:
    """Store with a service that is not started; the test finishes jobs itself."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home / "img2vid.sqlite")
        self.service = JobService(self.store)
        self.studies = Studies(self.store)

    def begin(self, cells: list[Wanted]) -> Study:
        return self.studies.begin(self.service, "sweep", cells, PHOTO, "dogs", ".jpg")

    def make(self, job_id: str) -> None:
        job = self.store.job(job_id)
        assert self.store.start(job_id)
        for index in range(job.settings.num_samples):
            self.store.record_result(job_id, write_result(job, job.settings.seed + index))
        self.store.finish(job_id, State.DONE)

    def made(self, study: Study) -> list[Entry | None]:
        return [cell.entry for cell in self.studies.cells(study)]

    def queue(self) -> list[Job]:
        return self.store.queue()


@pytest.fixture
def fixture(tmp_path: Path) -> StudyFixture:
    return StudyFixture(tmp_path / "home")


def seeds(study: Study) -> list[int]:
    return [cell.settings.seed for cell in study.cells]


def test_a_study_queues_its_cells_in_order_and_shows_them_as_they_are_made(fixture: StudyFixture) -> None:
    axes = (Axis("seed", (3, 1, 2)),)
    cells = wanted(3, 1, 2)
    study = fixture.studies.begin(fixture.service, "compare", cells, PHOTO, "dogs", ".jpg", axes=axes)
    assert (study.kind, study.axes, study.picture_name, seeds(study)) == ("compare", axes, "dogs", [3, 1, 2])
    assert study.picture.read_bytes() == PHOTO
    assert [job.settings.seed for job in fixture.queue()] == [3, 1, 2]
    assert [cell.reused for cell in study.cells] == [False] * 3
    assert fixture.made(study) == [None] * 3
    fixture.make(study.cells[1].job)
    assert [entry and entry.settings.seed for entry in fixture.made(study)] == [None, 1, None]
    cells = fixture.studies.cells(study)
    assert [cell.job and cell.job.state for cell in cells] == [State.WAITING, State.DONE, State.WAITING]
    assert [cell.is_active for cell in cells] == [True, False, True]
    assert [job.settings.seed for job in active_jobs([*cells, *cells])] == [3, 2]


def test_a_study_is_found_again_as_it_was(fixture: StudyFixture) -> None:
    assert fixture.studies.studies("sweep") == []
    cells = wanted(1, guider="VanillaCFG", scale=3.5, saving_fps=12.0)
    axes = (Axis("scale", (3.5,)), Axis("version", ("svd_tiny",)))
    study = fixture.studies.begin(fixture.service, "sweep", cells, PHOTO, "dogs", ".jpg", axes=axes)
    other = fixture.studies.begin(fixture.service, "compare", wanted(2), PHOTO, "dogs", ".jpg")
    fixture.store.close()
    studies = Studies(Store(fixture.store.path))
    assert [studies.study(study.id)] == studies.studies("sweep") == [study]
    assert studies.studies("compare") == [other]
    later = fixture.begin(wanted(9))
    assert studies.studies("sweep") == [later, study]
    with pytest.raises(BadInput, match="there is no study 'none' in"):
        studies.study("none")


def test_what_is_there_is_not_made_again(fixture: StudyFixture) -> None:
    first = fixture.begin(wanted(1, 2, 3))
    for cell in first.cells:
        fixture.make(cell.job)
    second = fixture.begin(wanted(1, 2, 3))
    assert [cell.reused for cell in second.cells] == [True] * 3
    assert fixture.queue() == []
    assert fixture.made(second) == fixture.made(first)
    third = fixture.begin(wanted(3, 4))
    assert [cell.reused for cell in third.cells] == [True, False]
    assert [job.settings.seed for job in fixture.queue()] == [4]


def test_what_is_being_made_is_waited_for(fixture: StudyFixture) -> None:
    first = fixture.begin(wanted(1, 2))
    assert fixture.store.start(first.cells[0].job)
    second = fixture.begin(wanted(2, 1, 3))
    assert [cell.job for cell in second.cells[:2]] == [first.cells[1].job, first.cells[0].job]
    assert [cell.reused for cell in second.cells] == [True, True, False]
    assert len(fixture.queue()) == 2


def test_equal_cells_share_a_job(fixture: StudyFixture) -> None:
    """The scale of another guider is unused, so both cells share a video."""
    cells = wanted(1, scale=2.0) + wanted(1, scale=3.0)
    study = fixture.begin(cells)
    assert len(fixture.queue()) == 1
    assert [cell.job for cell in study.cells] == [fixture.queue()[0].id] * 2
    assert [cell.settings.scale for cell in study.cells] == [2.0, 3.0]


def test_one_video_of_a_job_of_several_is_found(fixture: StudyFixture) -> None:
    job = fixture.store.add(wanted(5, num_samples=3)[0][0], CHOICE, PHOTO, "dogs", ".jpg")
    fixture.make(job.id)
    study = fixture.begin(wanted(7, 6))
    assert [cell.reused for cell in study.cells] == [True, True]
    assert [entry and entry.result.seed for entry in fixture.made(study)] == [7, 6]


def test_a_waiting_job_of_several_videos_is_not_waited_for(fixture: StudyFixture) -> None:
    fixture.store.add(wanted(5, num_samples=3)[0][0], CHOICE, PHOTO, "dogs", ".jpg")
    assert [cell.reused for cell in fixture.begin(wanted(5)).cells] == [False]


def test_where_one_cell_is_refused_nothing_is_queued(fixture: StudyFixture) -> None:
    with pytest.raises(BadInput, match="width must be a multiple of 16"):
        fixture.begin(wanted(1) + wanted(2, width=70))
    with pytest.raises(BadInput, match="there is nothing to make"):
        fixture.begin([])
    assert (fixture.queue(), fixture.studies.studies("sweep")) == ([], [])


def test_what_failed_or_is_gone_runs_again(fixture: StudyFixture) -> None:
    study = fixture.begin(wanted(1, 2, 3, 4))
    one, two, three, four = (cell.job for cell in study.cells)
    fixture.make(one)
    assert fixture.store.start(two)
    fixture.store.finish(two, State.FAILED, "memory ran out")
    fixture.make(three)
    made = fixture.made(study)
    assert made[2] is not None
    made[2].result.video.unlink()
    again = fixture.studies.rerun(fixture.service, study)
    assert (again.id, again.cells[0], again.cells[3]) == (study.id, study.cells[0], study.cells[3])
    assert {again.cells[1].job, again.cells[2].job}.isdisjoint({one, two, three, four})
    assert sorted(job.settings.seed for job in fixture.queue()) == [2, 3, 4]
    assert fixture.studies.study(study.id) == again
    assert fixture.studies.rerun(fixture.service, again) == again


def test_a_study_outlives_its_videos(fixture: StudyFixture) -> None:
    study = fixture.begin(wanted(1, 2))
    fixture.make(study.cells[0].job)
    entries = Entries(fixture.store)
    entries.remove([entry.number for entry in entries.find()])
    assert fixture.studies.cells(study)[0].job is None
    assert fixture.made(study) == [None, None]
    again = fixture.studies.rerun(fixture.service, study)
    assert again.cells[0].job != study.cells[0].job


def test_the_outlook_counts_what_is_there_and_adds_up_the_rest(fixture: StudyFixture) -> None:
    study = fixture.begin(wanted(1, 2))
    fixture.make(study.cells[0].job)
    picture = study.picture.name
    assert fixture.studies.outlook(wanted(1, 2), picture) == Outlook(2, 0, 0)
    assert fixture.studies.outlook(wanted(1, 2, 3, 4), picture) == Outlook(2, 2, None)
    for seconds in (10, 10):
        fixture.store.record_timing("svd_tiny", ENGINE, Timing.of(wanted(1)[0][0], seconds, decoding=0, whole=seconds))
    found = fixture.studies.outlook(wanted(1, 2, 3, 4, 4), picture)
    assert (found.reused, found.to_make) == (2, 2)
    assert found.seconds == pytest.approx(20)
    assert fixture.studies.outlook(wanted(1), "another.png").reused == 0
