"""Scheduler and two workers started by hand as in docs/cluster.md, without a shared disk."""

import contextlib
import os
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
    children = psutil.Process(process.pid).children(recursive=True)
    for each in [process, *children]:
        with contextlib.suppress(psutil.Error):
            each.kill()
    process.wait(10)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
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
    options = ("--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--local-directory", ".")
    workers = [
        start(name, "worker", f"tls://{address}", *options, "--dashboard-address", "127.0.0.1:0", "--name", name)
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
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
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
        start(
            "scheduler", "scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"
        )
        until(lambda: service.status() == "no worker is connected; jobs wait until one joins")
        assert service.failure() is None
        service.cancel(job.id)
        assert client.end(job).state is State.CANCELLED
    finally:
        service.stop()
