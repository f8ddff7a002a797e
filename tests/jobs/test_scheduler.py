"""Who does what, with workers that do only what the test says: which job goes where, and what becomes of failures."""

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


class Promised:
    """What a worker was asked for; the test says when it is there."""

    def __init__(self, address: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.address, self.function, self.arguments = address, function, arguments
        self.value: Any = None
        self.withdrawn = False

    def done(self) -> bool:
        return self.value is not None

    def result(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    def withdraw(self) -> None:
        self.withdrawn = True

    @property
    def request(self) -> RenderRequest:
        assert self.function is worker_tasks.make_video
        return self.arguments[0]


class Workers:
    """A cluster whose workers are given work and wait for the test to do it."""

    topic = "topic"

    def __init__(self) -> None:
        self.there: dict[str, WorkerInfo] = {}
        self.asked: list[Promised] = []
        self.hear: Callable[[dict[str, Any]], None] = lambda event: None

    def workers(self) -> set[str]:
        return set(self.there)

    def listen(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self.hear = hear

    def ask(self, address: str, function: Callable[..., Any], *arguments: Any) -> Promised:
        promised = Promised(address, function, arguments)
        if function is worker_tasks.worker_info:
            promised.value = self.there[address]
        self.asked.append(promised)
        return promised

    def requests(self) -> list[tuple[str, str]]:
        """Who makes what, in order of time."""
        return [
            (asked.address, asked.request.name) for asked in self.asked if asked.function is worker_tasks.make_video
        ]

    def newest(self) -> Promised:
        return self.asked[-1]


class House:
    """A store, a dispatcher and workers."""

    def __init__(self, home: Path, *names: str) -> None:
        self.store = Store(home / "img2vid.sqlite")
        self.workers = Workers()
        for name in names:
            self.come(name)
        self.dispatcher = Scheduler(self.store)
        self.dispatcher.attach(self.workers)  # type: ignore[arg-type]
        self.tick()

    def come(self, name: str, version: str = img2vid.__version__) -> None:
        self.workers.there[name] = WorkerInfo(name, "host", "CPU", version)

    def tick(self) -> None:
        for _ in range(2):  # a worker greets in one and works in the next
            self.dispatcher.tick()

    def add(self, name: str, choice: EngineChoice = AUTO, **settings: Any) -> Job:
        return self.store.add(SampleSettings(**settings), choice, b"picture", name, ".jpg", self.store.home / "out")

    def finish(self, value: Any, index: int = -1) -> None:
        self.workers.asked[index].value = value
        self.tick()

    def tell(self, address: str, **event: Any) -> None:
        self.workers.hear({"worker": address, **event})

    def tell_model(self, address: str, state: str, version: str = "") -> None:
        self.tell(address, kind="model", task="", status={"state": state, "version": version})

    def tell_progress(self, job: Job, address: str, stage: str, step: int, **more: Any) -> None:
        event = {"stage": stage, "step": step, "total": 25, "sigma": 1.5, "left": None, "memory": 9, "preview": b""}
        self.tell(address, kind="progress", task=job.id, **{**event, "notice": "", **more})


@pytest.fixture(autouse=True)
def always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "LOOK_EVERY", 0.0)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, "a")


# What was sampled


def shelved(house: House) -> list[Path]:
    return list((house.store.home / "latents").glob("*"))


def test_a_job_that_failed_in_decoding_is_given_its_latents_when_it_runs_again(house: House) -> None:
    job = house.add("1")
    house.tick()
    assert house.workers.newest().request.latents == b""
    house.tell("a", kind="latents", task=job.id, seed=23, blob=b"packet")
    house.finish(RenderResult(error="memory ran out", error_type="OutOfMemory"))
    assert house.store.job(job.id).state is State.FAILED
    house.store.resubmit(job.id)
    house.add("1", decode_t=1)
    house.add("1", seed=24)
    for expected in (b"packet", b"packet", b""):
        house.tick()
        assert house.workers.newest().request.latents == expected
        assert len(shelved(house)) == 1
        house.finish(RenderResult(error="memory ran out", error_type="OutOfMemory"))


def test_latents_go_when_their_video_is_there(house: House) -> None:
    job = house.add("1", num_samples=2)
    house.tick()
    house.tell("a", kind="latents", task=job.id, seed=23, blob=b"first")
    house.tick()
    assert len(shelved(house)) == 1
    house.finish(replace(DONE, seed=23))
    assert shelved(house) == []
    house.tell("a", kind="latents", task=job.id, seed=23, blob=b"late")
    house.tell("a", kind="latents", task="another", seed=24, blob=b"of nobody")
    house.tick()
    assert shelved(house) == []
    house.tell("a", kind="latents", task=job.id, seed=24, blob=b"second")
    house.finish(replace(DONE, seed=24))
    assert shelved(house) == []
    assert house.store.job(job.id).state is State.DONE


# Which job goes where


def test_no_more_is_handed_out_than_workers_can_do(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    jobs = [house.add(name) for name in "123"]
    house.tick()
    assert [name for _, name in house.workers.requests()] == ["1", "2"]
    assert {address for address, _ in house.workers.requests()} == {"a", "b"}
    assert [house.store.job(job.id).state for job in jobs] == [State.RUNNING, State.RUNNING, State.WAITING]
    assert [house.store.job(job.id).worker for job in jobs] == [
        *(address for address, _ in house.workers.requests()),
        "",
    ]


def test_a_worker_that_has_the_model_is_preferred(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b", "c")
    house.store.request_model("svd", AUTO)
    house.tick()
    for address in "abc":
        house.tell_model(address, "ready", "svd_xt" if address == "a" else "svd")
    house.tell_model("b", "none")
    for asked in house.workers.asked[-3:]:
        asked.value = RenderResult()
    house.tick()
    for name in "123":
        house.add(name, version="svd")
    house.tick()
    assert house.workers.requests() == [("c", "1"), ("b", "2"), ("a", "3")]


def test_a_named_card_is_waited_for_and_others_do_not_wait_with_it(tmp_path: Path) -> None:
    house = House(tmp_path, "cuda:0", "cuda:1")
    for name, device in (("1", "cuda:1"), ("2", "cuda:1"), ("3", "auto")):
        house.add(name, EngineChoice(device=device))
    house.tick()
    assert house.workers.requests() == [("cuda:1", "1"), ("cuda:0", "3")]
    assert [asked.request.choice.device for asked in house.workers.asked[-2:]] == ["cuda", "auto"]
    house.finish(DONE, -2)
    assert house.workers.requests()[-1] == ("cuda:1", "2")


def test_each_video_of_a_job_is_an_order_with_the_next_seed(house: House) -> None:
    job = house.add("1", seed=MAX_SEED - 1, num_samples=2)
    house.add("2")
    for seed in (MAX_SEED - 1, MAX_SEED):
        house.tick()
        request = house.workers.newest().request
        assert (request.name, request.settings.seed, request.settings.num_samples) == ("1", seed, 1)
        house.finish(replace(DONE, seed=seed))
    done = house.store.job(job.id)
    assert (done.state, [result.seed for result in done.results]) == (State.DONE, [MAX_SEED - 1, MAX_SEED])
    assert done.attempts == 1
    assert house.workers.newest().request.name == "2"


@pytest.mark.parametrize(("finished", "seeds"), [(1, [24, 25]), (3, [])])
def test_a_job_that_was_put_back_goes_on_after_the_videos_that_it_has(
    house: House, finished: int, seeds: list[int]
) -> None:
    job = house.add("1", num_samples=3)
    house.store.start(job.id)
    for seed in range(23, 23 + finished):
        file = house.store.home / str(seed)
        house.store.record_result(job.id, StoredResult(file, file, file, None, seed, 1.0, {}))
    house.store.requeue(job.id)
    house.tick()
    for seed in seeds:
        assert house.workers.newest().request.settings.seed == seed
        house.finish(replace(DONE, seed=seed))
    done = house.store.job(job.id)
    assert (done.state, [result.seed for result in done.results]) == (State.DONE, [23, 24, 25])
    assert len(house.workers.requests()) == len(seeds)


# Models


def test_a_wish_waits_until_nothing_else_is_to_be_done(house: House) -> None:
    house.add("1")
    house.store.request_model("svd_xt", AUTO)
    house.tick()
    assert house.workers.newest().request.name == "1"
    house.finish(DONE)
    load = house.workers.newest()
    assert (load.function, load.arguments[2:]) == (worker_tasks.load_model, ("svd_xt", AUTO))
    house.tell_model("a", "ready", "svd_xt")
    house.finish(RenderResult())
    assert house.workers.newest() is load
    assert house.store.model() == ModelStatus("ready", "svd_xt", wanted=True, wanted_version="svd_xt")
    house.store.request_model("", AUTO)
    house.tick()
    assert house.workers.newest().function is worker_tasks.release_model


def test_a_new_worker_loads_the_wanted_model(house: House) -> None:
    house.store.request_model("svd", AUTO)
    house.tick()
    house.finish(RenderResult())
    del house.workers.there["a"]
    house.come("b")
    house.tick()
    assert (house.workers.newest().address, house.workers.newest().function) == ("b", worker_tasks.load_model)


def test_a_model_that_costs_two_workers_is_not_loaded_for_ever(house: House) -> None:
    """Where the system kills whoever takes too much memory, each new worker loaded the same model and was killed."""
    house.store.request_model("svd", AUTO)
    house.tick()
    for old, new in ("ab", "bc"):
        assert house.workers.newest().function is worker_tasks.load_model
        del house.workers.there[old]
        house.come(new)
        house.tick()
    assert house.workers.newest().function is worker_tasks.worker_info
    status = house.store.model()
    assert (status.state, status.version) == ("failed", "svd")
    assert status.error.startswith("the worker was lost 2 times while it loaded the model")
    house.store.request_model("svd", AUTO)
    house.tick()
    assert house.workers.newest().function is worker_tasks.load_model


# Workers that come, go, and cannot be used


@pytest.mark.parametrize("lost_in_the_middle", [True, False])
def test_a_lost_worker_costs_a_job_one_of_two_chances(house: House, lost_in_the_middle: bool) -> None:
    job = house.add("1")
    house.tick()

    def making() -> Promised:
        return [asked for asked in house.workers.asked if asked.function is worker_tasks.make_video][-1]

    def lose() -> None:
        if lost_in_the_middle:
            del house.workers.there[making().address]
        else:
            making().value = WorkerLost("the worker is gone")
        house.tick()

    house.tell_progress(job, "a", "decode", 7)
    house.tick()
    lose()
    assert house.store.job(job.id).state is State.RUNNING
    house.come("b")
    house.tick()
    running = house.store.job(job.id)
    assert (running.state, running.attempts) == (State.RUNNING, 2)
    assert running.notice == "the worker was lost in the stage 'decode', step 7 of 25; the job was begun again"
    house.tell(making().address, kind="trouble", task=job.id, sentence="failed with AcceleratorError: CUDA error")
    house.tick()
    lose()
    failed = house.store.job(job.id)
    assert (failed.state, failed.error_type) == (State.FAILED, "WorkerLost")
    assert failed.error == (
        "the worker was lost 2 times, the last time in the stage 'decode', step 7 of 25 "
        "(failed with AcceleratorError: CUDA error)"
    )


def test_a_job_that_begins_again_comes_before_those_that_wait(house: House) -> None:
    house.add("1")
    house.add("2")
    house.tick()
    del house.workers.there["a"]
    house.tick()
    assert house.dispatcher.problem() == "there is no worker; jobs wait until one is there"
    house.come("b")
    house.tick()
    assert house.workers.requests() == [("a", "1"), ("b", "1")]
    assert house.dispatcher.problem() is None
    assert house.dispatcher.workers() == [("b", "host", "CPU")]


@pytest.mark.parametrize(
    ("hello", "sentence"),
    [
        (WorkerInfo("b", "far", "CPU", "0.0.1"), "the worker b on far has img2vid 0.0.1, this is "),
        (
            ModuleNotFoundError("No module named 'img2vid'"),
            "the worker b cannot be used: ModuleNotFoundError: No module",
        ),
    ],
)
def test_a_worker_that_cannot_be_used_is_told_and_given_nothing(tmp_path: Path, hello: Any, sentence: str) -> None:
    house = House(tmp_path)
    house.workers.there["b"] = hello
    house.add("1")
    house.tick()
    problem = house.dispatcher.problem() or ""
    assert problem.startswith(sentence)
    assert house.workers.requests() == []
    house.come("a")
    house.tick()
    assert house.workers.requests() == [("a", "1")]
    assert len([asked for asked in house.workers.asked if asked.function is worker_tasks.worker_info]) == 2


# Cancelling


def test_a_cancelled_job_runs_until_its_worker_has_left_the_step(house: House) -> None:
    job = house.add("1")
    house.add("2")
    house.tick()
    making = house.workers.newest()
    house.store.cancel(job.id)
    house.tick()
    rest = house.workers.newest()
    assert (making.withdrawn, rest.address, rest.function) == (True, "a", worker_tasks.barrier)
    assert house.store.job(job.id).state is State.RUNNING
    house.tell_progress(job, "a", "sample", 9)
    house.tick()
    assert house.workers.newest() is rest
    house.finish(True)
    assert house.store.job(job.id).state is State.CANCELLED
    assert house.workers.requests()[-1] == ("a", "2")


def test_a_cancelled_job_that_waits_for_another_worker_is_not_begun_again(house: House) -> None:
    job = house.add("1")
    house.tick()
    del house.workers.there["a"]
    house.tick()
    house.store.cancel(job.id)
    house.tick()
    assert house.store.job(job.id).state is State.CANCELLED


# Events and results


def test_progress_is_that_of_the_whole_job(house: House) -> None:
    house.add("0")
    house.tick()
    house.finish(DONE)
    job = house.add("1", num_samples=2)
    house.tick()
    house.tell_progress(job, "a", "sample", 4, left=10.0, preview=b"GIF")
    house.tell_progress(job, "a", "sample", 5, left=9.5, notice="something")
    house.tick()
    progress = house.store.progress(job.id)
    assert progress is not None
    assert replace(progress, elapsed=0.0) == JobProgress("sample", 5, 25, 1.5, 0.0, 9.5 + 8 + 30, 9, b"GIF", 1, 2)
    assert house.store.job(job.id).notice == "something"


def test_events_of_strangers_are_ignored(house: House) -> None:
    job = house.add("1")
    house.tick()
    house.tell_progress(job, "somebody", "sample", 4)
    house.tell_progress(house.add("2"), "a", "sample", 4)
    house.tick()
    assert house.store.progress(job.id) is None


def test_an_order_that_fails_on_its_way_fails_the_job(house: House) -> None:
    job = house.add("1")
    house.tick()
    house.finish(ImportError("no module named stand_ins"))
    failed = house.store.job(job.id)
    assert (failed.state, failed.error) == (State.FAILED, "failed with ImportError: no module named stand_ins")


def test_a_video_that_could_not_be_written_down_is_written_down_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk must not cost a video that is done: the worker's result is held until it is in the store."""
    job = house.add("1")
    house.tick()
    record = house.store.record_result

    def fail(*arguments: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(house.store, "record_result", fail)
    with pytest.raises(StoreError):
        house.finish(DONE)
    assert house.store.job(job.id).state is State.RUNNING
    monkeypatch.setattr(house.store, "record_result", record)
    house.tick()
    assert (house.store.job(job.id).state, len(house.store.job(job.id).results)) == (State.DONE, 1)


# The end


@pytest.mark.parametrize("put_back", [True, False])
def test_at_the_end_what_runs_is_put_back_or_interrupted(house: House, put_back: bool) -> None:
    running, waiting, cancelled = house.add("1"), house.add("2"), house.add("3")
    house.store.move(cancelled.id, 0)
    house.tick()
    house.store.cancel(cancelled.id)
    house.come("b")
    house.tick()
    house.tick()
    house.dispatcher.end(put_back)
    house.dispatcher.detach()
    states = [house.store.job(job.id).state for job in (running, waiting, cancelled)]
    assert states == [State.WAITING if put_back else State.INTERRUPTED, State.WAITING, State.CANCELLED]
    assert [job.picture_name for job in house.store.queue()] == (["1", "2"] if put_back else ["2"])
    assert all(asked.withdrawn for asked in house.workers.asked[-2:])
    assert house.store.model() == ModelStatus()
