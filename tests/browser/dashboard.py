"""The dashboard as a user starts it, `streamlit run streamlit_app.py`, on a port and a home of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from img2vid import paths
from img2vid.jobs.store import Store

PATIENCE = 120.0
"""Seconds after which a test gives up waiting; none of them measures time."""
OURS = ("IMG2VID_", "STREAMLIT_", "DASK_")


def until(condition: Callable[[], Any], what: str) -> Any:
    """What the condition gives as soon as it gives something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} never happened"
        time.sleep(0.05)
    return found


class Dashboard:
    """One server. `home` is its IMG2VID_HOME, `checkpoints` a further folder with checkpoints, empty at first."""

    def __init__(self, home: Path, checkpoints: Path) -> None:
        self.home, self.checkpoints = home, checkpoints
        self.log = home / "server.log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self._process: psutil.Popen | None = None

    def start(self) -> None:
        """Starts it, also again after a kill, and waits until it answers."""
        command = [sys.executable, "-m", "streamlit", "run", str(paths.PROJECT / "streamlit_app.py")]
        command += ["--server.port", str(self.port), "--server.headless", "true"]
        with self.log.open("ab") as log:
            self._process = psutil.Popen(
                command, cwd=paths.PROJECT, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self._answers, "the start of the server")

    def environment(self) -> dict[str, str]:
        """Of the server, and of programs that share its home."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return inherited | {
            "IMG2VID_HOME": str(self.home),
            "IMG2VID_CHECKPOINTS": str(self.checkpoints),
            "OMP_NUM_THREADS": "1",
            # On a graphics card, svd_tiny would be done before anything could happen to it.
            "CUDA_VISIBLE_DEVICES": "",
            "DASK_DISTRIBUTED__WORKER__PRELOAD": str(Path(__file__).with_name("hold_runs.py")),
        }

    def hold(self, stage: str, step: int) -> None:
        """Holds runs at this step of a stage, so that what a test does meanwhile needs no long run."""
        part = self.home / "hold.part"
        part.write_text(f"{stage} {step}", encoding="utf-8")
        part.replace(self.home / "hold")

    def go_on(self) -> None:
        """Lets all runs go on."""
        (self.home / "hold").unlink(missing_ok=True)

    def store(self) -> Store:
        """What it has written down."""
        return Store(self.home / "img2vid.sqlite")

    def worker(self) -> psutil.Process:
        """The process in which the model is."""
        return until(self._worker, "a worker")

    def kill(self) -> None:
        """Ends the server at once, as `kill -9` does, and waits until nothing of it is left."""
        process = self._running
        everything = [process, *process.children(recursive=True)]
        process.kill()
        _, alive = psutil.wait_procs(everything, timeout=PATIENCE)
        assert alive == [], "processes outlived the dashboard"

    def stop(self) -> None:
        """Ends the server as a user does; what it started must end with it."""
        if self._process is None or not self._process.is_running():
            return
        everything = [self._process, *self._process.children(recursive=True)]
        self._process.terminate()
        _, alive = psutil.wait_procs(everything, timeout=PATIENCE)
        for process in alive:
            process.kill()
        assert alive == [], "processes outlived the dashboard"

    def messages(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def _running(self) -> psutil.Popen:
        assert self._process is not None
        return self._process

    def _answers(self) -> bool:
        assert self._running.is_running() and self._running.poll() is None, self.messages()
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _worker(self) -> psutil.Process | None:
        for process in self._running.children(recursive=True):
            try:
                words = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if "multiprocessing.spawn" in words:
                return process
        return None
