"""Processes killed with `kill -9`: worker, cluster and the program with the active service."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import stand_ins
from job_client import Client, cluster_processes, kill, until, worker_processes

from img2vid.jobs.job import State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.media.videos import read_frames


@pytest.mark.takes_long("a worker is killed and another one starts")
@pytest.mark.parametrize(
    ("stage", "settings"),
    [("sample", {"num_steps": 16}), ("decode", {"num_frames": 8, "decode_t": 1, "height": 96, "width": 96})],
)
def test_a_job_whose_worker_is_killed_finishes_by_itself(client: Client, stage: str, settings: dict[str, Any]) -> None:
    job = client.photo(**settings)
    client.at(job, stage, 2)
    (process,) = worker_processes()
    kill(process)
    done = client.end(job)
    assert (done.state, done.attempts, done.error) == (State.DONE, 2, "")
    assert done.notice.startswith(f"the worker was lost in the stage '{stage}', step ")
    notices = done.notice.split("; ")
    assert notices[1] == "the job was restarted"
    # Latents are not sampled twice.
    sampled = ["reused latents that an earlier attempt sampled"]
    assert notices[2:] == (sampled if stage == "decode" else [])
    assert len(client.files()) == 3
    assert len(read_frames(done.results[0].video)) == job.settings.num_frames
    assert worker_processes() != [process]


def test_a_job_that_kills_its_worker_twice_fails_and_the_others_go_on(client: Client) -> None:
    job, other = client.stand_in("dying"), client.stand_in("quick")
    failed = client.end(job)
    assert client.runs().count("dying") == 2
    assert (failed.state, failed.attempts, failed.error_type) == (State.FAILED, 2, "WorkerLost")
    assert failed.error == (
        "the worker was lost 2 times, the last time at the start; "
        "if memory ran out, make the video smaller or lower decode_t"
    )
    assert client.end(other).state is State.DONE


def test_a_cancelled_job_whose_worker_is_killed_stays_cancelled(client: Client, service: JobService) -> None:
    job = client.stand_in("gated")
    client.at(job, "sample")
    (process,) = worker_processes()
    process.suspend()  # so that it cannot finish its current step
    service.cancel(job.id)
    kill(process)
    assert client.end(job).state is State.CANCELLED
    assert client.runs() == ["gated"]


def test_a_cluster_that_is_killed_is_opened_again(client: Client) -> None:
    job = client.stand_in("gated")
    client.at(job, "sample")
    (process,) = cluster_processes()
    workers = worker_processes()
    kill(process)
    client.open_gate()
    done = client.end(job)
    assert (done.state, done.attempts) == (State.DONE, 2)
    assert cluster_processes() != [process]
    psutil.wait_procs(workers, timeout=60)
    assert not any(worker.is_running() for worker in workers)


# The program with the active service

PROGRAM = """
import sys, time
from pathlib import Path
import stand_ins
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
JobService(Store(Path(sys.argv[1])), make=stand_ins.make, get_worker_info=stand_ins.get_worker_info).start()
time.sleep(600)
"""


def test_when_the_service_is_killed_no_process_stays_and_the_next_one_goes_on(tmp_path: Path) -> None:
    client = Client(Store(tmp_path / "home" / "img2vid.sqlite"), tmp_path)
    running, waiting = client.stand_in("gated"), client.stand_in("quick")
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(client.store.path)]) as program:
        try:
            client.at(running, "sample", 2)
            processes = [*cluster_processes(program.pid), *worker_processes(program.pid)]
            assert len(processes) == 2
            reserve = JobService(client.store, make=stand_ins.make, get_worker_info=stand_ins.get_worker_info)
            reserve.start()
            assert reserve.workers() == [until(reserve.workers)[0]]
        finally:
            program.kill()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []
    try:
        interrupted = client.end(running)
        assert (interrupted.state, interrupted.attempts) == (State.INTERRUPTED, 1)
        assert interrupted.error == "the program ended while the job was running; run it again"
        assert client.end(waiting).state is State.DONE
        client.open_gate()
        again = client.end(reserve.resubmit(running.id))
        assert (again.state, len(again.results)) == (State.DONE, 1)
        assert client.runs() == ["gated", "quick", "gated"]
    finally:
        reserve.stop()
