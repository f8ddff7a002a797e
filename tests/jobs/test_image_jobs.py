"""Jobs for pictures from prompts: store, scheduler with simulated workers, and the model cache."""

import io
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from job_client import CPU, small
from PIL import Image
from test_scheduler import Harness

from img2vid.errors import BadInput, EngineUnavailable
from img2vid.jobs import fingerprint, scheduler
from img2vid.jobs import worker as worker_tasks
from img2vid.jobs.job import Job, ModelStatus, State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.jobs.worker import RenderRequest, RenderResult, Reporter, WorkerRuntime
from img2vid.text_to_image.settings import ImageSettings

IMAGE = ImageSettings(prompt="a lighthouse", seed=5, candidates=3)


def png(color: int) -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", (8, 8), (color, 0, 0)).save(packed, format="PNG")
    return packed.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "img2vid.sqlite")


def add(store: Store, image: ImageSettings = IMAGE) -> Job:
    return store.add_image(image, small(), CPU)


def add_both(store: Store) -> tuple[Job, Job]:
    """Add a job for pictures and one that makes videos of the first."""
    job = add(store)
    return job, store.add_link(job, small(), job.folder)


# Store


def test_a_job_for_pictures_has_their_settings_model_and_seed(store: Store) -> None:
    job = add(store)
    assert (job.kind, job.image, job.model, job.seed, job.count, job.done) == ("image", IMAGE, IMAGE.model, 5, 3, 0)
    assert (job.picture_name, job.pictures, job.settings) == ("a lighthouse", (), small())
    assert store.queue() == [job]


def test_a_database_of_the_version_before_is_migrated(store: Store) -> None:
    video = store.add(small(), CPU, png(1), "photo", ".png")
    store.close()
    with sqlite3.connect(store.path) as db:
        for column in ("kind", "image"):
            db.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        db.execute("DROP TABLE pictures")
        db.execute("PRAGMA user_version = 3")
    assert store.job(video.id) == video
    assert add(store).image == IMAGE


def test_a_damaged_row_is_left_out_and_named(store: Store) -> None:
    job, other = add(store), add(store)
    with store.writing() as db:
        db.execute("UPDATE jobs SET image = ? WHERE id = ?", (json.dumps({"prompt": "", "seed": -1}), job.id))
    assert store.queue() == [other]
    assert [*store.unreadable] == [f"job {job.id}"]
    store.recover()
    with store.reading() as db:
        assert db.execute("SELECT state FROM jobs WHERE id = ?", (job.id,)).fetchone() == (State.FAILED,)


def test_run_again_repeats_both_jobs(store: Store) -> None:
    job, video = add_both(store)
    assert store.start(job.id)
    store.finish(job.id, State.FAILED, "an error")
    again = store.resubmit(job.id)
    assert (again.image, again.settings, again.kind) == (job.image, job.settings, job.kind)
    (other,) = [one for one in store.queue() if one.continues == again.id]
    assert (other.kind, other.image, other.settings, other.folder) == ("video", None, video.settings, video.folder)


def test_pictures_survive_a_rebuild(store: Store) -> None:
    job = add(store)
    store.record_picture(job.id, store.keep_picture(png(1), ".png").name, "likeness")
    expected = store.job(job.id)
    with store.rebuilding():
        pass
    assert store.job(job.id) == expected
    assert store.picture_like("likeness", since=0) == expected.pictures[0].name


# Fingerprints


def test_everything_but_the_number_of_candidates_makes_another_picture() -> None:
    first = fingerprint.of_picture(IMAGE, CPU)
    assert fingerprint.of_picture(IMAGE.model_copy(update={"candidates": 1}), CPU) == first
    others = {
        **{"model": "x", "prompt": "x", "negative_prompt": "x", "seed": 6, "steps": 9, "guidance": 2.0},
        **{"height": 64, "width": 64, "watermark": False},
    }
    assert others.keys() == ImageSettings.model_fields.keys() - {"candidates"}
    made = {fingerprint.of_picture(IMAGE.model_copy(update={name: value}), CPU) for name, value in others.items()}
    assert len(made | {first}) == len(others) + 1


# Scheduler


@pytest.fixture(autouse=True)
def poll_workers_at_each_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "POLL_WORKERS_EVERY", 0.0)


@pytest.fixture
def harness(store: Store) -> Iterator[Harness]:
    harness = Harness(store.home, "one")
    yield harness
    harness.store.close()


def answer(harness: Harness, color: int) -> None:
    harness.finish(RenderResult(picture=png(color)))


def test_candidates_are_made_one_by_one_and_then_the_video(harness: Harness, store: Store) -> None:
    job, video = add_both(store)
    later = store.add(small(), CPU, png(9), "later", ".png")
    harness.tick()
    for index in range(3):
        request = harness.workers.newest().request
        assert request.image == IMAGE.one(index)
        assert request.picture == b""
        answer(harness, index)
        assert [path.read_bytes() for path in store.job(job.id).pictures] == [png(each) for each in range(index + 1)]
    assert store.job(job.id).state is State.DONE
    request = harness.workers.newest().request
    assert (request.task, request.image, request.picture) == (video.id, None, png(0))
    assert (request.name, store.job(video.id).picture.read_bytes()) == ("a lighthouse", png(0))
    assert store.queue() == [later]


