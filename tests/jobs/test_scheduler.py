"""Scheduler with simulated workers: assignment of jobs, failures, models, cancellation and events."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_ins

import img2vid
from img2vid.errors import StoreError
from img2vid.jobs import scheduler
from img2vid.jobs import worker as worker_tasks
from img2vid.jobs.cluster import WorkerLost
from img2vid.jobs.job import Job, ModelStatus, State
from img2vid.jobs.scheduler import Scheduler
from img2vid.jobs.store import Store
from img2vid.jobs.worker import RenderRequest, RenderResult, WorkerInfo
from img2vid.media.pictures import load_picture
from img2vid.media.videos import write_video
from img2vid.options import LoadOptions
from img2vid.progress import Event, Result
from img2vid.settings import MAX_SEED, SampleSettings

AUTO = LoadOptions()
FILES = {".mp4": b"video", ".png": b"still", ".json": b"{}"}
CLIP = Result(Path("clip.mp4"), Path("clip.png"), Path("clip.json"), None, 23, 30.0, dict(stand_ins.ENGINE))
DONE = RenderResult(FILES, CLIP, {"sample": 20.0, "decode": 8.0})


class FakeTask:
    """Simulated task handle whose result the test sets."""

    def __init__(self, address: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.address, self.function, self.arguments = address, function, arguments
        self.value: Any = None
        self.cancelled = False

    def done(self) -> bool:
        return self.value is not None

    def result(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    def cancel(self) -> None:
        self.cancelled = True

    @property
    def request(self) -> RenderRequest:
        assert self.function is worker_tasks.make_video
        return self.arguments[0]


class FakeCluster:
    """Simulated cluster that records tasks until the test completes them."""

    topic = "topic"

    def __init__(self) -> None:
        self.infos: dict[str, WorkerInfo] = {}
        self.tasks: list[FakeTask] = []
        self.on_event: Callable[[dict[str, Any]], None] = lambda event: None

    def workers(self) -> set[str]:
        return set(self.infos)

    def listen(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        self.on_event = on_event

    def submit(self, address: str, function: Callable[..., Any], *arguments: Any) -> FakeTask:
        task = FakeTask(address, function, arguments)
        if function is worker_tasks.worker_info:
            task.value = self.infos[address]
        self.tasks.append(task)
        return task

    def requests(self) -> list[tuple[str, str]]:
        """Return address and picture name of each render task, in order."""
        return [(task.address, task.request.name) for task in self.tasks if task.function is worker_tasks.make_video]

    def newest(self) -> FakeTask:
        return self.tasks[-1]


class Harness:
    """Store, scheduler and simulated workers."""

    def __init__(self, home: Path, *names: str) -> None:
        self.store = Store(home / "img2vid.sqlite")
        self.workers = FakeCluster()
        for name in names:
            self.add_worker(name)
        self.scheduler = Scheduler(self.store)
        self.scheduler.attach(self.workers)  # type: ignore[arg-type]
        self.tick()

    def add_worker(self, name: str, version: str = img2vid.__version__) -> None:
        self.workers.infos[name] = WorkerInfo(name, "host", "CPU", version)

    def tick(self) -> None:
        for _ in range(2):  # a worker is added in the first tick and gets its job in the next
            self.scheduler.tick()

    def add(self, name: str, options: LoadOptions = AUTO, **settings: Any) -> Job:
        return self.store.add(SampleSettings(**settings), options, b"picture", name, ".jpg", self.store.home / "out")

    def finish(self, value: Any, index: int = -1) -> None:
        self.workers.tasks[index].value = value
        self.tick()

    def send(self, address: str, **event: Any) -> None:
        self.workers.on_event({"worker": address, **event})

    def send_model(self, address: str, state: str, version: str = "") -> None:
        self.send(address, kind="model", task="", status={"state": state, "version": version})

    def send_progress(self, job: Job, address: str, stage: str, step: int, **more: Any) -> None:
        event = Event(stage, step, 25, sigma=1.5, memory=9, **more)
        self.send(address, kind="progress", task=job.id, event=asdict(event))


@pytest.fixture(autouse=True)
def always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "POLL_WORKERS_EVERY", 0.0)


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path, "a")


def test_the_speed_of_a_worker_gives_the_first_estimate(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.workers.infos["a"] = WorkerInfo("a", "host", "CPU", img2vid.__version__, {"cpu": {"fp32": 1e10}})
    harness.tick()
    job = harness.add("dogs")
    harness.tick()
    harness.send_progress(job, "a", "decode", 0)
    harness.tick()
    event = harness.store.progress(job.id)
    assert event is not None
    expected = harness.store.expected(job.settings, AUTO)
    assert expected is not None
    assert event.seconds_left == pytest.approx(expected.decoding)


# Latents


def shelved(harness: Harness) -> list[Path]:
    return list((harness.store.home / "latents").glob("*"))


def test_a_job_that_failed_in_decoding_is_given_its_latents_when_it_runs_again(harness: Harness) -> None:
    job = harness.add("1")
    harness.tick()
    assert harness.workers.newest().request.latents == b""
    harness.send("a", kind="latents", task=job.id, seed=23, blob=b"packet")
    harness.finish(RenderResult(error="memory ran out", error_type="OutOfMemory"))
    assert harness.store.job(job.id).state is State.FAILED
    harness.store.resubmit(job.id)
    harness.add("1", decode_t=1)
    harness.add("1", seed=24)
    for expected in (b"packet", b"packet", b""):
        harness.tick()
        assert harness.workers.newest().request.latents == expected
        assert len(shelved(harness)) == 1
        harness.finish(RenderResult(error="memory ran out", error_type="OutOfMemory"))


def test_latents_go_when_their_video_is_there(harness: Harness) -> None:
    job = harness.add("1", num_samples=2)
    harness.tick()
    harness.send("a", kind="latents", task=job.id, seed=23, blob=b"first")
    harness.tick()
    assert len(shelved(harness)) == 1
    harness.finish(replace(DONE, made=replace(CLIP, seed=23)))
    assert shelved(harness) == []
    harness.send("a", kind="latents", task=job.id, seed=23, blob=b"late")
    harness.send("a", kind="latents", task="another", seed=24, blob=b"of nobody")
    harness.tick()
    assert shelved(harness) == []
    harness.send("a", kind="latents", task=job.id, seed=24, blob=b"second")
    harness.finish(replace(DONE, made=replace(CLIP, seed=24)))
    assert shelved(harness) == []
    assert harness.store.job(job.id).state is State.DONE


# Links


def link(harness: Harness, before: Job, **settings: Any) -> Job:
    wanted = before.settings.model_copy(update={"seed": before.settings.seed + 1, **settings})
    return harness.store.add_link(before, wanted, harness.store.home / "out")


def clip_of(color: int) -> bytes:
    frames = np.full((2, 64, 64, 3), color, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        return write_video(Path(folder) / "clip.mp4", frames, fps=6, metadata={}).read_bytes()


def made(seed: int, color: int = 100) -> RenderResult:
    return replace(DONE, files={**FILES, ".mp4": clip_of(color)}, made=replace(CLIP, seed=seed))


def test_a_link_waits_for_the_video_before_it_and_gets_its_last_frame(tmp_path: Path) -> None:
    harness = Harness(tmp_path, "a", "b")
    first = harness.add("1")
    second = link(harness, first)
    third = link(harness, second)
    harness.store.move(third.id, 0)
    other = harness.add("2")
    harness.tick()
    assert [name for _, name in harness.workers.requests()] == ["1", "2"]
    harness.finish(made(23, color=200), index=[job.id for job in (first, other)].index(first.id) - 2)
    assert harness.workers.newest().request.task == second.id
    frame = load_picture(harness.workers.newest().request.picture)
    assert frame.size == (64, 64) and abs(frame.getpixel((5, 5))[0] - 200) < 4  # type: ignore[index,operator]
    assert harness.store.job(third.id).state is State.WAITING
    harness.finish(made(24))
    assert harness.workers.newest().request.task == third.id


def test_the_seed_names_the_video_that_is_continued(harness: Harness) -> None:
    first = harness.add("1", num_samples=2)
    second = link(harness, first, seed=25, num_samples=1)
    harness.tick()
    harness.finish(made(23, color=10))
    harness.finish(made(24, color=220))
    frame = load_picture(harness.workers.newest().request.picture)
    assert harness.workers.newest().request.task == second.id
    assert abs(frame.getpixel((5, 5))[0] - 220) < 4  # type: ignore[index,operator]


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, State.INTERRUPTED])
def test_links_end_like_the_video_before_them(harness: Harness, state: State) -> None:
    first = harness.add("1")
    links = [link(harness, first)]
    links.append(link(harness, links[0]))
    harness.store.start(first.id)
    harness.store.finish(first.id, state, "memory ran out")
    for _ in links:
        harness.tick()
    found = [harness.store.job(job.id) for job in links]
    assert [(job.state, job.error) for job in found] == [
        (state, f"the video that it continues was not finished ({state.value})")
    ] * 2
    assert harness.workers.requests() == []


def test_a_link_fails_when_the_video_is_gone(harness: Harness) -> None:
    first = harness.add("1")
    harness.tick()
    harness.finish(made(23))
    harness.store.job(first.id).results[0].video.unlink()
    lost = link(harness, first)
    harness.tick()
    assert harness.store.job(lost.id).error == "the video that it continues no longer exists"


def test_running_a_link_again_brings_those_after_it(harness: Harness) -> None:
    first = harness.add("1")
    harness.tick()
    harness.finish(made(23))
    second = link(harness, first)
    third = link(harness, second)
    fourth = link(harness, third)
    harness.tick()
    harness.finish(RenderResult(error="memory ran out", error_type="OutOfMemory"))
    for _ in range(2):
        harness.tick()
    assert harness.store.job(fourth.id).state is State.FAILED
    again = harness.store.resubmit(second.id)
    harness.tick()
    copies = [again, *harness.store.queue()]
    assert [job.settings.seed for job in copies] == [24, 25, 26]
    assert [job.continues for job in copies] == [first.id, copies[0].id, copies[1].id]
    assert harness.workers.newest().request.task == again.id


# Assignment


def test_no_more_is_handed_out_than_workers_can_do(tmp_path: Path) -> None:
    harness = Harness(tmp_path, "a", "b")
    jobs = [harness.add(name) for name in "123"]
    harness.tick()
    assert [name for _, name in harness.workers.requests()] == ["1", "2"]
    assert {address for address, _ in harness.workers.requests()} == {"a", "b"}
    assert [harness.store.job(job.id).state for job in jobs] == [State.RUNNING, State.RUNNING, State.WAITING]
    assert [harness.store.job(job.id).worker for job in jobs] == [
        *(address for address, _ in harness.workers.requests()),
        "",
    ]


def test_a_worker_that_has_the_model_is_preferred(tmp_path: Path) -> None:
    harness = Harness(tmp_path, "a", "b", "c")
    harness.store.request_model("svd", AUTO)
    harness.tick()
    for address in "abc":
        harness.send_model(address, "ready", "svd_xt" if address == "a" else "svd")
    harness.send_model("b", "none")
    for task in harness.workers.tasks[-3:]:
        task.value = RenderResult()
    harness.tick()
    for name in "123":
        harness.add(name, version="svd")
    harness.tick()
    assert harness.workers.requests() == [("c", "1"), ("b", "2"), ("a", "3")]


def test_a_named_card_is_waited_for_and_others_do_not_wait_with_it(tmp_path: Path) -> None:
    harness = Harness(tmp_path, "cuda:0", "cuda:1")
    for name, device in (("1", "cuda:1"), ("2", "cuda:1"), ("3", "auto")):
        harness.add(name, LoadOptions(device=device))
    harness.tick()
    assert harness.workers.requests() == [("cuda:1", "1"), ("cuda:0", "3")]
    assert [task.request.options.device for task in harness.workers.tasks[-2:]] == ["cuda", "auto"]
    harness.finish(DONE, -2)
    assert harness.workers.requests()[-1] == ("cuda:1", "2")


def test_each_video_of_a_job_is_an_order_with_the_next_seed(harness: Harness) -> None:
    job = harness.add("1", seed=MAX_SEED - 1, num_samples=2)
    harness.add("2")
    for seed in (MAX_SEED - 1, MAX_SEED):
        harness.tick()
        request = harness.workers.newest().request
        assert (request.name, request.settings.seed, request.settings.num_samples) == ("1", seed, 1)
        harness.finish(replace(DONE, made=replace(CLIP, seed=seed)))
    done = harness.store.job(job.id)
    assert (done.state, [result.seed for result in done.results]) == (State.DONE, [MAX_SEED - 1, MAX_SEED])
    assert done.attempts == 1
    assert harness.workers.newest().request.name == "2"


@pytest.mark.parametrize(("finished", "seeds"), [(1, [24, 25]), (3, [])])
def test_a_requeued_job_goes_on_after_the_videos_that_it_has(harness: Harness, finished: int, seeds: list[int]) -> None:
    job = harness.add("1", num_samples=3)
    harness.store.start(job.id)
    for seed in range(23, 23 + finished):
        file = harness.store.home / str(seed)
        harness.store.record_result(job.id, Result(file, file, file, None, seed, 1.0, {}))
    harness.store.requeue(job.id)
    harness.tick()
    for seed in seeds:
        assert harness.workers.newest().request.settings.seed == seed
        harness.finish(replace(DONE, made=replace(CLIP, seed=seed)))
    done = harness.store.job(job.id)
    assert (done.state, [result.seed for result in done.results]) == (State.DONE, [23, 24, 25])
    assert len(harness.workers.requests()) == len(seeds)


# Models


def test_a_model_request_waits_until_the_queue_is_empty(harness: Harness) -> None:
    harness.add("1")
    harness.store.request_model("svd_xt", AUTO)
    harness.tick()
    assert harness.workers.newest().request.name == "1"
    harness.finish(DONE)
    load = harness.workers.newest()
    assert (load.function, load.arguments[2:]) == (worker_tasks.load_model, ("svd_xt", AUTO))
    harness.send_model("a", "ready", "svd_xt")
    harness.finish(RenderResult())
    assert harness.workers.newest() is load
    assert harness.store.model() == ModelStatus("ready", "svd_xt", wanted=True, wanted_version="svd_xt")
    harness.store.request_model("", AUTO)
    harness.tick()
    assert harness.workers.newest().function is worker_tasks.release_model


def test_a_new_worker_loads_the_wanted_model(harness: Harness) -> None:
    harness.store.request_model("svd", AUTO)
    harness.tick()
    harness.finish(RenderResult())
    del harness.workers.infos["a"]
    harness.add_worker("b")
    harness.tick()
    assert (harness.workers.newest().address, harness.workers.newest().function) == ("b", worker_tasks.load_model)


def test_a_model_that_costs_two_workers_is_not_loaded_for_ever(harness: Harness) -> None:
    """Regression: if memory ran out, each new worker loaded the same model and was killed again."""
    harness.store.request_model("svd", AUTO)
    harness.tick()
    for old, new in ("ab", "bc"):
        assert harness.workers.newest().function is worker_tasks.load_model
        del harness.workers.infos[old]
        harness.add_worker(new)
        harness.tick()
    assert harness.workers.newest().function is worker_tasks.worker_info
    status = harness.store.model()
    assert (status.state, status.version) == ("failed", "svd")
    assert status.error.startswith("the worker was lost 2 times while it loaded the model")
    harness.store.request_model("svd", AUTO)
    harness.tick()
    assert harness.workers.newest().function is worker_tasks.load_model


# Workers: added, lost, unusable


@pytest.mark.parametrize("lost_in_the_middle", [True, False])
def test_a_lost_worker_costs_a_job_one_of_two_chances(harness: Harness, lost_in_the_middle: bool) -> None:
    job = harness.add("1")
    harness.tick()

    def making() -> FakeTask:
        return [task for task in harness.workers.tasks if task.function is worker_tasks.make_video][-1]

    def lose() -> None:
        if lost_in_the_middle:
            del harness.workers.infos[making().address]
        else:
            making().value = WorkerLost("the worker is gone")
        harness.tick()

    harness.send_progress(job, "a", "decode", 7)
    harness.tick()
    lose()
    assert harness.store.job(job.id).state is State.RUNNING
    harness.add_worker("b")
    harness.tick()
    running = harness.store.job(job.id)
    assert (running.state, running.attempts) == (State.RUNNING, 2)
    assert running.notice == "the worker was lost in the stage 'decode', step 7 of 25; the job was restarted"
    harness.send(making().address, kind="error", task=job.id, sentence="failed with AcceleratorError: CUDA error")
    harness.tick()
    lose()
    failed = harness.store.job(job.id)
    assert (failed.state, failed.error_type) == (State.FAILED, "WorkerLost")
    assert failed.error == (
        "the worker was lost 2 times, the last time in the stage 'decode', step 7 of 25 "
        "(failed with AcceleratorError: CUDA error)"
    )


def test_a_job_that_begins_again_comes_before_those_that_wait(harness: Harness) -> None:
    harness.add("1")
    harness.add("2")
    harness.tick()
    del harness.workers.infos["a"]
    harness.tick()
    assert harness.scheduler.problem() == "no worker is connected; jobs wait until one joins"
    harness.add_worker("b")
    harness.tick()
    assert harness.workers.requests() == [("a", "1"), ("b", "1")]
    assert harness.scheduler.problem() is None
    assert harness.scheduler.workers() == [("b", "host", "CPU")]


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        (WorkerInfo("b", "far", "CPU", "0.0.1"), "the worker b on far has img2vid 0.0.1, this is "),
        (
            ModuleNotFoundError("No module named 'img2vid'"),
            "the worker b cannot be used: ModuleNotFoundError: No module",
        ),
    ],
)
def test_an_unusable_worker_is_reported_and_gets_no_jobs(tmp_path: Path, info: Any, sentence: str) -> None:
    harness = Harness(tmp_path)
    harness.workers.infos["b"] = info
    harness.add("1")
    harness.tick()
    problem = harness.scheduler.problem() or ""
    assert problem.startswith(sentence)
    assert harness.workers.requests() == []
    harness.add_worker("a")
    harness.tick()
    assert harness.workers.requests() == [("a", "1")]
    assert len([task for task in harness.workers.tasks if task.function is worker_tasks.worker_info]) == 2


# Cancelling


def test_a_cancelled_job_runs_until_its_worker_has_left_the_step(harness: Harness) -> None:
    job = harness.add("1")
    harness.add("2")
    harness.tick()
    making = harness.workers.newest()
    harness.store.cancel(job.id)
    harness.tick()
    rest = harness.workers.newest()
    assert (making.cancelled, rest.address, rest.function) == (True, "a", worker_tasks.barrier)
    assert harness.store.job(job.id).state is State.RUNNING
    harness.send_progress(job, "a", "sample", 9)
    harness.tick()
    assert harness.workers.newest() is rest
    harness.finish(True)
    assert harness.store.job(job.id).state is State.CANCELLED
    assert harness.workers.requests()[-1] == ("a", "2")


def test_a_cancelled_job_that_waits_for_another_worker_is_not_begun_again(harness: Harness) -> None:
    job = harness.add("1")
    harness.tick()
    del harness.workers.infos["a"]
    harness.tick()
    harness.store.cancel(job.id)
    harness.tick()
    assert harness.store.job(job.id).state is State.CANCELLED


# Events and results


def test_progress_is_that_of_the_whole_job(harness: Harness) -> None:
    harness.add("0")
    harness.tick()
    harness.finish(DONE)
    job = harness.add("1", num_samples=2)
    harness.tick()
    harness.send_progress(job, "a", "sample", 4, seconds_left=10.0, preview=b"GIF")
    harness.send_progress(job, "a", "sample", 5, seconds_left=9.5, notice="something")
    harness.tick()
    progress = harness.store.progress(job.id)
    assert progress is not None
    expected = Event("sample", 5, 25, 0.0, 9.5 + 8 + 30, 1.5, "something", None, 9, b"GIF", 1, 2)
    assert replace(progress, elapsed=0.0, received=0.0) == expected
    assert harness.store.job(job.id).notice == "something"


def test_events_of_strangers_are_ignored(harness: Harness) -> None:
    job = harness.add("1")
    harness.tick()
    harness.send_progress(job, "somebody", "sample", 4)
    harness.send_progress(harness.add("2"), "a", "sample", 4)
    harness.tick()
    assert harness.store.progress(job.id) is None


def test_an_order_that_fails_on_its_way_fails_the_job(harness: Harness) -> None:
    job = harness.add("1")
    harness.tick()
    harness.finish(ImportError("no module named stand_ins"))
    failed = harness.store.job(job.id)
    assert (failed.state, failed.error) == (State.FAILED, "failed with ImportError: no module named stand_ins")


def test_a_video_that_could_not_be_written_down_is_written_down_later(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk must not lose a finished video: the worker's result is kept until it is stored."""
    job = harness.add("1")
    harness.tick()
    record = harness.store.record_result

    def fail(*arguments: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(harness.store, "record_result", fail)
    with pytest.raises(StoreError):
        harness.finish(DONE)
    assert harness.store.job(job.id).state is State.RUNNING
    monkeypatch.setattr(harness.store, "record_result", record)
    harness.tick()
    assert (harness.store.job(job.id).state, len(harness.store.job(job.id).results)) == (State.DONE, 1)


# The end


@pytest.mark.parametrize("requeue", [True, False])
def test_at_the_end_running_jobs_are_requeued_or_interrupted(harness: Harness, requeue: bool) -> None:
    running, waiting, cancelled = harness.add("1"), harness.add("2"), harness.add("3")
    harness.store.move(cancelled.id, 0)
    harness.tick()
    harness.store.cancel(cancelled.id)
    harness.add_worker("b")
    harness.tick()
    harness.tick()
    harness.scheduler.end(requeue)
    harness.scheduler.detach()
    states = [harness.store.job(job.id).state for job in (running, waiting, cancelled)]
    assert states == [State.WAITING if requeue else State.INTERRUPTED, State.WAITING, State.CANCELLED]
    assert [job.picture_name for job in harness.store.queue()] == (["1", "2"] if requeue else ["2"])
    assert all(task.cancelled for task in harness.workers.tasks[-2:])
    assert harness.store.model() == ModelStatus()
