"""The memory that a stage needs at most, and what whole clips cost: measured in a process of its own.

In a process that holds other engines, or in which another stage ran, neither would be comparable. An order goes to the
new process on its standard input, as JSON; the answer is the last line that it prints.
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
from img2vid.errors import Img2VidError

MODULE = "img2vid.engine.bench.memory_probe"
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
POLLING = 0.005


@dataclass(frozen=True)
class ProbeRequest:
    """What a process is to run. stages: by name, one after the other; jobs: how often, each time on another picture.

    warm_up: first run everything at the smallest size, so that weights and code are in memory before the measuring.
    repetitions: how often the stages are run and timed after that. threads: of torch, 0 for its own choice.
    """

    engine: str
    model: Model
    shape: Shape
    stages: Sequence[str]
    jobs: int = 1
    warm_up: bool = True
    repetitions: int = 0
    threads: int = 0


@dataclass(frozen=True)
class Cost:
    """before: bytes that the process held before the jobs; peak: at most during them. None where nothing tells it.

    load: seconds of loading; jobs: of all jobs together; seconds: the median of the repetitions of each stage.
    """

    before: int | None
    peak: int | None
    load: float
    jobs: float
    seconds: dict[str, float]

    @property
    def growth(self) -> int | None:
        """Bytes of the peak that came with the jobs."""
        return None if self.peak is None or self.before is None else max(self.peak - self.before, 0)


def measure(request: ProbeRequest) -> Cost:
    """Carries out an order in a new process; Img2VidError with its last words where that fails."""
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
        said = done.stderr.strip().splitlines()
        reason = (
            f"it was ended by signal {-done.returncode}" if done.returncode < 0 else (said or ["it said nothing"])[-1]
        )
        raise Img2VidError(f"measuring {request.engine} in a process of its own failed: {reason}")
    return Cost(**json.loads(done.stdout.strip().splitlines()[-1]))


def _search_path() -> list[str]:
    """The project's folder first: the new process runs the same img2vid, installed or not."""
    return [str(paths.PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]


def run_probe(request: ProbeRequest) -> Cost:
    """Carries out an order in this process."""
    if request.threads:
        torch.set_num_threads(request.threads)
    started = time.perf_counter()
    subject = load_backend(request.engine, request.model)
    load = time.perf_counter() - started
    if request.warm_up:
        _run(subject, request, request.shape.smallest(subject.size_step), 0)
    _release()
    meter = make_meter(request.model.device)
    before = meter.start()
    jobs = sum(sum(_run(subject, request, request.shape, job).values()) for job in range(request.jobs))
    peak = meter.stop()
    repeated = [_run(subject, request, request.shape, 0) for _ in range(request.repetitions)]
    seconds = {stage: statistics.median(run[stage] for run in repeated) for stage in request.stages} if repeated else {}
    return Cost(before, peak, load, jobs, seconds)


def _run(subject: Backend, request: ProbeRequest, shape: Shape, seed: int) -> dict[str, float]:
    """Seconds of each stage, run once."""
    taken: dict[str, float] = {}
    for stage in request.stages:
        run = subject.prepare(stage, shape, seed)
        synchronise(request.model.device)
        started = time.perf_counter()
        run()
        synchronise(request.model.device)
        taken[stage] = time.perf_counter() - started
    return taken


def _release() -> None:
    """Hands back what was freed, so that it does not count as held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


class Meter(Protocol):
    """Watches the memory between start and stop."""

    def start(self) -> int | None:
        """Bytes held now."""
        ...

    def stop(self) -> int | None:
        """Bytes held at most since the start."""
        ...


def make_meter(device: str) -> Meter:
    """What tells the peak on this device: torch for an NVIDIA card, the system for the machine's own memory."""
    kind = torch.device(device).type
    if kind == "cuda":
        return CardMeter(device)
    if kind != "cpu":
        return NoMeter()
    with contextlib.suppress(OSError):
        CLEAR.write_text("5", encoding="ascii")
        return LinuxMeter()
    return PollingMeter()


class CardMeter:
    """What torch has allocated on a card."""

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
    """The process's resident memory; Linux keeps its peak and forgets it on demand."""

    def start(self) -> int:
        """See `Meter.start`."""
        CLEAR.write_text("5", encoding="ascii")
        return _status("VmRSS")

    def stop(self) -> int:
        """See `Meter.stop`."""
        return _status("VmHWM")


class PollingMeter:
    """The process's resident memory, looked at every few milliseconds."""

    def __init__(self, resident: Callable[[], int] | None = None) -> None:
        process = psutil.Process()
        self._resident = resident if resident is not None else lambda: process.memory_info().rss
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

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

    def _watch(self) -> None:
        while not self._done.wait(POLLING):
            self._peak = max(self._peak, self._resident())


class NoMeter:
    """For devices whose memory nobody tells."""

    def start(self) -> None:
        """See `Meter.start`."""

    def stop(self) -> None:
        """See `Meter.stop`."""


def _status(name: str) -> int:
    """A line of this process's status in bytes."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def read_order(text: str) -> ProbeRequest:
    """An order as `measure` sends it."""
    values: dict[str, Any] = json.loads(text)
    model, shape = Model(**values.pop("model")), Shape(**values.pop("shape"))
    return ProbeRequest(model=model, shape=shape, **values)


def main() -> None:
    """Reads an order and prints the answer."""
    request = read_order(sys.stdin.read())
    try:
        with contextlib.redirect_stdout(sys.stderr):
            cost = run_probe(request)
    except Img2VidError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    sys.stdout.write(json.dumps(asdict(cost)) + "\n")


if __name__ == "__main__":
    main()
