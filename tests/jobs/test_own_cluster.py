"""Scheduler and two workers started by hand as in docs/cluster.md, without a shared disk."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dask.config
import psutil
import pytest
import stand_ins
from job_client import Client, cluster_processes, kill, until, worker_processes

from img2vid.jobs import wait
from img2vid.jobs.job import State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store

DASK = [sys.executable, "-m", "dask"]


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Return the variables of docs/cluster.md for a certificate and its key, made by Dask as OpenSSL may be missing."""
    from distributed import Security

    security = Security.temporary()
    files = {"cert": security.tls_client_cert, "key": security.tls_client_key}
    for name, text in files.items():
        (tmp_path / f"{name}.pem").write_text(text, encoding="utf-8")
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "true")
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TLS__CA_FILE", str(tmp_path / "cert.pem"))
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        for name in files:
            variable = f"DASK_DISTRIBUTED__COMM__TLS__{role}__{name.upper()}"
            monkeypatch.setenv(variable, str(tmp_path / f"{name}.pem"))
    dask.config.refresh()  # this process has already read its variables
    yield
    monkeypatch.undo()
    dask.config.refresh()


OPTIONS = ("--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--local-directory", ".")
"""Options of a worker as in docs/cluster.md."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def scheduler_at(port: int) -> tuple[str, ...]:
    """Return the arguments of a scheduler at this port."""
    return ("scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(keys: None, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a part of the cluster in its own folder. All parts are ended at teardown."""
    with contextlib.ExitStack() as stack:

        def run(name: str, *arguments: str) -> "subprocess.Popen[bytes]":
            folder = tmp_path / name
            folder.mkdir()
            log = stack.enter_context((folder / "log").open("wb"))
            process = subprocess.Popen([*DASK, *arguments], cwd=folder, stdout=log, stderr=log)
            stack.callback(end, process)
            return process

        yield run


def end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    for each in [process, *children]:
        with contextlib.suppress(psutil.Error):
            each.kill()
    process.wait(10)


def test_ten_jobs_spread_over_two_workers_of_which_one_is_killed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "scheduler.json"
    start(
        "scheduler",
        *("scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
        *("--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)),
    )
    address = until(lambda: file.is_file() and file.read_text(encoding="utf-8").partition("tls://")[2].split('"')[0])
    workers = [
        start(name, "worker", f"tls://{address}", *OPTIONS, "--dashboard-address", "127.0.0.1:0", "--name", name)
        for name in ("render-1", "render-2")
    ]
    monkeypatch.setenv("IMG2VID_SCHEDULER", f"tls://{address}")
    assert wait.service_is_running()
    before = cluster_processes()
    client = Client(Store(tmp_path / "home" / "img2vid.sqlite"), tmp_path)
    service = JobService(client.store, make=stand_ins.make, get_worker_info=stand_ins.get_worker_info)
    try:
        service.start()
        assert service.is_remote()
        jobs = [client.stand_in(f"gated-{number}") for number in range(10)]
        for job in jobs[:2]:
            client.at(job, "sample")
        assert sorted(name for name, _, _ in service.workers()) == ["render-1", "render-2"]
        (process,) = worker_processes(workers[0].pid)
        kill(process)
        lost = until(lambda: next((job for job in jobs[:2] if client.store.job(job.id).attempts == 2), None))
        client.open_gate()
        done = [client.end(job) for job in jobs]
    finally:
        service.stop()
    assert {job.state for job in done} == {State.DONE}
    assert [job.attempts for job in done] == [2 if job.id == lost.id else 1 for job in jobs]
    assert len(client.files()) == 30
    assert cluster_processes() == before, "a cluster of one's own needs no other"
    for folder in ("render-1", "render-2"):
        assert not list((tmp_path / folder).rglob("*.mp4"))


def test_a_scheduler_that_comes_later_is_found(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("IMG2VID_SCHEDULER", f"tls://127.0.0.1:{port}")
    monkeypatch.setattr("img2vid.jobs.cluster.CONNECT_SECONDS", 0.3)
    monkeypatch.setattr("img2vid.jobs.service.RETRY_AFTER", 0.3)
    client = Client(Store(tmp_path / "home" / "img2vid.sqlite"), tmp_path)
    service = JobService(client.store, make=stand_ins.make, get_worker_info=stand_ins.get_worker_info)
    try:
        service.start()
        job = client.stand_in("quick")
        sentence = until(service.failure)
        assert sentence.startswith(f"the scheduler tls://127.0.0.1:{port} does not answer")
        assert service.status() == sentence
        start("scheduler", *scheduler_at(port))
        until(lambda: service.status() == "no worker is connected; jobs wait until one joins")
        assert service.failure() is None
        service.cancel(job.id)
        assert client.end(job).state is State.CANCELLED
    finally:
        service.stop()


def test_a_killed_scheduler_comes_back_at_its_port(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask ends its workers with it. The job that was running restarts on the first that is started again."""
    port = free_port()
    address = f"tls://127.0.0.1:{port}"
    scheduler = start("scheduler", *scheduler_at(port))
    worker = ("worker", address, *OPTIONS, "--dashboard-address", "127.0.0.1:0", "--name", "render")
    start("render", *worker)
    monkeypatch.setenv("IMG2VID_SCHEDULER", address)
    monkeypatch.setattr("img2vid.jobs.service.RETRY_AFTER", 0.3)
    client = Client(Store(tmp_path / "home" / "img2vid.sqlite"), tmp_path)
    service = JobService(client.store, make=stand_ins.make, get_worker_info=stand_ins.get_worker_info)
    try:
        service.start()
        done = client.end(client.stand_in("quick"))
        running, waiting = client.stand_in("gated-1"), client.stand_in("gated-2")
        client.at(running, "sample")
        end(scheduler)
        assert " does not answer (" in until(service.failure)
        assert client.store.job(running.id).state is State.RUNNING
        start("scheduler again", *scheduler_at(port))
        until(lambda: service.status() == "no worker is connected; jobs wait until one joins")
        client.open_gate()
        start("render again", *worker)
        ended = [client.end(running), client.end(waiting)]
    finally:
        service.stop()
    assert [job.state for job in (done, *ended)] == [State.DONE] * 3
    assert [job.attempts for job in ended] == [2, 1]
    assert "the worker was lost in the stage 'sample'" in ended[0].notice
    assert len(client.files()) == 9
