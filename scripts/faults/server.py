"""The dashboard under test, with its home and its jobs."""

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from faults.session import SMALL, Session
from img2vid.gallery.entries import Entries
from img2vid.jobs.job import Job, State
from img2vid.jobs.store import Store
from img2vid.media.videos import read_frames
from img2vid.options import LoadOptions
from img2vid.paths import PROJECT
from img2vid.versions import find_version

STAGES = ("condition", "sample", "decode", "write")
PICTURE = PROJECT / "assets" / "dogs.jpg"
PATIENCE = 600.0


def until(condition: Callable[[], Any], event: str) -> Any:
    """Return the condition's first true value."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{event} did not happen in {PATIENCE:.0f} s")
        time.sleep(0.05)
    return found


class Server:
    """Dashboard process of a home, whose runs can be held at a stage."""

    def __init__(self, home: Path) -> None:
        self.home, self.store, self.seed = home, Store(home / "img2vid.sqlite"), 0
        self.process: psutil.Popen | None = None
        self.done: list[Job] = []
        self.address = ""
        self.log = Path(tempfile.gettempdir(), f"faults-{os.getpid()}.log")

    def start(self, **variables: str) -> None:
        """Start the dashboard with further environment variables."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        hold = PROJECT / "tests" / "browser" / "hold_runs.py"
        own = {"IMG2VID_HOME": str(self.home), "DASK_DISTRIBUTED__WORKER__PRELOAD": str(hold), "OMP_NUM_THREADS": "1"}
        own |= {"STREAMLIT_SERVER_HEADLESS": "true", "CUDA_VISIBLE_DEVICES": "", **variables}
        command = [sys.executable, "-m", "img2vid", "dashboard", "--port", str(port)]
        with self.log.open("ab") as log:
            self.process = psutil.Popen(command, cwd=PROJECT, env=os.environ | own, stdout=log, stderr=log)

    def open(self) -> Session:
        """Open a tab of the dashboard."""

        def answers() -> bool:
            try:
                return requests.get(f"{self.address}/_stcore/health", timeout=5).ok
            except requests.RequestException:
                return False

        until(answers, "the start of the dashboard")
        return Session(self.address)

    def tracebacks(self) -> int:
        """Return the number of tracebacks of this program in the log."""
        return self.log.read_text(encoding="utf-8", errors="replace").count(f'File "{PROJECT / "img2vid"}')

    def kill(self, *, worker: bool = False) -> None:
        """Kill the dashboard, or only its worker."""
        assert self.process is not None
        children = self.process.children(recursive=True)
        if worker:
            next(one for one in children if "multiprocessing.spawn" in " ".join(one.cmdline())).kill()
            return
        os.kill(self.process.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs([self.process, *children], timeout=60)
        assert not alive, "processes outlived the dashboard"

    def add(self) -> Job:
        """Queue a small video with a new seed."""
        self.seed += 1
        settings = find_version("svd_tiny").settings({**SMALL, "seed": self.seed})
        return self.store.add(settings, LoadOptions(device="cpu"), PICTURE.read_bytes(), "dogs", ".jpg")

    def hold(self, stage: str) -> None:
        """Hold runs at this stage."""
        (self.home / "hold").write_text(f"{stage} 0", encoding="utf-8")

    def release(self) -> None:
        """Release held runs."""
        (self.home / "hold").unlink(missing_ok=True)

    def reaches(self, job: Job, stage: str) -> None:
        """Wait until a job is held at a stage."""
        until(lambda: (now := self.store.progress(job.id)) and now.stage == stage, f"the stage {stage}")

    def ends(self, job: Job) -> Job:
        """Wait for the end of a job and return it."""
        return until(
            lambda: (now := self.store.job(job.id)).state.ended and now, f"the end of seed {job.settings.seed}"
        )

    def makes_the_next(self) -> None:
        """Check that the next job runs, and that all finished videos are intact and listed."""
        job = self.ends(self.add())
        assert job.state is State.DONE, job.error
        self.done.append(job)
        listed = {entry.result.video for entry in Entries(self.store).find(limit=-1)}
        for one in self.done:
            video = one.results[0].video
            assert video in listed and len(read_frames(video)) == 3, video
