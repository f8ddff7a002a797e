"""Job store: records, queue order and concurrent access."""

import multiprocessing
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from other_settings import OTHER_VALUES

from img2vid.errors import BadInput, StoreError
from img2vid.jobs.estimate import Timing
from img2vid.jobs.store import Job, ModelStatus, State, Store
from img2vid.jobs.workers import ActiveJob
from img2vid.options import LoadOptions
from img2vid.progress import Event, Result
from img2vid.settings import SampleSettings

SETTINGS = SampleSettings()
CHOICE = LoadOptions()
OTHER_CHOICE = LoadOptions("sgm", "cuda:1", "bf16", "fp16", "stages", True, 3, True)
ENGINE: dict[str, Any] = {"provider": "native", "device": "cpu", "precision": "fp32"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "img2vid.sqlite")


def add(store: Store, name: str = "photo", **settings: Any) -> Job:
    return store.add(SampleSettings(**settings), CHOICE, b"picture", name, ".jpg")


def result(folder: Path, seed: int = 23, animation: Path | None = None) -> Result:
    files = (folder / f"{seed}.mp4", folder / f"{seed}.png", folder / f"{seed}.json")
    return Result(*files, animation, seed, 1.5, {"settings": {"seed": seed}})


def names(jobs: list[Job]) -> list[str]:
    return [job.picture_name for job in jobs]


# Records


def test_a_job_is_what_was_added(store: Store, tmp_path: Path) -> None:
    settings, options = SampleSettings(**OTHER_VALUES), OTHER_CHOICE
    added = store.add(settings, options, b"the picture", "holiday", ".JPG", tmp_path / "videos", "gif")
    job = Store(store.path).job(added.id)
    assert job == added
    assert (job.state, job.attempts, job.results) == (State.WAITING, 0, ())
    assert (job.settings, job.options, job.picture_name, job.animation) == (settings, options, "holiday", "gif")
    assert job.folder == tmp_path / "videos"
    assert (job.error, job.error_type, job.details, job.notice, job.worker) == ("", "", "", "", "")
    assert (job.started, job.finished) == (None, None)
    assert job.picture.read_bytes() == b"the picture"
    assert job.picture.suffix == ".jpg"


def test_the_folder_is_by_default_the_versions_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path))
    store = Store()
    assert store.path == tmp_path.resolve() / "img2vid.sqlite"
    assert add(store, version="svd_xt").folder == tmp_path.resolve() / "svd_xt"


def test_a_picture_is_kept_once(store: Store) -> None:
    first, second = add(store), add(store)
    other = store.add(SETTINGS, CHOICE, b"another", "photo", "png")
    assert first.picture == second.picture != other.picture
    assert sorted(path.name for path in (store.home / "inputs").iterdir()) == sorted(
        {first.picture.name, other.picture.name}
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\cat", "cat"),
        ("a:b*c", "a_b_c"),
        ("Zoë 東京", "Zoë 東京"),
        ("", "picture"),
        ("...", "picture"),
        ("x" * 300, "x" * 80),
        ("bell\a", "bell_"),
    ],
)
def test_a_name_is_made_safe_for_files(store: Store, given: str, kept: str) -> None:
    assert add(store, given).picture_name == kept


def test_a_suffix_is_no_way_out_of_the_folder(store: Store) -> None:
    job = store.add(SETTINGS, CHOICE, b"picture", "photo", "/../../x.sh")
    assert job.picture.parent == store.home / "inputs"
    assert store.add(SETTINGS, CHOICE, b"picture", "photo", "").picture.suffix == ".bin"


def test_again_is_a_new_job_with_the_same_picture_and_settings(store: Store) -> None:
    old = store.add(SampleSettings(seed=7), CHOICE, b"picture", "photo", ".jpg", store.home / "there", "webp")
    store.start(old.id)
    store.finish(old.id, State.FAILED, "no", "OutOfMemory")
    new = store.resubmit(old.id)
    assert new.id != old.id
    assert (new.state, new.error, new.attempts) == (State.WAITING, "", 0)
    for name in ("settings", "options", "picture", "picture_name", "folder", "animation"):
        assert getattr(new, name) == getattr(old, name)


def test_settings_of_another_version_of_the_program_can_still_be_listed(store: Store) -> None:
    add(store)
    with sqlite3.connect(store.path) as db:
        db.execute("""UPDATE jobs SET settings = '{"fps": 0, "color": "blue", "seed": 5}'""")
    (job,) = store.jobs()
    assert (job.settings.seed, job.settings.fps, job.settings.num_steps) == (5, 0, 25)


