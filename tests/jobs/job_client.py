"""Helpers to submit jobs, wait for them and find processes of the cluster."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from img2vid import paths
from img2vid.jobs.job import Job
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.progress import Event
from img2vid.settings import SampleSettings
from img2vid.versions import find_version

TIMEOUT = 90.0
"""Timeout of a test in seconds. No test measures time."""
CPU = LoadOptions(device="cpu")
PHOTO = paths.PROJECT / "assets" / "dandelion.jpg"


def until(condition: Callable[[], Any], event: str = "the event") -> Any:
    """Return the first true value of the condition. Fail after the timeout."""
    deadline = time.monotonic() + TIMEOUT
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{event} never happened"
        time.sleep(0.02)
    return found


def small(version: str = "svd_tiny", **changes: Any) -> SampleSettings:
    """Return settings of a video that takes a second."""
    return find_version(version).settings({"height": 64, "width": 64, "num_frames": 3, "num_steps": 2, **changes})


class Client:
    """Adds jobs to a store and waits for them."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.runs_file = folder / "runs"

    def photo(self, name: str = "photo", options: LoadOptions = CPU, **changes: Any) -> Job:
        """Add a job for the real pipeline."""
        return self.store.add(small(**changes), options, PHOTO.read_bytes(), name, ".jpg", self.folder / "videos")

    def stand_in(self, name: str, options: LoadOptions = CPU, animation: str | None = None, **settings: Any) -> Job:
        """Add a job for the stand-in with this name."""
        picture = str(self.runs_file).encode()
        return self.store.add(
            SampleSettings(**settings), options, picture, name, "", self.folder / "videos", animation=animation
        )

    def open_gate(self) -> None:
        """Let gated jobs finish."""
        self.runs_file.with_suffix(".gate").touch()

    def runs(self) -> list[str]:
        """Return the names of the started stand-ins, in order."""
        return self.runs_file.read_text(encoding="utf-8").split() if self.runs_file.is_file() else []

    def end(self, job: Job) -> Job:
        """Wait until a job has ended and return it."""
        return until(lambda: job_if(self.store.job(job.id)), f"the end of {job.picture_name}")

    def at(self, job: Job, stage: str, step: int = 0) -> Event:
        """Wait until a job has reached a step of a stage and return its progress."""

        def reached() -> Event | None:
            now = self.store.progress(job.id)
            return now if now is not None and now.stage == stage and now.step >= step else None

        return until(reached, f"{stage} {step} of {job.picture_name}")

    def files(self) -> list[str]:
        """Return the file names in the video folder."""
        folder = self.folder / "videos"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def job_if(job: Job) -> Job | None:
    return job if job.state.ended else None


def worker_processes(parent: int | None = None) -> list[psutil.Process]:
    """Return the worker processes of clusters below this process; the first one is a worker."""
    processes = psutil.Process(parent).children(recursive=True)
    return [process for process in processes if "multiprocessing.spawn" in " ".join(_words(process))]


def cluster_processes(parent: int | None = None) -> list[psutil.Process]:
    """Return the scheduler processes below this process."""
    processes = psutil.Process(parent).children(recursive=True)
    found = [process for process in processes if "img2vid.jobs.local_cluster" in _words(process)]
    # The launcher of a Windows environment starts a second process with the same command.
    return [process for process in found if process.ppid() not in {other.pid for other in found}]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill(process: psutil.Process) -> None:
    """Kill a process, with SIGKILL on POSIX."""
    process.kill()
