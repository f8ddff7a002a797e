"""Many tabs at once."""

import threading
import time

import psutil

from faults.server import PICTURE, Server
from faults.session import Session
from img2vid.jobs.job import State

PAGES = ("Compare", "Gallery", "Sweeps", "Models", "System", "Sample")


def sessions(server: Server, count: int, seconds: float = 300.0) -> None:
    """Open tabs that change pages and settings for five minutes and make a video each; compare memory and errors."""
    server.start()
    server.makes_the_next()
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    with server.open() as first:
        first.press(f"example_{PICTURE.stem}")
        first.make_small()
    errors: list[str] = []
    runs: list[int] = []
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=visit, args=(server.address, end, errors, runs)) for _ in range(count)]
    sizes = [process.memory_info().rss]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(10)
        sizes.append(process.memory_info().rss)
    ended = [server.ends(job) for job in server.store.jobs(limit=-1)]
    print(f"{sum(runs):,} page runs in {len(runs)} tabs, {len(ended)} jobs, {len(errors)} errors {errors[:5]}")
    print(f"memory of the server every minute: {', '.join(f'{size / 1e6:.0f}' for size in sizes[::6])} MB")
    assert not errors and all(job.state is State.DONE for job in ended)
    server.done = ended
    server.makes_the_next()


def visit(address: str, end: float, errors: list[str], runs: list[int]) -> None:
    """Use one tab until the end: make a video, change pages and settings."""
    try:
        with Session(address) as session:
            session.press("dice")
            session.press("sample")
            errors.extend(session.errors())
            while time.monotonic() < end:
                for page in PAGES:
                    session.go(page)
                    errors.extend(session.errors())
                    session.listen(1.0)
                session.press("dice")
            runs.append(session.runs)
    except Exception as error:  # noqa: BLE001  # each is a result of the trial
        errors.append(f"{type(error).__name__}: {error}"[:500])