def test_the_engines_choice_of_another_version_of_the_program_can_still_be_listed(store: Store) -> None:
    """Rows of older versions lack fields, rows of newer versions have more."""
    add(store)
    with sqlite3.connect(store.path) as db:
        db.execute("""UPDATE jobs SET choice = '{"provider": "sgm", "precision": "fp16", "color": "blue"}'""")
    (job,) = store.jobs()
    assert job.options == LoadOptions(provider="sgm", precision="fp16")


# The queue


def test_jobs_are_listed_newest_first_and_queued_in_order(store: Store) -> None:
    for name in "abc":
        add(store, name)
    assert names(store.jobs()) == ["c", "b", "a"]
    assert names(store.jobs(limit=2)) == ["c", "b"]
    assert names(store.queue()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("job", "place", "order"),
    [("c", 0, "cabd"), ("a", 3, "bcda"), ("a", 1, "bacd"), ("b", 99, "acdb"), ("b", -5, "bacd"), ("b", 1, "abcd")],
)
def test_the_queue_can_be_reordered(store: Store, job: str, place: int, order: str) -> None:
    ids = {name: add(store, name).id for name in "abcd"}
    store.move(ids[job], place)
    assert names(store.queue()) == list(order)
    add(store, "e")
    assert names(store.queue()) == [*order, "e"]


def test_only_waiting_jobs_are_moved(store: Store) -> None:
    job = add(store)
    store.start(job.id)
    with pytest.raises(BadInput, match=f"the job {job.id} is no longer queued"):
        store.move(job.id, 0)


def test_the_queue_can_be_emptied_and_the_running_job_goes_on(store: Store) -> None:
    running, *_ = [add(store, name) for name in "abc"]
    store.start(running.id)
    assert store.clear_queue() == 2
    assert store.queue() == []
    assert [job.state for job in store.jobs()] == [State.CANCELLED, State.CANCELLED, State.RUNNING]
    assert store.clear_queue() == 0


def test_cancelling_ends_a_waiting_job_and_asks_for_a_running_one(store: Store) -> None:
    waiting, running = add(store), add(store)
    store.start(running.id)
    for job in (waiting, running):
        store.cancel(job.id)
    assert store.job(waiting.id).state is State.CANCELLED
    assert store.job(running.id).state is State.RUNNING
    assert store.to_cancel() == {running.id}
    store.finish(running.id, State.CANCELLED)
    assert store.to_cancel() == set()


def test_a_job_that_was_put_back_is_the_next_to_run(store: Store, tmp_path: Path) -> None:
    ids = {name: add(store, name).id for name in "abc"}
    store.move(ids["b"], 0)
    store.start(ids["b"])
    store.record_result(ids["b"], result(tmp_path))
    store.requeue(ids["b"])
    assert names(store.queue()) == ["b", "a", "c"]
    assert len(store.job(ids["b"]).results) == 1
    store.start(ids["b"])
    store.finish(ids["b"], State.INTERRUPTED, "the program ended")
    store.requeue(ids["b"])
    back = store.job(ids["b"])
    assert (back.state, back.error, back.started, back.finished) == (State.WAITING, "", None, None)
    store.cancel(ids["a"])
    store.requeue(ids["a"])
    assert names(store.queue()) == ["b", "c"]


# Job states


def test_a_job_runs_and_ends_once(store: Store, tmp_path: Path) -> None:
    job = add(store)
    assert store.start(job.id, "cuda:0")
    running = store.job(job.id)
    assert (running.state, running.attempts, running.worker) == (State.RUNNING, 1, "cuda:0")
    assert running.started is not None
    assert running.created <= running.started
    assert store.start(job.id)
    assert store.job(job.id).attempts == 2
    store.record_notice(job.id, "decode_t was halved to 7")
    store.record_notice(job.id, "decode_t was halved to 3")
    store.record_notice(job.id, "decode_t was halved to 7")
    first, second = result(tmp_path), result(tmp_path, 24, tmp_path / "24.gif")
    store.record_result(job.id, first)
    store.record_result(job.id, second)
    store.finish(job.id, State.DONE)
    store.finish(job.id, State.FAILED, "too late")
    store.cancel(job.id)
    assert not store.start(job.id)
    done = store.job(job.id)
    assert (done.state, done.error, done.attempts) == (State.DONE, "", 2)
    assert done.results == (first, second)
    assert done.notice == "decode_t was halved to 7; decode_t was halved to 3"
    assert done.finished is not None


