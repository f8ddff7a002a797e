"""Requests per second that the HTTP API answers on loopback, and their times.

Starts `img2vid serve` on a new home with some ended jobs, and asks for one kind of response after the other over
several connections, at a fixed rate or as fast as possible. Errors are responses other than 2xx and broken connections.
The last column is the server's processor time per request, which hardly depends on what else the machine does.
"""

import argparse
import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import psutil

from benchmarks.results import Row
from img2vid import paths
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings

COLUMNS = {
    "request": "",
    "requests": "",
    "errors": "",
    "per_second": ".0f",
    "median_ms": ".1f",
    "slowest_percent_ms": ".1f",
    "cpu_ms": ".1f",
}
PICTURE = paths.PROJECT / "assets" / "dandelion.jpg"


@contextmanager
def server() -> Generator[tuple[int, psutil.Process], None, None]:
    """Run the API and yield its port and process."""
    command = [sys.executable, "-m", "img2vid", "serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://localhost:(\d+)", process.stdout.readline())
        assert found is not None, "the server did not start"
        yield int(found[1]), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def asked(port: int, path: str, given: argparse.Namespace) -> Row:
    """Send the requests of one kind and return their row."""
    times: list[float] = []
    errors: list[str] = []
    end = time.perf_counter() + given.seconds
    pause = given.connections / given.rate if given.rate else 0.0

    def ask(start: float) -> None:
        connection = http.client.HTTPConnection("localhost", port, timeout=30)
        due = start
        while due < end:
            time.sleep(max(due - time.perf_counter(), 0))
            sent = time.perf_counter()
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                response.read()
                if response.status // 100 != 2:
                    errors.append(str(response.status))
            except (OSError, http.client.HTTPException) as error:
                errors.append(str(error))
                connection.close()
            times.append(time.perf_counter() - sent)
            due = due + pause if pause else time.perf_counter()

    started = time.perf_counter()
    offsets = [started + pause * index / given.connections for index in range(given.connections)]
    threads = [threading.Thread(target=ask, args=(offset,)) for offset in offsets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    per_second = len(times) / (time.perf_counter() - started)
    slowest = statistics.quantiles(times, n=100)[98]
    figures = {"requests": len(times), "errors": len(errors), "per_second": per_second}
    return {**figures, "median_ms": 1000 * statistics.median(times), "slowest_percent_ms": 1000 * slowest}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=200, help="requests per second; 0 is as fast as possible")
    parser.add_argument("--seconds", type=float, default=10, help="for each kind of request")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=20, help="in the home")


def measure(given: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IMG2VID_HOME"] = folder
        store = Store()
        jobs = [
            store.add(SampleSettings(seed=seed), LoadOptions(), PICTURE.read_bytes(), "dandelion", ".jpg")
            for seed in range(given.jobs)
        ]
        store.clear_queue()  # no workers during the measurement
        store.close()
        with server() as (port, process):
            for name, path in (("a job", f"/jobs/{jobs[0].id}"), ("a list of 10 jobs", "/jobs?limit=10")):
                before = sum(process.cpu_times()[:2])
                row = asked(port, path, given)
                used = sum(process.cpu_times()[:2]) - before
                yield {"request": name, **row, "cpu_ms": 1000 * used / row["requests"]}
