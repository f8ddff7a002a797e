"""Command line as a subprocess: streams, signals, and files left after an interruption."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path

import pytest

from img2vid import paths
from img2vid.cli.main import check_quotes, run
from img2vid.errors import BadInput
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


@pytest.mark.parametrize(
    ("argument", "path"),
    [('C:\\pictures" --out X', "C:\\pictures"), ('\\\\nas\\a b" 3', "\\\\nas\\a b"), ('.\\in"', ".\\in")],
)
def test_a_folder_in_quotes_that_ends_in_a_backslash_is_explained(argument: str, path: str) -> None:
    """Windows reads the backslash and the quote as one character of the argument, which then goes on."""
    with pytest.raises(BadInput, match="must not end in a backslash") as caught:
        check_quotes(["sample", argument])
    assert f"after '{path}';" in str(caught.value)


def test_other_arguments_may_have_quotes() -> None:
    check_quotes(["sample", 'a "red" house', "C:\\pictures", ""])


def test_a_path_that_the_output_cannot_spell_is_no_failure(tmp_path: Path, environment: dict[str, str]) -> None:
    """Regression: printing a path failed on Windows pipes with a limited character set."""
    folder = tmp_path / "Fotos für Zoë 東京"
    folder.mkdir()
    (folder / "svd.safetensors").touch()
    environment |= {"IMG2VID_CHECKPOINTS": str(folder), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(img2vid("models", "list"), env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "svd.safetensors (0.00 GB)" in done.stdout


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("OSError('[WinError 126] The specified module could not be found')", "Install Microsoft's Visual C++ runtime"),
        ("ImportError('DLL load failed while importing _C')", "Install Microsoft's Visual C++ runtime"),
        ("ModuleNotFoundError(\"No module named 'sympy'\")", "Install the missing package"),
        ("OSError('[WinError 1455] The paging file is too small')", "the paging file of Windows is too small"),
    ],
)
def test_a_torch_that_does_not_load_gets_the_doctors_remedy(
    fault: str, words: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(f"raise {fault}\n", encoding="utf-8")
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    done = subprocess.run(
        img2vid("sample", PHOTO, *SMALL), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert words in line
    assert "Traceback" not in line


def test_a_reader_that_has_gone_is_no_failure(environment: dict[str, str]) -> None:
    """Regression: `img2vid ... | head -1` ended with a traceback."""
    for arguments in (["--help"], ["models", "list", "--json"], ["sample", PHOTO, *SMALL]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            img2vid(*arguments), env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, ""), arguments


INTERRUPTED_IMPORT = """
import signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["sample", {photo!r}]
from img2vid.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["img2vid.cli.main", "pydantic", "img2vid.jobs.wait", "torch"])
def test_ctrl_c_during_an_import_is_no_traceback(environment: dict[str, str], module: str) -> None:
    program = INTERRUPTED_IMPORT.format(module=module, photo=str(PHOTO))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr in ("", "img2vid: stopped; finished videos are kept\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal mask")
def test_ctrl_c_while_run_py_hands_over_waits_for_the_command(environment: dict[str, str]) -> None:
    """The script blocks the signal, because the start of Python would answer it with a traceback."""

    def pending() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.SIGINT)

    command = img2vid("sample", PHOTO, *LONG)
    done = subprocess.run(command, env=environment, preexec_fn=pending, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout whose environment has no packages."""
    folder = tmp_path / "checkout"
    shutil.copytree(
        paths.PROJECT / "img2vid", folder / "img2vid", ignore=shutil.ignore_patterns("__pycache__", "project")
    )
    venv.create(folder / ".venv", with_pip=False, symlinks=os.name != "nt")
    return folder


@pytest.mark.parametrize("state", ["unfinished", "moved", "incomplete", "made by hand"])
def test_a_command_in_a_faulty_environment_is_one_sentence(checkout: Path, state: str) -> None:
    environment = checkout / ".venv"
    if state == "unfinished":
        (environment / "constraints.txt").touch()
    elif state != "made by hand":
        (environment / "img2vid-runtime").touch()
        before = "/old/.venv" if state == "moved" else str(environment.resolve())
        (environment / "place.txt").write_text(before, encoding="utf-8")
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [str(python), "-m", "img2vid", "gallery", "list"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=checkout, env=kept, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    words = {
        "unfinished": f"img2vid: the set-up of the environment {environment} did not finish. Run `",
        "moved": "img2vid: the environment was moved here from /old/.venv. Run `",
        "incomplete": "img2vid cannot start (No module named",
        "made by hand": "img2vid cannot start (No module named",
    }
    assert done.stderr.startswith(words[state])
    assert ("scripts/run.py --setup-only`" in done.stderr.replace("\\", "/")) == (state in ("unfinished", "moved"))


def test_update_is_run_by_its_script(environment: dict[str, str]) -> None:
    done = subprocess.run(img2vid("update", "--help"), env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "python3 scripts/run.py update" in done.stdout


def test_an_installed_package_names_the_commands_that_update_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["update"]) == 2
    assert "`pipx install --force .`" in capsys.readouterr().err


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