@pytest.mark.parametrize("made", [0, 1])
@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_without_all_pictures_the_video_ends_like_their_job(
    harness: Harness, store: Store, state: State, made: int
) -> None:
    job, video = add_both(store)
    harness.tick()
    for index in range(made):
        answer(harness, index)
    failed = RenderResult(error="no memory", error_type="OutOfMemory")
    harness.finish(failed if state is State.FAILED else RenderResult())
    harness.tick()
    ended = store.job(video.id)
    assert (store.job(job.id).state, ended.state, ended.error_type) == (state, state, "NotMade")
    assert ended.error == f"its picture was not made ({state.value})"


def test_a_requeued_job_continues_after_its_finished_pictures(harness: Harness, store: Store) -> None:
    job = add(store)
    harness.tick()
    answer(harness, 0)
    harness.scheduler.end(requeue=True)
    other = Harness(store.home, "two")
    assert other.workers.newest().request.image == IMAGE.one(1)
    assert store.job(job.id).done == 1


def test_a_lost_worker_restarts_the_picture_and_the_second_loss_fails(harness: Harness, store: Store) -> None:
    job = add(store)
    harness.tick()
    answer(harness, 0)
    for name, following in (("one", "two"), ("two", "three")):
        del harness.workers.infos[name]
        harness.add_worker(following)
        harness.tick()
        harness.tick()
    failed = store.job(job.id)
    assert (failed.state, failed.error_type, failed.done) == (State.FAILED, "WorkerLost", 1)


def test_a_picture_that_exists_is_not_made_again(harness: Harness, store: Store) -> None:
    add(store)
    harness.tick()
    for index in range(3):
        answer(harness, index)
    more = add(store, IMAGE.model_copy(update={"seed": 7, "candidates": 2}))
    harness.tick()
    assert harness.workers.newest().request.image == IMAGE.model_copy(update={"seed": 8, "candidates": 1})
    assert [path.read_bytes() for path in store.job(more.id).pictures] == [png(2)]
    answer(harness, 8)
    (store.job(more.id).pictures[0]).unlink()
    add(store, IMAGE.model_copy(update={"seed": 7, "candidates": 1}))
    harness.tick()
    assert harness.workers.newest().request.image == IMAGE.model_copy(update={"seed": 7, "candidates": 1})


def test_cancelling_keeps_the_finished_pictures(harness: Harness, store: Store) -> None:
    job = add(store)
    harness.tick()
    answer(harness, 0)
    store.cancel(job.id)
    harness.tick()
    harness.finish(RenderResult())
    ended = store.job(job.id)
    assert (ended.state, ended.done) == (State.CANCELLED, 1)
    assert store.queue() == []


def test_the_requested_video_model_comes_back_after_the_picture(harness: Harness, store: Store) -> None:
    store.request_model("svd_tiny", CPU)
    harness.tick()
    harness.send_model("one", "ready", "svd_tiny")
    harness.finish(RenderResult())
    add(store, IMAGE.one(0))
    harness.tick()
    harness.send_model("one", "ready", IMAGE.model)
    answer(harness, 0)
    task = harness.workers.newest()
    assert task.function is worker_tasks.load_model
    assert task.arguments[2] == "svd_tiny"
    harness.finish(RenderResult())
    assert harness.workers.newest() is task


# Worker


class Model:
    parts: ClassVar[dict[str, Any]] = {"clip": object()}
    advice = ""


def test_models_of_pictures_and_videos_take_each_others_place(
    tmp_path: Path, sdxl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(sdxl))
    loaded: list[tuple[str, Any]] = []

    def load(version: Any, options: Any, on_event: Any, spare: Any) -> Any:
        loaded.append((version.name, spare))
        return Model()

    made = iter([png(1), png(2)])
    monkeypatch.setattr("img2vid.jobs.worker.make_picture", lambda *_: next(made))
    runtime = WorkerRuntime(load, load_image=load)
    sent: list[Any] = []
    report = Reporter("job", sent.append, lambda: True)
    tiny = IMAGE.model_copy(update={"model": "tiny_sdxl"})
    request = RenderRequest("job", "topic", small(), CPU, b"", "x", None, image=tiny)
    runtime.load("svd_tiny", CPU, report)
    assert runtime.make(request, report).picture == png(1)
    runtime.load("svd_tiny", CPU, report)
    monkeypatch.setenv("IMG2VID_MODELS_IN_MEMORY", "2")
    assert runtime.make(request, report).picture == png(2)
    runtime.load("svd_tiny", CPU, report)
    assert [name for name, _ in loaded] == ["svd_tiny", "tiny_sdxl", "svd_tiny", "tiny_sdxl"]
    assert loaded[1][1] == {}  # nothing of the video's model stays in memory meanwhile
    status = [ModelStatus(**event["status"]) for event in sent if event["kind"] == "model"]
    assert [one.version for one in status if one.state == "ready"] == [*(name for name, _ in loaded), "svd_tiny"]


# Service


def test_an_impossible_request_is_refused_at_once(store: Store, sdxl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(sdxl))
    service = JobService(store)
    tiny = IMAGE.model_copy(update={"model": "tiny_sdxl"})
    with pytest.raises(BadInput, match="there is no image model 'other'"):
        service.submit_image(IMAGE.model_copy(update={"model": "other"}), small(), CPU)
    with pytest.raises(BadInput, match=r"sd_xl_base_1\.0 is missing"):
        service.submit_image(IMAGE, small(), CPU)
    with pytest.raises(BadInput, match="height must be a multiple of"):
        service.submit_image(tiny, small(height=65), CPU, animate=True)
    monkeypatch.setattr("img2vid.remedies.find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable):
        service.submit_image(tiny, small(), CPU)
    assert store.queue() == []
