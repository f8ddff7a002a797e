"""The Windows installation, as far as it runs here, with small wheels from a local index."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_project import SCRIPTS, Project, make_project, write_wheel

from img2vid.file_lock import HomeLock

DRIVER = """
import json, sys
from pathlib import Path
root = Path(sys.argv[1])
options = json.loads(sys.argv[2])
sys.path.insert(0, str(root / "scripts"))
from windows import work
from img2vid import hardware
work.shortcut_command = lambda root: [sys.executable, "-c", "raise SystemExit('no PowerShell')"]
hardware.INDEX = options["index"]
from img2vid.hardware import Found
from windows.console import Questions, logged
from windows.machine import Machine, venv_state
from windows.plan import make_plan
from windows.progress import carry_out
from windows.install_options import Options, settle
here = Machine(root, Path(sys.executable), (3, 12, 0), 64, 22631, "AMD64", Found(reason="none"), True, root,
               {root.drive: 99.0}, venv_state(root / ".venv"), runtime=(14, 44))
with logged(root / "install.log"):
    chosen = settle(Options("cpu", options["models"], options["sgm"], launch=False), here, root, Questions(silent=True))
    sys.exit(carry_out(make_plan(here, chosen, root)))
"""
KERNEL = "import sys; print('kernel', *sys.argv[1:]); sys.exit(int(len(sys.argv) != 2))"
COMMANDS = """
import sys
print("img2vid", *sys.argv[1:])
sys.exit({"doctor": 0, "models": 1}[sys.argv[1]])
"""


class Computer:
    """A small project and its torch index."""

    def __init__(self, project: Project, index: Path) -> None:
        self.project = project
        self.index = index

    def install(self, models: tuple[str, ...] = (), *, sgm: bool = False) -> subprocess.CompletedProcess[str]:
        options = json.dumps({"index": self.index.as_uri(), "models": models, "sgm": sgm})
        command = [sys.executable, "-c", DRIVER, str(self.project.folder), options]
        return subprocess.run(
            command, env=self.project.environment, capture_output=True, text=True, timeout=600, check=False
        )


def make_computer(new_project: Project, tmp_path: Path) -> Computer:
    """Return a project that needs torch; the package index has a newer version than the pinned one."""
    index = tmp_path / "index"
    common = tmp_path / "common"
    for name, version in (("torch", "2.11.0"), ("torchvision", "0.26.0")):
        folder = index / "cpu" / name
        write_wheel(folder, name, f"{version}+cpu", requires="bulb>=1" if name == "torch" else "torch>=2")
        links = "".join(f'<a href="{wheel.name}">{wheel.name}</a>' for wheel in folder.glob("*.whl"))
        (folder / "index.html").write_text(links, encoding="utf-8")
        write_wheel(common, name, "9.0")
    new_project.require("lamp>=1", "torch>=2.4", "torchvision>=0.19", lock=("lamp==1.1", "bulb==1.1", "torch==9.0"))
    new_project.require("-r runtime.txt", "triton>=2.0", file="pt2.txt")
    archive = "https://github.com/Stability-AI/generative-models"
    new_project.require(f"sgm @ git+{archive}@{'0' * 40}", "cable", file="sgm.txt")
    for folder in ("configs", "checkpoints"):
        (new_project.folder / folder).mkdir()
    rows = "svd_xt:\n  checkpoint: svd_xt.safetensors\n  bytes: 5\n"
    (new_project.folder / "configs" / "versions.yaml").write_text(rows, encoding="utf-8")
    (new_project.folder / "scripts" / "windows" / "kernel.py").write_text(KERNEL, encoding="utf-8")
    # The shortcuts of an installation on this computer stay.
    (new_project.folder / "scripts" / "windows" / "shortcuts.ps1").write_text("exit 1\n", encoding="utf-8")
    (new_project.folder / "img2vid" / "__main__.py").write_text(COMMANDS, encoding="utf-8")
    own = {name: index.as_uri() for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")}
    own["PIP_FIND_LINKS"] = f"{new_project.wheels} {common}"
    new_project.environment.update(own)
    for name in ("PIP_NO_INDEX", "PIP_CONFIG_FILE"):
        del new_project.environment[name]
    return Computer(new_project, index)


@pytest.fixture
def computer(new_project: Project, tmp_path: Path) -> Computer:
    """Return a computer without an installation."""
    return make_computer(new_project, tmp_path)


@dataclass(frozen=True)
class Story:
    """Three installations in a row: without the torch index, with it, and once more.

    The network is unavailable throughout, so sgm and a checkpoint cannot be downloaded.
    """

    project: Project
    first: subprocess.CompletedProcess[str]
    second: subprocess.CompletedProcess[str]
    third: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Story:
    folder = tmp_path_factory.mktemp("one computer")
    computer = make_computer(make_project(folder / "img2vid", wheels), folder)
    computer.project.environment |= {"https_proxy": "http://127.0.0.1:9", "PIP_RETRIES": "0"}
    away = computer.index.rename(folder / "away")
    first = computer.install()
    away.rename(computer.index)
    second = computer.install(("svd_xt",), sgm=True)
    return Story(computer.project, first, second, computer.install())


def test_a_failed_download_stops_with_its_remedy(story: Story) -> None:
    said = story.first.stdout
    assert story.first.returncode == 1
    assert "Install torch failed: Cannot install torch==2.11.0+cpu and torchvision==0.26.0+cpu from" in said
    assert "Remedy: check the network connection" in said
    assert "4 of 9" not in said
    assert "Traceback" not in said + story.first.stderr


def test_the_next_start_goes_on_to_the_end(story: Story) -> None:
    project, said = story.project, story.second.stdout
    assert "9 of 9" in said, said + story.second.stderr
    assert "Reusing" in said
    versions = [project.version_of(name) for name in ("torch", "torchvision", "lamp", "bulb")]
    assert versions == ["2.11.0+cpu", "0.26.0+cpu", "1.1", "1.1"]
    assert "kernel cpu" in said
    assert "img2vid doctor" in said
    assert (project.folder / "run_dashboard.cmd").is_file()


def test_what_can_be_done_without_is_reported_and_the_rest_goes_on(story: Story) -> None:
    """Creating shortcuts fails here as well."""
    assert story.second.returncode == 2
    left = [line.split(".")[0] for line in story.second.stdout.splitlines() if line.startswith("Left to do: ")]
    assert left == [
        "Left to do: Install the reference package sgm",
        "Left to do: Download checkpoints",
        "Left to do: Create the dashboard launcher",
    ]
    assert "img2vid models download svd_xt" in story.second.stdout


def test_what_is_done_is_not_done_again(story: Story) -> None:
    assert "9 of 9" in story.third.stdout
    assert "Installing" not in story.third.stderr
    started = story.project.start("--setup-only")
    assert (started.returncode, started.stderr) == (0, "")


def test_the_log_has_the_steps_and_pips_own_words(story: Story) -> None:
    log = (story.project.folder / "install.log").read_text(encoding="utf-8")
    assert log.count("3 of 9: Install torch") == 3
    assert "Successfully installed" in log


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "scripts" / "setup_windows.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_a_dry_run_changes_nothing(computer: Computer, tmp_path: Path) -> None:
    folder = computer.project.folder
    before = contents(folder)
    done = start(folder, "install", "--dry-run", "--cuda", "cpu", "--log", str(tmp_path / "log"))
    assert "1 of 9: Check this computer" in done.stdout, done.stderr
    assert contents(folder) == before
    assert not (tmp_path / "log").exists()
    target = tmp_path / "elsewhere"
    done = start(folder, "install", "--dry-run", "--install-dir", str(target))
    assert f"would be copied from {folder} to {target}" in done.stdout
    assert not target.exists()


def test_a_wrong_model_gets_one_sentence(computer: Computer) -> None:
    done = start(computer.project.folder, "install", "--yes", "--cuda", "cpu", "--models", "svd_xl")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == ["-Models: unknown model 'svd_xl'; choose from svd_xt."]


@pytest.fixture
def installed(computer: Computer) -> Path:
    """Return an installation with a checkpoint and a video."""
    folder = computer.project.folder
    for name in (".venv/pyvenv.cfg", "run_dashboard.cmd", "checkpoints/svd.safetensors", "outputs/a.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "checkpoints" / "svd_tiny.safetensors").touch()
    return folder


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ((), {"checkpoints/svd.safetensors", "outputs/a.mp4"}),
        (("--remove-checkpoints",), {"outputs/a.mp4"}),
        (("--remove-outputs",), {"checkpoints/svd.safetensors"}),
        (("--remove-outputs", "--remove-checkpoints"), set()),
    ],
)
def test_uninstalling_keeps_checkpoints_and_videos_by_default(
    installed: Path, arguments: tuple[str, ...], kept: set[str]
) -> None:
    before = contents(installed)
    assert start(installed, "uninstall", "--dry-run", *arguments).returncode == 0
    assert contents(installed) == before
    done = start(installed, "uninstall", "--yes", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run_dashboard.cmd") == 1
    after = contents(installed)
    assert not {".venv", ".venv.removed", "run_dashboard.cmd"} & after
    assert {"checkpoints/svd_tiny.safetensors", "img2vid/__init__.py", "scripts/run.py", *kept} <= after
    assert not {"checkpoints/svd.safetensors", "outputs/a.mp4"} & after - kept
    assert start(installed, "uninstall", "--yes").returncode == 0


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_nothing_is_touched_while_the_dashboard_runs(installed: Path, command: str, tmp_path: Path) -> None:
    lock = HomeLock(installed / "outputs")
    assert lock.acquire()
    before = contents(installed)
    done = start(installed, command, "--yes")
    sentence = (
        "The dashboard is running, and Windows cannot replace files that are in use; close its window and run again."
    )
    assert (done.returncode, done.stdout.splitlines()) == (1, [sentence])
    source = tmp_path / "newer"
    shutil.copytree(installed, source)
    done = start(source, command, "--yes", "--install-dir", str(installed))
    assert (done.returncode, done.stdout.splitlines()) == (1, [sentence])
    assert contents(installed) == before
    lock.release()


@pytest.mark.skipif(os.name == "nt", reason="the obstacle is that this is not Windows")
def test_a_dry_run_lists_every_step_and_marks_what_stops_it(computer: Computer) -> None:
    done = start(computer.project.folder, "install", "--dry-run", "--cuda", "cpu")
    assert done.returncode == 1
    assert done.stdout.index("Stop: this is Windows build 0") < done.stdout.index("2 of 9")
    assert "9 of 9: Open the dashboard" in done.stdout


def test_a_folder_that_the_output_cannot_spell_is_no_failure(computer: Computer, tmp_path: Path) -> None:
    folder = tmp_path / "J\u00fcrgen M\u00fcller \u56fe (x86)"
    computer.project.folder.rename(folder)
    surroundings = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    command = [sys.executable, str(folder / "scripts" / "setup_windows.py"), "install", "--dry-run", "--cuda", "cpu"]
    done = subprocess.run(command, env=surroundings, capture_output=True, check=False)
    assert done.stderr == b""
    assert b"J\xfcrgen M\xfcller \\u56fe (x86)" in done.stdout


def test_uninstalling_a_folder_without_img2vid_touches_nothing(computer: Computer, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / ".venv").mkdir(parents=True)
    done = start(computer.project.folder, "uninstall", "--yes", "--install-dir", str(other))
    assert done.returncode == 1
    assert "img2vid is not in" in done.stdout
    assert (other / ".venv").is_dir()


def test_another_folder_gets_a_copy_that_goes_on_by_itself(computer: Computer, tmp_path: Path) -> None:
    folder, target = computer.project.folder, tmp_path / "short"
    (folder / "checkpoints" / "svd.safetensors").touch()
    (folder / "checkpoints" / "svd_tiny.safetensors").touch()
    (folder / ".git").mkdir()
    done = start(folder, "install", "--yes", "--models", "svd_xl", "--cuda", "cpu", "--install-dir", str(target))
    assert "unknown model 'svd_xl'" in done.stdout
    copied = contents(target)
    assert {"scripts/run.py", "img2vid/__init__.py", "checkpoints/svd_tiny.safetensors"} <= copied
    assert not {".git", ".venv", "checkpoints/svd.safetensors"} & copied


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], None]:
    source = tmp_path / "source"
    for name in ("img2vid/__init__.py", "img2vid/new.py", "configs/versions.yaml"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    from windows.folder import copy_program

    return lambda target: copy_program(source, target)


def test_an_update_replaces_the_program_and_keeps_what_is_the_users(
    copy: Callable[[Path], None], tmp_path: Path
) -> None:
    target = tmp_path / "target"
    copy(target)
    for name in ("img2vid/old.py", "configs/versions.local.yaml", "outputs/a.mp4", "checkpoints/svd.safetensors"):
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).touch()
    copy(target)
    after = contents(target)
    assert "img2vid/old.py" not in after
    assert {"configs/versions.local.yaml", "outputs/a.mp4", "checkpoints/svd.safetensors", "img2vid/new.py"} <= after


@pytest.mark.parametrize("place", ["/", "source/inside", "a file", "full"])
def test_a_bad_place_for_a_copy_is_refused(copy: Callable[[Path], None], tmp_path: Path, place: str) -> None:
    from environment import SetupError

    (tmp_path / "a file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(SetupError, match=r"-InstallDir .* choose "):
        copy(tmp_path / place)
    assert contents(tmp_path / "full") == {"letter.txt"}


def test_a_drive_that_does_not_exist_gets_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from environment import SetupError
    from windows.folder import refuse_bad_target

    class Drive(type(tmp_path)):  # type: ignore[misc]
        """Path on a drive that does not exist."""

        anchor, drive = str(tmp_path / "missing"), "Q:"  # pyright: ignore[reportAssignmentType]

    with pytest.raises(SetupError, match=r"there is no drive Q:; choose a folder on another drive"):
        refuse_bad_target(tmp_path, Drive(tmp_path / "missing" / "img2vid"))


@pytest.mark.parametrize("path", [SCRIPTS / "setup_windows.py", *sorted((SCRIPTS / "windows").glob("*.py"))])
def test_the_oldest_python_can_read_it(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


def test_the_installer_needs_nothing_but_python() -> None:
    """It runs before anything is installed, so every module must import without site-packages."""
    program = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import setup_windows"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