def test_a_cancelled_job_is_not_started(store: Store) -> None:
    job = add(store)
    store.cancel(job.id)
    assert not store.start(job.id)
    assert store.job(job.id).state is State.CANCELLED


def test_jobs_of_a_service_that_is_gone_are_settled(store: Store, tmp_path: Path) -> None:
    done, running, cancelled, waiting = [add(store, name) for name in "abcd"]
    for job in (done, running, cancelled):
        store.start(job.id)
    store.finish(done.id, State.DONE)
    store.record_result(running.id, result(tmp_path))
    store.cancel(cancelled.id)
    assert store.recover() == 2
    states = [store.job(job.id).state for job in (done, running, cancelled, waiting)]
    assert states == [State.DONE, State.INTERRUPTED, State.CANCELLED, State.WAITING]
    assert store.job(running.id).error == "the program ended while the job was running; run it again"
    assert len(store.job(running.id).results) == 1


def progress(step: int, preview: bytes = b"") -> Event:
    return Event("sample", step, 25, 1.0, None, 3.5, "", None, 10**9, preview, 2, 3)


def test_progress_is_the_newest_event_with_the_newest_preview(store: Store) -> None:
    job = add(store)
    assert store.progress(job.id) is None
    store.record_progress(job.id, progress(1))
    assert store.progress(job.id) is None, "it does not run"
    store.start(job.id)
    store.record_progress(job.id, progress(1, b"GIF"))
    assert store.progress(job.id) == progress(1, b"GIF")
    store.record_progress(job.id, progress(2))
    assert store.progress(job.id) == progress(2, b"GIF")
    store.record_progress(job.id, progress(3, b"GIF2"))
    assert store.progress(job.id) == progress(3, b"GIF2")
    store.finish(job.id, State.DONE)
    assert store.progress(job.id) is None


def test_an_unknown_job_is_reported(store: Store) -> None:
    for ask in (store.job, store.resubmit):
        with pytest.raises(BadInput, match="there is no job 'nobody' in "):
            ask("nobody")


# Model status, timings, notes


def test_the_model_is_the_one_that_changed_last(store: Store) -> None:
    assert store.model() == ModelStatus()
    store.record_model("one", ModelStatus("ready", "svd", **ENGINE))
    store.record_model("two", ModelStatus("loading", "svd_xt", **ENGINE, done=5, total=10))
    assert store.model() == ModelStatus("loading", "svd_xt", **ENGINE, done=5, total=10)
    store.drop_models(["two"])
    assert store.model().version == "svd"
    store.drop_models()
    assert store.model() == ModelStatus()


def test_a_model_request_is_kept_until_the_next(store: Store) -> None:
    assert store.model_request() is None
    store.request_model("svd", LoadOptions(device="cuda"))
    first = store.model_request()
    assert first is not None
    assert (first.version, first.options) == ("svd", LoadOptions(device="cuda"))
    assert store.model() == ModelStatus(wanted=True, wanted_version="svd")
    store.request_model("", CHOICE)
    second = store.model_request()
    assert second is not None
    assert second.number > first.number
    assert store.model() == ModelStatus()


def test_the_expected_time_scales_with_the_work(store: Store) -> None:
    assert store.expected_seconds(SETTINGS, CHOICE) is None
    store.record_timing("svd_tiny", ENGINE, Timing.of(SETTINGS, sampling=10, decoding=2, whole=13))

    def seconds(**changes: Any) -> float | None:
        return store.expected_seconds(SampleSettings(**changes), CHOICE)

    assert seconds() == pytest.approx(13)
    assert seconds(num_steps=50) == pytest.approx(23)
    assert seconds(num_frames=28) == pytest.approx(26)
    assert seconds(height=192) == pytest.approx(26)
    assert seconds(num_samples=3) == pytest.approx(39)
    assert seconds(sampler="HeunEDMSampler") == pytest.approx(23)
    assert seconds(guider="IdentityGuider") == pytest.approx(8)
    assert seconds(version="svd") is None
    assert store.expected_seconds(SETTINGS, LoadOptions(device="cuda")) is None
    assert store.expected_seconds(SETTINGS, LoadOptions("native", "cpu", "fp32")) == pytest.approx(13)


