"""Local Dask cluster in its own process: `python -m img2vid.jobs.local_cluster`.

It prints its address and TLS key as one line of JSON and runs until its standard input is closed, which also happens
if the parent process is killed. Scheduler and workers exit with it. They listen only on the loopback address and
require the key, which exists only in memory.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import AsyncExitStack
from typing import Any

from img2vid.hardware import find_cards

HOST = "127.0.0.1"
SHUTDOWN_SECONDS = 2.0
"""Grace period in seconds for shutdown, in which workers remove their temporary files."""
HANDSHAKE_SECONDS = 10.0
"""Time in seconds for the TLS handshake of a new connection, which proves that it has the certificate."""
MOST_HANDSHAKES = 100
"""Maximum number of connections with an unfinished handshake; far below the limit of open files of a process."""
CONFIG: dict[str, Any] = {
    # Dask limits numerical libraries to one thread; here a worker runs alone and may use all threads.
    "distributed.nanny.pre-spawn-environ": {},
    # Dask opens an HTTP port in each process; without routes until `close_http` has closed it.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Previews are sent as events; limit how many of them the scheduler stores.
    "distributed.admin.low-level-log-length": 50,
    "distributed.scheduler.work-stealing": False,
    # Lost local workers are noticed at once; a timeout would drop healthy ones after the machine sleeps.
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
}


def worker_environments() -> dict[str, dict[str, str]]:
    """Return the environment of each worker by name: one worker per GPU that torch can use, else a single one.

    Each worker sees only its own GPU, so that it uses no memory on the others.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = visible.split(",") if visible is not None else [str(card.index) for card in find_cards().cards]
    # Counting usable GPUs with torch takes seconds and matters only if there are several.
    count = _usable_cards() if len(cards) > 1 else 1
    if count <= 1:
        return {"local": {}}
    return {f"cuda:{index}": {"CUDA_VISIBLE_DEVICES": card} for index, card in enumerate(cards[:count])}


def _usable_cards() -> int:
    """Count the GPUs that torch can use, in a subprocess so that torch is not loaded here."""
    program = "from img2vid.engine.memory.device import count_cards; print(count_cards())"
    counted = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(counted.stdout)


def close_http(node: Any) -> None:
    """Close the HTTP port of a scheduler or worker, the only one that does not require the key."""
    node.http_server.stop()


def limit_handshakes() -> None:
    """Close connections to this process's Dask ports that are late with the handshake, or the oldest of too many."""
    from distributed.comm import tcp

    listener: Any = tcp.TLSListener
    prepare, waiting = listener._prepare_stream, dict[Any, None]()

    async def prepare_in_time(self: Any, stream: Any, address: Any) -> Any:
        if len(waiting) >= MOST_HANDSHAKES:
            oldest = next(iter(waiting))
            del waiting[oldest]
            oldest.close()
        waiting[stream] = None
        timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, stream.close)
        try:
            return await prepare(self, stream, address)
        finally:
            timer.cancel()
            waiting.pop(stream, None)

    listener._prepare_stream = prepare_in_time


async def serve() -> None:
    """Run the scheduler and the workers until standard input is closed."""
    import dask.config
    from distributed import Nanny, Scheduler, Security, WorkerPlugin
    from distributed.protocol.pickle import dumps  # pyright: ignore[reportUnknownVariableType]

    class CloseHttp(WorkerPlugin):
        """Plugin that closes and limits the worker's ports before it registers."""

        def setup(self, worker: Any) -> None:
            close_http(worker)
            limit_handshakes()

    limit_handshakes()
    # After the import, which sets Dask's defaults.
    dask.config.set(CONFIG)  # pyright: ignore[reportUnknownMemberType]
    security = Security.temporary()  # pyright: ignore[reportUnknownMemberType]
    options: dict[str, Any] = {
        "host": HOST,
        "protocol": "tls",
        "security": security,
        "dashboard": False,
        "dashboard_address": f"{HOST}:0",
    }
    worker_options: dict[str, Any] = {"nthreads": 1, "memory_limit": 0, "plugins": (dumps(CloseHttp()),), **options}
    async with AsyncExitStack() as stack:
        scheduler = Scheduler(port=0, **options)
        await stack.enter_async_context(scheduler)
        close_http(scheduler)
        nannies = [
            Nanny(scheduler.address, name=name, env=environment, **worker_options)
            for name, environment in worker_environments().items()
        ]
        for nanny in nannies:
            await stack.enter_async_context(nanny)
        key = {name: getattr(security, name) for name in ("tls_ca_file", "tls_client_cert", "tls_client_key")}
        sys.stdout.write(json.dumps({"address": scheduler.address, "key": key}) + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        # A worker in the middle of a step does not respond; it is ended with this process.
        threading.Timer(SHUTDOWN_SECONDS, os._exit, (0,)).start()


def main() -> None:
    """Run the cluster. It must be a main program of its own, because Dask's workers import that again."""
    asyncio.run(serve())
    os._exit(0)


if __name__ == "__main__":
    main()
