"""Command line as a subprocess: streams, signals, and files left after an interruption."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from img2vid import paths
from img2vid.media.videos import read_frames

PHOTO = paths.PROJECT / "assets" / "dandelion.jpg"
SMALL = ["--height", "64", "--width", "64", "--num-frames", "3", "--num-steps", "2", "--device", "cpu"]
# Enough work for minutes, so that a run that does not stop is detected.
LONG = ["--num-frames", "14", "--num-steps", "1000", "--device", "cpu"]


@pytest.fixture
def environment(tmp_path: Path, random_checkpoint: Path) -> dict[str, str]:
    dropped = (
        "IMG2VID_ENGINE",
        "IMG2VID_SCHEDULER",
        "IMG2VID_TRACEBACK",
        "COLUMNS",
        "NO_COLOR",
        "FORCE_COLOR",
        "TTY_COMPATIBLE",
    )
    return {
        **{name: value for name, value in os.environ.items() if name not in dropped},
        "IMG2VID_HOME": str(tmp_path / "home"),
        "IMG2VID_CHECKPOINTS": str(random_checkpoint.parent),
        "PYTHONPATH": str(paths.PROJECT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "TERM": "xterm",
    }


def img2vid(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "img2vid", *map(str, arguments)]


def test_a_photo_becomes_a_video(tmp_path: Path, environment: dict[str, str]) -> None:
    command = img2vid("sample", PHOTO, *SMALL)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'home' / 'dandelion_svd_tiny_seed23.mp4'}\n"
    assert read_frames(Path(done.stdout.strip())).shape == (3, 64, 64, 3)
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path: Path, environment: dict[str, str]) -> None:
    command = img2vid("sample", PHOTO, "--num-steps", "0")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "img2vid: num_steps must be a whole number from 1 to 1000, got '0'\n"


def test_a_path_that_the_output_cannot_spell_is_no_failure(tmp_path: Path, environment: dict[str, str]) -> None:
    """Regression: printing a path failed on Windows pipes with a limited character set."""
    folder = tmp_path / "Fotos für Zoë 東京"
    folder.mkdir()
    (folder / "svd.safetensors").touch()
    environment |= {"IMG2VID_CHECKPOINTS": str(folder), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(img2vid("models", "list"), env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "svd.safetensors (0.00 GB)" in done.stdout


class Terminal:
    """Pseudo-terminal that receives the progress of a process."""

    def __init__(self) -> None:
        self._ours, self.theirs = os.openpty()
        self.text = ""
        self._thread = threading.Thread(target=self._read, daemon=True)

    def start(self) -> None:
        """Read continuously, so that the process never blocks on a full pipe."""
        os.close(self.theirs)
        self._thread.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 4096):
                self.text += data.decode("utf-8", "replace")
        except OSError:  # Linux raises this after the last writer has closed
            pass

    def wait_for(self, text: str, seconds: float) -> None:
        """Wait until `text` has appeared."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, f"{text!r} never came, only {self.text[-500:]!r}"
            time.sleep(0.02)

    def finish(self) -> None:
        """Wait until all output is read."""
        self._thread.join(timeout=10)
        os.close(self._ours)


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX terminal")
def test_a_result_goes_into_the_pipe_while_the_progress_is_on_a_terminal(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Regression: the progress bar redirected standard output to the terminal, and `sample ... > file` stayed empty."""
    terminal = Terminal()
    with subprocess.Popen(
        img2vid("sample", PHOTO, *SMALL), env=environment, stdout=subprocess.PIPE, stderr=terminal.theirs, text=True
    ) as process:
        terminal.start()
        out, _ = process.communicate(timeout=120)
    terminal.finish()
    assert (process.returncode, out) == (0, f"{tmp_path / 'home' / 'dandelion_svd_tiny_seed23.mp4'}\n")
    assert "writing the video" in terminal.text


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX terminal and signal")
def test_ctrl_c_stops_soon_and_leaves_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    terminal = Terminal()
    command = img2vid("sample", PHOTO, *LONG, "--out", tmp_path / "out")
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal.theirs, text=True
    ) as process:
        terminal.start()
        try:
            terminal.wait_for("1/1000", seconds=120)
            # A killed process runs no cleanup handler.
            assert left(tmp_path / "out") == []
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    terminal.finish()
    assert (process.returncode, out) == (130, "")
    assert "img2vid: stopped; finished videos are kept" in terminal.text
    assert "Traceback" not in terminal.text
    assert left(tmp_path / "out") == []


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []
