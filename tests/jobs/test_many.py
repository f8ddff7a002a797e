"""Many programs, at once and in sequence: each job runs once, independent of the program and of the active service."""

import multiprocessing
import threading
from pathlib import Path

import pytest
import stand_ins
from job_client import Client, cluster_processes, until

from img2vid.gallery.recovery import recover
from img2vid.jobs.job import State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store

PROCESSES, JOBS = 8, 50


def add_jobs(path: Path, folder: Path, process: int) -> None:
    client = Client(Store(path), folder)
    for index in range(process, JOBS, PROCESSES):
        client.stand_in(f"quick-{index}")


@pytest.mark.takes_long("eight processes start at once")
def test_fifty_jobs_of_eight_processes_run_once_each(client: Client) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = (client.store.path, client.folder)
    processes = [context.Process(target=add_jobs, args=(*arguments, number)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    jobs = [job for job in client.store.jobs(limit=500) if job.folder == client.folder / "videos"]
    assert len(jobs) == JOBS
    done = [client.end(job) for job in jobs]
    assert {(job.state, job.attempts, len(job.results)) for job in done} == {(State.DONE, 1, 1)}
    assert sorted(client.runs()) == sorted(f"quick-{index}" for index in range(JOBS))
    assert len(client.files()) == 3 * JOBS


def test_of_two_services_one_is_active_and_the_other_takes_over(tmp_path: Path) -> None:
    before = len(cluster_processes())
    store = Store(tmp_path / "home" / "img2vid.sqlite")
    client = Client(store, tmp_path)
    first, second = (
        JobService(Store(store.path), make=stand_ins.make, get_worker_info=stand_ins.get_worker_info) for _ in range(2)
    )
    try:
        first.start()
        until(lambda: first.status() is None)
        second.start()
        job = client.stand_in("gated")
        client.at(job, "sample")
        assert len(cluster_processes()) == before + 1
        assert (second.status(), second.workers()) == (None, first.workers())
        first.stop(requeue=True)
        client.open_gate()
        done = client.end(job)
        assert (done.state, done.attempts) == (State.DONE, 2)
        assert client.runs() == ["gated", "gated"]
    finally:
        first.stop()
        second.stop()


def test_an_unusable_home_is_reported_and_used_once_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2vid.jobs.service.RETRY_AFTER", 0.1)
    (tmp_path / "home").write_text("a file where the folder was", encoding="utf-8")
    client = Client(Store(tmp_path / "home" / "img2vid.sqlite"), tmp_path)
    service = JobService(client.store, make=stand_ins.make, get_worker_info=stand_ins.get_worker_info)
    try:
        service.start()
        assert "the home failed with" in until(service.failure)
        assert service.status() == service.failure()
        (tmp_path / "home").unlink()
        assert client.end(client.stand_in("quick")).state is State.DONE
        assert service.status() is None
    finally:
        service.stop()


def test_no_job_runs_on_a_damaged_database_until_it_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2vid.jobs.service.RETRY_AFTER", 0.1)
    client = Client(Store(tmp_path / "home" / "img2vid.sqlite"), tmp_path)
    for index in range(60):  # several pages
        client.stand_in(f"quick-{index}")
    client.store.clear_queue()
    client.stand_in("quick")
    client.store.close()
    with client.store.path.open("r+b") as file:
        file.seek(-8192, 2)
        file.write(b"\xa5" * 4096)
    service = JobService(client.store, make=stand_ins.make, get_worker_info=stand_ins.get_worker_info)
    try:
        service.start()
        assert "it is damaged, so rebuild it" in until(service.failure)
        assert client.runs() == []
        recover(client.store, [], lambda _: None, is_active=True)
        assert client.end(client.stand_in("quick-last")).state is State.DONE
        assert service.status() is None
    finally:
        service.stop()


def test_a_service_that_is_stopped_leaves_no_process_and_says_what_was_interrupted(tmp_path: Path) -> None:
    before = {process.pid for process in cluster_processes()}
    threads = set(threading.enumerate())
    client = Client(Store(tmp_path / "home" / "img2vid.sqlite"), tmp_path)
    service = JobService(client.store, make=stand_ins.make, get_worker_info=stand_ins.get_worker_info)
    service.start()
    job = client.stand_in("gated")
    client.at(job, "sample")
    service.stop()
    stopped = client.store.job(job.id)
    assert stopped.state is State.INTERRUPTED
    assert stopped.error == "the program was closed while the job was running; run it again"
    assert {process.pid for process in cluster_processes()} == before
    assert not [thread for thread in set(threading.enumerate()) - threads if "desk" in thread.name]
    service.stop()
