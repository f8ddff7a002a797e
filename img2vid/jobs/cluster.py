"""Dask cluster that runs jobs: a local one by default, or the user's own if `IMG2VID_SCHEDULER` is set.

Dask is imported only when a cluster is opened, because the import is slow.
"""

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import threading
from asyncio import CancelledError as AsyncCancelledError
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from img2vid import paths
from img2vid.errors import BadInput, Img2VidError

if TYPE_CHECKING:
    from distributed import Security

VARIABLE = "IMG2VID_SCHEDULER"
LOG = "cluster.log"
CONNECT_SECONDS, ANSWER_SECONDS, CLOSE_SECONDS = 10.0, 30.0, 3.0


class ClusterError(Img2VidError):
    """The cluster does not start or does not answer."""


class WorkerLost(Img2VidError):
    """A worker exited while it ran a task."""


class LoopThread:
    """Thread with the event loop of a Dask connection. Closing it leaves nothing running."""

    def __init__(self) -> None:
        # Dask uses Tornado, which needs this kind of loop on Windows.
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="img2vid cluster", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Schedule a coroutine on the loop without waiting for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def wait_for(self, work: Coroutine[Any, Any, Any], seconds: float) -> Any:
        """Run a coroutine on the loop and return its result. Raise TimeoutError after `seconds`."""
        future = self.submit(work)
        try:
            return future.result(timeout=seconds)
        except FutureTimeout as error:
            future.cancel()
            raise TimeoutError(f"no answer in {seconds:g} s") from error

    def close(self) -> None:
        """Cancel all coroutines on the loop and stop the thread."""
        with suppress(Exception):
            self.wait_for(_cancel_others(), CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


async def _cancel_others() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class TaskHandle:
    """Handle of a task on a worker. The result is fetched as soon as it is available."""

    def __init__(self, loop: LoopThread, future: Any) -> None:
        self._loop, self._future = loop, future  # Dask's future
        self._fetched = loop.submit(_fetch(future))

    def done(self) -> bool:
        """Return True if the task has a result or an error. Tasks of a lost worker may never be done."""
        return self._fetched.done()

    def result(self) -> Any:
        """Return or raise the function's outcome. Raise WorkerLost if its worker is lost."""
        from distributed import KilledWorker

        try:
            return self._fetched.result()
        except (KilledWorker, CancelledError, AsyncCancelledError, asyncio.TimeoutError, OSError) as error:
            raise WorkerLost(f"the worker is gone ({type(error).__name__})") from error

    def cancel(self) -> None:
        """Cancel the task. A running function can detect the cancellation."""
        self._loop.submit(_cancel(self._future))


async def _fetch(future: Any) -> Any:
    return await future


async def _cancel(future: Any) -> None:
    with suppress(Exception):  # a lost connection ends the task too
        await future.cancel()


class Cluster:
    """Connection to a Dask scheduler. `process` is the local cluster's process, or None for the user's own cluster."""

    def __init__(self, loop: LoopThread, client: Any, process: "subprocess.Popen[str] | None") -> None:
        self._loop, self._client, self._process = loop, client, process
        self.topic: str = client.id
        """Dask event topic of this connection. Dask drops its events some time after the connection is closed."""

    @property
    def is_up(self) -> bool:
        """True while the scheduler is connected."""
        return self._client.status == "running" and (self._process is None or self._process.poll() is None)

    def workers(self) -> set[str]:
        """Return the addresses of all workers. Raise ClusterError if the scheduler does not answer."""

        async def addresses() -> set[str]:
            return set(await self._client.nthreads())

        try:
            return self._loop.wait_for(addresses(), ANSWER_SECONDS)
        except Exception as error:
            raise ClusterError(f"the scheduler does not answer ({type(error).__name__})") from error

    def listen(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        """Call `on_event` in another thread with every worker event; its "worker" is the sender's address."""

        def handle(event: tuple[float, dict[str, Any]]) -> None:
            if "kind" in event[1]:  # the scheduler logs its own events to this topic too
                on_event(event[1])

        async def subscribe() -> None:
            self._client.subscribe_topic(self.topic, handle)

        self._loop.wait_for(subscribe(), ANSWER_SECONDS)

    def submit(self, worker: str, function: Callable[..., Any], *arguments: Any) -> TaskHandle:
        """Run a function on one worker."""
        import dask.config

        async def submit() -> Any:
            # Pictures are sent with their jobs and may exceed Dask's warning threshold.
            large: dict[str, Any] = {"distributed.admin.large-graph-warning-threshold": "1GB"}
            with dask.config.set(large):  # pyright: ignore[reportUnknownMemberType]
                return self._client.submit(function, *arguments, workers=[worker], pure=False)

        return TaskHandle(self._loop, self._loop.wait_for(submit(), ANSWER_SECONDS))


def scheduler_address() -> str | None:
    """Return the address of the user's scheduler, or None if unset. Raise BadInput if it is invalid."""
    address = os.environ.get(VARIABLE, "").strip()
    if not address:
        return None
    if not re.fullmatch(r"(tcp|tls)://(\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):\d{1,5}", address):
        raise BadInput(f"{VARIABLE} must be like tcp://host:8786 or tls://host:8786, got {address!r}")
    return address


@contextmanager
def open_cluster(home: Path) -> Generator[Cluster, None, None]:
    """Open the user's cluster, or a local one that logs to `cluster.log` in `home`, for the block.

    Raise ClusterError if it cannot be reached or does not start.
    """
    address = scheduler_address()
    if address is not None:
        with _connected(address, None, None) as cluster:
            yield cluster
        return
    with _local_cluster(home) as (process, address, security), _connected(address, security, process) as cluster:
        yield cluster


@contextmanager
def _connected(
    address: str, security: "Security | None", process: "subprocess.Popen[str] | None"
) -> Generator[Cluster, None, None]:
    from distributed import Client

    # The service reports lost connections itself.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    clients: list[Any] = []

    async def connect() -> None:
        options: dict[str, Any] = {"security": security, "timeout": CONNECT_SECONDS, "set_as_default": False}
        clients.append(Client(address, asynchronous=True, **options))
        await clients[0]

    async def disconnect() -> None:
        await clients[0].close()

    loop = LoopThread()
    try:
        try:
            loop.wait_for(connect(), 2 * CONNECT_SECONDS)
        except TypeError as error:  # raised by Dask if security is missing
            raise ClusterError(
                f"the scheduler {address} needs a certificate, and none is configured; see docs/cluster.md"
            ) from error
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ClusterError(f"the scheduler {address} does not answer ({reason})") from error
        yield Cluster(loop, clients[0], process)
    finally:
        with suppress(Exception):
            loop.wait_for(disconnect(), CLOSE_SECONDS)
        loop.close()


@contextmanager
def _local_cluster(home: Path) -> Generator[tuple["subprocess.Popen[str]", str, "Security"], None, None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOG).open("w", encoding="utf-8") as log, _local_process(log) as process:
        if process.stdout is None:
            raise AssertionError("stdout is a pipe")
        line = process.stdout.readline()
        if not line:
            raise ClusterError(f"the workers did not start; see {home / LOG}")
        connection = json.loads(line)
        from distributed import Security

        yield process, connection["address"], Security(require_encryption=True, **connection["key"])


@contextmanager
def _local_process(log: IO[str]) -> Generator["subprocess.Popen[str]", None, None]:
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(paths.PROJECT), *inherited])}
    # Ctrl-C in the terminal must reach only the main program, which then closes the cluster.
    windows = sys.platform == "win32"
    process = subprocess.Popen(
        [sys.executable, "-m", "img2vid.jobs.local_cluster"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        text=True,
        start_new_session=not windows,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if windows else 0,
    )
    try:
        yield process
    finally:
        with suppress(OSError):
            process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