def test_one_slow_video_does_not_change_the_expected_time(store: Store) -> None:
    for sampling in (10, 10, 100, 10):
        store.record_timing("svd_tiny", ENGINE, Timing.of(SETTINGS, sampling, decoding=0, whole=sampling))
    assert store.expected_seconds(SETTINGS, CHOICE) == pytest.approx(10)


def test_before_the_first_video_the_time_comes_from_the_speed_of_the_device(store: Store) -> None:
    store.record_speeds({"cpu": {"fp32": 1e10}})
    before = store.expected_seconds(SETTINGS, CHOICE)
    assert before is not None
    store.record_speeds({"cpu": {"fp32": 2e10}})
    assert store.expected_seconds(SETTINGS, CHOICE) == pytest.approx(before / 2)
    store.record_speeds({"cpu": {"fp32": 1e9}})  # measured while another program was running
    store.record_speeds({})
    assert store.expected_seconds(SETTINGS, CHOICE) == pytest.approx(before / 2)
    assert store.expected_seconds(SETTINGS, LoadOptions(device="cuda")) is None
    store.record_timing("svd_tiny", ENGINE, Timing.of(SETTINGS, sampling=10, decoding=2, whole=13))
    assert store.expected_seconds(SETTINGS, CHOICE) == pytest.approx(13)


def test_damaged_speeds_are_measured_again(store: Store) -> None:
    store.write_note("speeds", [1, "fast"])
    assert store.expected_seconds(SETTINGS, CHOICE) is None
    store.record_speeds({"cpu": {"fp32": 1e10}})
    assert store.expected_seconds(SETTINGS, CHOICE) is not None


def test_notes_reach_other_processes(store: Store) -> None:
    assert store.note("status") is None
    store.write_note("status", ["starting", None, 3])
    store.write_note("status", {"ready": True})
    assert Store(store.path).note("status") == {"ready": True}


# Concurrency


def add_many(path: Path, name: str) -> None:
    store = Store(path)
    for index in range(10):
        add(store, f"{name}-{index}")


def test_processes_add_to_a_new_store_at_once(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_many, args=(store.path, str(name))) for name in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    waiting = names(store.queue())
    assert len(waiting) == len(set(waiting)) == 40
    for process in range(4):
        own = [name for name in waiting if name.startswith(f"{process}-")]
        assert own == [f"{process}-{index}" for index in range(10)]


def test_a_job_is_claimed_once_by_many_threads_that_cancel_and_start(store: Store) -> None:
    ids = [add(store).id for _ in range(20)]
    barrier = threading.Barrier(2)

    def cancel() -> list[bool]:
        barrier.wait(10)
        return [store.cancel_waiting(job_id) for job_id in ids]

    def start() -> list[bool]:
        barrier.wait(10)
        return [store.start(job_id) for job_id in reversed(ids)][::-1]

    with ThreadPoolExecutor(2) as pool:
        cancelled, started = pool.submit(cancel), pool.submit(start)
    assert all(one != other for one, other in zip(cancelled.result(), started.result(), strict=True))


# Damaged files and disk errors


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "img2vid.sqlite"
    path.write_text("a letter, and nothing that a database begins with", encoding="utf-8")
    with pytest.raises(StoreError, match=r"the job database .* cannot be used .file is not a database."):
        Store(path).jobs()
    assert path.read_text(encoding="utf-8").startswith("a letter")


def test_a_store_of_a_newer_program_is_left_alone(store: Store) -> None:
    add(store)
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="has version 99, this program supports 4; update img2vid"):
        store.jobs()


def test_a_home_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "home" / "img2vid.sqlite")
    with pytest.raises(StoreError, match="cannot be created"):
        store.jobs()
    with pytest.raises(StoreError, match="the picture cannot be saved"):
        add(store)


def test_a_closed_store_opens_again(store: Store) -> None:
    add(store)
    store.close()
    assert len(store.jobs()) == 1


def test_a_database_that_is_deleted_while_it_is_open_is_created_again(store: Store) -> None:
    add(store)
    try:
        store.path.unlink()
    except PermissionError:
        pytest.skip("Windows does not delete open files")
    assert store.jobs() == []
    add(store, "again")
    assert names(Store(store.path).jobs()) == ["again"]


def test_the_progress_of_a_very_long_run_can_be_stored(store: Store) -> None:
    job = add(store)
    store.start(job.id)
    store.record_progress(job.id, ActiveJob(job, None, started=time.monotonic() - 4e9).progress(progress(1)))
    found = store.progress(job.id)
    assert found is not None and found.elapsed == 1e9
