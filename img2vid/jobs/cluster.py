"""Where jobs run: a cluster on this machine by default, or the user's own, whose scheduler `IMG2VID_SCHEDULER` names.

Dask is imported only when a cluster is opened, as that takes a moment.
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
    """The cluster does not start, or does not answer."""


class WorkerLost(Img2VidError):
    """A worker went away with what it was doing."""


class LoopThread:
    """A thread with the event loop in which a connection to Dask lives; nothing of it stays when it is closed."""

    def __init__(self) -> None:
        # Tornado, on which Dask stands, needs this kind of loop on Windows.
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="img2vid cluster", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Lets something happen there, and does not wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def wait_for(self, work: Coroutine[Any, Any, Any], seconds: float) -> Any:
        """Lets something happen there and waits for its result; TimeoutError where that takes too long."""
        begun = self.submit(work)
        try:
            return begun.result(timeout=seconds)
        except FutureTimeout as error:
            begun.cancel()
            raise TimeoutError(f"no answer in {seconds:g} s") from error

    def close(self) -> None:
        """Ends the thread and what still happens there."""
        with suppress(Exception):
            self.wait_for(_end_others(), CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


async def _end_others() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class TaskHandle:
    """What a worker was asked for; it is fetched as soon as it is there."""

    def __init__(self, line: LoopThread, future: Any) -> None:
        self._line, self._future = line, future  # Dask's future
        self._fetched = line.submit(_fetch(future))

    def done(self) -> bool:
        """Whether there is a result or an error; what a lost worker was asked for may never be done."""
        return self._fetched.done()

    def result(self) -> Any:
        """What the function returned or raised; WorkerLost where that is gone with its worker."""
        from distributed import KilledWorker

        try:
            return self._fetched.result()
        except (KilledWorker, CancelledError, AsyncCancelledError, asyncio.TimeoutError, OSError) as error:
            raise WorkerLost(f"the worker is gone ({type(error).__name__})") from error

    def cancel(self) -> None:
        """Lets go of it; a function that runs can see that nobody wants its result any more."""
        self._line.submit(_cancel(self._future))


async def _fetch(future: Any) -> Any:
    return await future


async def _cancel(future: Any) -> None:
    with suppress(Exception):  # where the connection is lost, so is the order
        await future.cancel()


class Cluster:
    """A connection to a scheduler; `process` is the local cluster's, None for the user's own."""

    def __init__(self, line: LoopThread, client: Any, process: "subprocess.Popen[str] | None") -> None:
        self._line, self._client, self._process = line, client, process
        self.topic: str = client.id
        """Where this connection hears events; Dask forgets them some time after it was closed."""

    @property
    def is_up(self) -> bool:
        """Whether the connection holds."""
        return self._client.status == "running" and (self._process is None or self._process.poll() is None)

    def workers(self) -> set[str]:
        """The addresses of all workers; ClusterError where the scheduler does not tell."""

        async def ask() -> set[str]:
            return set(await self._client.nthreads())

        try:
            return self._line.wait_for(ask(), ANSWER_SECONDS)
        except Exception as error:
            raise ClusterError(f"the scheduler does not answer ({type(error).__name__})") from error

    def listen(self, hear: Callable[[dict[str, Any]], None]) -> None:
        """Calls `hear` with every event of a worker, in another thread; "worker" in it is the sender's address."""

        def handle(event: tuple[float, dict[str, Any]]) -> None:
            if "kind" in event[1]:  # the scheduler itself writes about this connection here too
                hear(event[1])

        async def subscribe() -> None:
            self._client.subscribe_topic(self.topic, handle)

        self._line.wait_for(subscribe(), ANSWER_SECONDS)

    def submit(self, worker: str, function: Callable[..., Any], *arguments: Any) -> TaskHandle:
        """Lets one worker run a function."""
        import dask.config

        async def submit() -> Any:
            # Pictures travel with their jobs, whatever their size.
            large: dict[str, Any] = {"distributed.admin.large-graph-warning-threshold": "1GB"}
            with dask.config.set(large):  # pyright: ignore[reportUnknownMemberType]
                return self._client.submit(function, *arguments, workers=[worker], pure=False)

        return TaskHandle(self._line, self._line.wait_for(submit(), ANSWER_SECONDS))


def scheduler_address() -> str | None:
    """The address of the user's scheduler, or None; BadInput where it is none."""
    address = os.environ.get(VARIABLE, "").strip()
    if not address:
        return None
    if not re.fullmatch(r"(tcp|tls)://(\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):\d{1,5}", address):
        raise BadInput(f"{VARIABLE} must be like tcp://host:8786 or tls://host:8786, got {address!r}")
    return address


@contextmanager
def open_cluster(home: Path) -> Generator[Cluster, None, None]:
    """A cluster for the block: the user's, or one of its own whose output goes to `cluster.log` in `home`.

    Raises ClusterError where it cannot be reached or does not start.
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

    # What Dask has to say about lost connections, the service tells in its own words.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    clients: list[Any] = []

    async def connect() -> None:
        options: dict[str, Any] = {"security": security, "timeout": CONNECT_SECONDS, "set_as_default": False}
        clients.append(Client(address, asynchronous=True, **options))
        await clients[0]

    async def disconnect() -> None:
        await clients[0].close()

    line = LoopThread()
    try:
        try:
            line.wait_for(connect(), 2 * CONNECT_SECONDS)
        except TypeError as error:  # so Dask puts it
            raise ClusterError(
                f"for the scheduler {address} a certificate is needed, and none is named; docs/cluster.md says how"
            ) from error
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ClusterError(f"the scheduler {address} does not answer ({reason})") from error
        yield Cluster(line, clients[0], process)
    finally:
        with suppress(Exception):
            line.wait_for(disconnect(), CLOSE_SECONDS)
        line.close()


@contextmanager
def _local_cluster(home: Path) -> Generator[tuple["subprocess.Popen[str]", str, "Security"], None, None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOG).open("w", encoding="utf-8") as log, _local_process(log) as process:
        if process.stdout is None:
            raise AssertionError("the pipe was asked for")
        line = process.stdout.readline()
        if not line:
            raise ClusterError(f"the workers did not start; {home / LOG} says why")
        told = json.loads(line)
        from distributed import Security

        yield process, told["address"], Security(require_encryption=True, **told["key"])


@contextmanager
def _local_process(log: IO[str]) -> Generator["subprocess.Popen[str]", None, None]:
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(paths.PROJECT), *inherited])}
    # Ctrl-C in the terminal is for the program that was started there; it closes the cluster in its own time.
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
