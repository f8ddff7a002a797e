"""The cluster on this machine, as a process of its own: `python -m img2vid.jobs.local_cluster`.

It prints one line of JSON, its address and the key to it, and runs until its standard input is closed, which happens
also when the process that started it is killed. Scheduler and workers then end with it. They listen on the loopback
address alone, and nobody who lacks the key, which exists only in memory, is let in.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import AsyncExitStack
from typing import Any

HOST = "127.0.0.1"
PROBE_SECONDS = 2.0
"""Seconds for an orderly end, in which workers remove their temporary files."""
CONFIG: dict[str, Any] = {
    # Dask lets numerical libraries have one thread; here a worker is the only one, and takes what the machine has.
    "distributed.nanny.pre-spawn-environ": {},
    # There is no dashboard, and no page of any kind.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Previews travel as events; of those, the scheduler keeps only so many.
    "distributed.admin.low-level-log-length": 50,
    "distributed.scheduler.work-stealing": False,
    # That a worker here is gone shows at once; a machine that slept must not lose those that are well.
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
}


def worker_environments() -> dict[str, dict[str, str]]:
    """The environment of each worker, by name: one worker for each card that torch can use, or one in all.

    A worker with a card sees no other, so that nothing it does takes memory there.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = visible.split(",") if visible is not None else _installed_cards()
    # One card needs no distribution; only with several it is worth the seconds to ask torch whether it can use them.
    count = _usable_cards() if len(cards) > 1 else 1
    if count <= 1:
        return {"local": {}}
    return {f"cuda:{index}": {"CUDA_VISIBLE_DEVICES": card} for index, card in enumerate(cards[:count])}


def _installed_cards() -> list[str]:
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return found.stdout.split()


def _usable_cards() -> int:
    """Asked in a process of its own: this one shall stay small."""
    program = "from img2vid.engine.memory.device import count_cards; print(count_cards())"
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(asked.stdout)


async def serve() -> None:
    """Runs scheduler and workers until standard input is closed."""
    import dask.config
    from distributed import Nanny, Scheduler, Security

    # After the import, by which Dask's defaults have come.
    dask.config.set(CONFIG)  # pyright: ignore[reportUnknownMemberType]
    security = Security.temporary()  # pyright: ignore[reportUnknownMemberType]
    options: dict[str, Any] = {
        "host": HOST,
        "protocol": "tls",
        "security": security,
        "dashboard": False,
        "dashboard_address": f"{HOST}:0",
    }
    worker_options: dict[str, Any] = {"nthreads": 1, "memory_limit": 0, **options}
    async with AsyncExitStack() as stack:
        scheduler = Scheduler(port=0, **options)
        await stack.enter_async_context(scheduler)
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
        # A worker in the middle of a step cannot be asked to leave; it ends with this process.
        threading.Timer(PROBE_SECONDS, os._exit, (0,)).start()


def main() -> None:
    """The process; it must be its own main program, as Dask's workers import that anew."""
    asyncio.run(serve())
    os._exit(0)


if __name__ == "__main__":
    main()
