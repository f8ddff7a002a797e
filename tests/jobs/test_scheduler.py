"""Scheduler with simulated workers: assignment of jobs, failures, models, cancellation and events."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stand_ins

import img2vid
from img2vid.errors import StoreError
from img2vid.inference import EngineChoice
from img2vid.jobs import scheduler
from img2vid.jobs import worker as worker_tasks
from img2vid.jobs.cluster import WorkerLost
from img2vid.jobs.job import Job, JobProgress, ModelStatus, State, StoredResult
from img2vid.jobs.scheduler import Scheduler
from img2vid.jobs.store import Store
from img2vid.jobs.worker import RenderRequest, RenderResult, WorkerInfo
from img2vid.settings import MAX_SEED, SampleSettings

AUTO = EngineChoice()
FILES = {".mp4": b"video", ".png": b"still", ".json": b"{}"}
DONE = RenderResult(FILES, "clip", 23, 30.0, dict(stand_ins.ENGINE), {"sample": 20.0, "decode": 8.0})


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

    def add(self, name: str, choice: EngineChoice = AUTO, **settings: Any) -> Job:
        return self.store.add(SampleSettings(**settings), choice, b"picture", name, ".jpg", self.store.home / "out")

    def finish(self, value: Any, index: int = -1) -> None:
        self.workers.tasks[index].value = value
        self.tick()

    def send(self, address: str, **event: Any) -> None:
        self.workers.on_event({"worker": address, **event})

    def send_model(self, address: str, state: str, version: str = "") -> None:
        self.send(address, kind="model", task="", status={"state": state, "version": version})

    def send_progress(self, job: Job, address: str, stage: str, step: int, **more: Any) -> None:
        event = {"stage": stage, "step": step, "total": 25, "sigma": 1.5, "left": None, "memory": 9, "preview": b""}
        self.send(address, kind="progress", task=job.id, **{**event, "notice": "", **more})


@pytest.fixture(autouse=True)
def always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "POLL_WORKERS_EVERY", 0.0)


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path, "a")


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
    harness.finish(replace(DONE, seed=23))
    assert shelved(harness) == []
    harness.send("a", kind="latents", task=job.id, seed=23, blob=b"late")
    harness.send("a", kind="latents", task="another", seed=24, blob=b"of nobody")
    harness.tick()
    assert shelved(harness) == []
    harness.send("a", kind="latents", task=job.id, seed=24, blob=b"second")
    harness.finish(replace(DONE, seed=24))
    assert shelved(harness) == []
    assert harness.store.job(job.id).state is State.DONE


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
        harness.add(name, EngineChoice(device=device))
    harness.tick()
    assert harness.workers.requests() == [("cuda:1", "1"), ("cuda:0", "3")]
    assert [task.request.choice.device for task in harness.workers.tasks[-2:]] == ["cuda", "auto"]
    harness.finish(DONE, -2)
    assert harness.workers.requests()[-1] == ("cuda:1", "2")


def test_each_video_of_a_job_is_an_order_with_the_next_seed(harness: Harness) -> None:
    job = harness.add("1", seed=MAX_SEED - 1, num_samples=2)
    harness.add("2")
    for seed in (MAX_SEED - 1, MAX_SEED):
        harness.tick()
        request = harness.workers.newest().request
        assert (request.name, request.settings.seed, request.settings.num_samples) == ("1", seed, 1)
        harness.finish(replace(DONE, seed=seed))
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
        harness.store.record_result(job.id, StoredResult(file, file, file, None, seed, 1.0, {}))
    harness.store.requeue(job.id)
    harness.tick()
    for seed in seeds:
        assert harness.workers.newest().request.settings.seed == seed
        harness.finish(replace(DONE, seed=seed))
    done = harness.store.job(job.id)
    assert (done.state, [result.seed for result in done.results]) == (State.DONE, [23, 24, 25])
    assert len(harness.workers.requests()) == len(seeds)


# Models


def test_a_wish_waits_until_nothing_else_is_to_be_done(harness: Harness) -> None:
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
def test_a_worker_that_cannot_be_used_is_told_and_given_nothing(tmp_path: Path, info: Any, sentence: str) -> None:
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
    harness.send_progress(job, "a", "sample", 4, left=10.0, preview=b"GIF")
    harness.send_progress(job, "a", "sample", 5, left=9.5, notice="something")
    harness.tick()
    progress = harness.store.progress(job.id)
    assert progress is not None
    assert replace(progress, elapsed=0.0) == JobProgress("sample", 5, 25, 1.5, 0.0, 9.5 + 8 + 30, 9, b"GIF", 1, 2)
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
