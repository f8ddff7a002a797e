"""Peak memory of a stage and cost of whole clips, measured in a separate process.

A process that holds other engines or has run another stage would distort the result. The request is sent to the new
process as JSON on standard input; the result is the last line that it prints.
"""

import contextlib
import ctypes
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch

from img2vid import paths
from img2vid.engine.bench.backends import Backend, Model, Shape, load_backend
from img2vid.engine.bench.rates import synchronise
from img2vid.engine.threads import use_threads
from img2vid.errors import Img2VidError
from img2vid.options import LoadOptions

MODULE = "img2vid.engine.bench.memory_probe"
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
POLLING = 0.005


@dataclass(frozen=True)
class ProbeRequest:
    """Request to a probe process. stages: names, in execution order; jobs: number of runs, each with another image.

    warm_up: first run the stages at the smallest size, so that weights and code are loaded before the measurement.
    repetitions: number of timed runs after the jobs.
    """

    engine: str
    model: Model
    shape: Shape
    stages: Sequence[str]
    jobs: int = 1
    warm_up: bool = True
    repetitions: int = 0


@dataclass(frozen=True)
class Cost:
    """Measured cost. before, peak: bytes held before and at most during the jobs; None if not measurable.

    load: seconds of loading; jobs: seconds of all jobs together; seconds: median of the repetitions by stage.
    """

    before: int | None
    peak: int | None
    load: float
    jobs: float
    seconds: dict[str, float]

    @property
    def growth(self) -> int | None:
        """Bytes that the jobs added to the memory before them."""
        return None if self.peak is None or self.before is None else max(self.peak - self.before, 0)


def measure(request: ProbeRequest) -> Cost:
    """Run a request in a new process; raise Img2VidError with the last line of its stderr if it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_search_path())}
    done = subprocess.run(
        [sys.executable, "-m", MODULE],
        input=json.dumps(asdict(request)),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        reason = f"killed by signal {-done.returncode}" if done.returncode < 0 else (lines or ["no error message"])[-1]
        raise Img2VidError(f"measuring {request.engine} in a separate process failed: {reason}")
    return Cost(**json.loads(done.stdout.strip().splitlines()[-1]))


def _search_path() -> list[str]:
    """Return the import path with the project first, so that the new process runs the same img2vid."""
    return [str(paths.PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]


def run_probe(request: ProbeRequest) -> Cost:
    """Run a request in this process."""
    use_threads(request.model.options.threads)
    started = time.perf_counter()
    backend = load_backend(request.engine, request.model)
    load = time.perf_counter() - started
    if request.warm_up:
        _run(backend, request, request.shape.smallest(backend.size_step), 0)
    _release()
    meter = make_meter(request.model.options.device)
    before = meter.start()
    jobs = sum(sum(_run(backend, request, request.shape, job).values()) for job in range(request.jobs))
    peak = meter.stop()
    repeated = [_run(backend, request, request.shape, 0) for _ in range(request.repetitions)]
    seconds = {stage: statistics.median(run[stage] for run in repeated) for stage in request.stages} if repeated else {}
    return Cost(before, peak, load, jobs, seconds)


def _run(backend: Backend, request: ProbeRequest, shape: Shape, seed: int) -> dict[str, float]:
    """Run each stage once and return the seconds by stage."""
    taken: dict[str, float] = {}
    for stage in request.stages:
        run = backend.prepare(stage, shape, seed)
        synchronise(request.model.options.device)
        started = time.perf_counter()
        run()
        synchronise(request.model.options.device)
        taken[stage] = time.perf_counter() - started
    return taken


def _release() -> None:
    """Return freed memory to the system, so that it does not count as held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


class Meter(Protocol):
    """Memory meter for the time between start and stop."""

    def start(self) -> int | None:
        """Start measuring and return the bytes held now."""
        ...

    def stop(self) -> int | None:
        """Stop measuring and return the peak of bytes held since the start."""
        ...


def make_meter(device: str) -> Meter:
    """Return the meter of a device: torch's for an NVIDIA GPU, the system's for host memory."""
    kind = torch.device(device).type
    if kind == "cuda":
        return CudaMeter(device)
    if kind != "cpu":
        return NoMeter()
    with contextlib.suppress(OSError):
        CLEAR.write_text("5", encoding="ascii")
        return LinuxMeter()
    return PollingMeter()


class CudaMeter:
    """Memory that torch has allocated on a GPU."""

    def __init__(self, device: str) -> None:
        self.device = device

    def start(self) -> int:
        """See `Meter.start`."""
        torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.memory_allocated(self.device)

    def stop(self) -> int:
        """See `Meter.stop`."""
        return torch.cuda.max_memory_allocated(self.device)


class LinuxMeter:
    """Resident memory of the process; Linux records its peak and resets it on request."""

    def start(self) -> int:
        """See `Meter.start`."""
        CLEAR.write_text("5", encoding="ascii")
        return _status("VmRSS")

    def stop(self) -> int:
        """See `Meter.stop`."""
        return _status("VmHWM")


class PollingMeter:
    """Resident memory of the process, polled every few milliseconds."""

    def __init__(self, resident: Callable[[], int] | None = None) -> None:
        process = psutil.Process()
        self._resident = resident if resident is not None else lambda: process.memory_info().rss
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def start(self) -> int:
        """See `Meter.start`."""
        self._peak = held = self._resident()
        self._thread.start()
        return held

    def stop(self) -> int:
        """See `Meter.stop`."""
        self._done.set()
        self._thread.join()
        return max(self._peak, self._resident())

    def _poll(self) -> None:
        while not self._done.wait(POLLING):
            self._peak = max(self._peak, self._resident())


class NoMeter:
    """Fallback for devices that do not report their memory."""

    def start(self) -> None:
        """See `Meter.start`."""

    def stop(self) -> None:
        """See `Meter.stop`."""


def _status(name: str) -> int:
    """Return a value of /proc/self/status in bytes."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def read_request(text: str) -> ProbeRequest:
    """Parse a request sent by `measure`."""
    values: dict[str, Any] = json.loads(text)
    model: dict[str, Any] = values.pop("model")
    options, shape = LoadOptions(**model.pop("options")), Shape(**values.pop("shape"))
    return ProbeRequest(model=Model(**model, options=options), shape=shape, **values)


def main() -> None:
    """Read a request from stdin and print its cost as JSON."""
    request = read_request(sys.stdin.read())
    try:
        with contextlib.redirect_stdout(sys.stderr):
            cost = run_probe(request)
    except Img2VidError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    sys.stdout.write(json.dumps(asdict(cost)) + "\n")


if __name__ == "__main__":
    main()
