"""Dashboard process, `img2vid dashboard`, with its own port and home."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from img2vid import paths
from img2vid.jobs.store import Store

PATIENCE = 240.0
"""Timeout of waits in seconds; no test measures time."""
OURS = ("IMG2VID_", "STREAMLIT_", "DASK_")


def until(condition: Callable[[], Any], event: str) -> Any:
    """Wait until the condition returns a true value, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{event} never happened"
        time.sleep(0.05)
    return found


class Dashboard:
    """Dashboard server. `home` is its IMG2VID_HOME, `checkpoints` its IMG2VID_CHECKPOINTS, initially empty.

    `url` is the address that it printed, with the token if `options` contain `--share`. configs: folder of versions
    that replaces configs/ in all its processes.
    """

    def __init__(self, home: Path, checkpoints: Path, *options: str, configs: Path | None = None) -> None:
        self.options, self.configs = options, configs
        self.home, self.checkpoints = home, checkpoints
        self.log = home / "server.log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self._process: psutil.Popen | None = None

    def start(self) -> None:
        """Start the server, also again after a kill, and wait until it answers."""
        command = [sys.executable, "-m", "img2vid", "dashboard", "--port", str(self.port), *self.options]
        with self.log.open("ab") as log:
            self._process = psutil.Popen(
                command, cwd=paths.PROJECT, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self._answers, "the start of the server")
        self.url = re.findall(r"https?://\S+", self.messages())[-1]

    def environment(self) -> dict[str, str]:
        """Return the environment of the server and of programs that share its home."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return (
            inherited
            | self._replaced_configs()
            | {
                "IMG2VID_HOME": str(self.home),
                "IMG2VID_CHECKPOINTS": str(self.checkpoints),
                "OMP_NUM_THREADS": "1",
                "STREAMLIT_SERVER_HEADLESS": "true",
                # On a GPU, svd_tiny would finish before a test could act on the run.
                "CUDA_VISIBLE_DEVICES": "",
                "DASK_DISTRIBUTED__WORKER__PRELOAD": str(Path(__file__).with_name("hold_runs.py")),
            }
        )

    def _replaced_configs(self) -> dict[str, str]:
        """Return variables with which every Python process reads its versions from `configs`."""
        if self.configs is None:
            return {}
        lines = f"from pathlib import Path\nfrom img2vid import paths\npaths.CONFIGS = Path({str(self.configs)!r})\n"
        (self.configs / "sitecustomize.py").write_text(lines, encoding="utf-8")
        return {"PYTHONPATH": os.pathsep.join([str(self.configs), str(paths.PROJECT)])}

    def hold(self, stage: str, step: int) -> None:
        """Hold runs at this step of a stage, so that tests need no long runs."""
        part = self.home / "hold.part"
        part.write_text(f"{stage} {step}", encoding="utf-8")
        part.replace(self.home / "hold")

    def release(self) -> None:
        """Release all held runs."""
        (self.home / "hold").unlink(missing_ok=True)

    def store(self) -> Store:
        """Return the server's store."""
        return Store(self.home / "img2vid.sqlite")

    def worker(self) -> psutil.Process:
        """Return the process that holds the model."""
        return until(self._worker, "a worker")

    def kill(self) -> None:
        """Kill the server like `kill -9` and wait until all its processes have ended."""
        process = self._running
        everything = [process, *process.children(recursive=True)]
        process.kill()
        _, alive = psutil.wait_procs(everything, timeout=PATIENCE)
        assert alive == [], "processes outlived the dashboard"

    def stop(self) -> None:
        """Stop the server as a user does; its child processes must end too."""
        if self._process is None or not self._process.is_running():
            return
        everything = [self._process, *self._process.children(recursive=True)]
        self._process.terminate()
        _, alive = psutil.wait_procs(everything, timeout=PATIENCE)
        for process in alive:
            process.kill()
        assert alive == [], "processes outlived the dashboard"

    def messages(self) -> str:
        """Return the server's output."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def _running(self) -> psutil.Popen:
        assert self._process is not None
        return self._process

    def _answers(self) -> bool:
        assert self._running.is_running() and self._running.poll() is None, self.messages()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_stcore/health", timeout=1) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            return error.code == 403 and "--share" in self.options
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
