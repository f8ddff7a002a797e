"""Actions of the installation steps; environment.py creates and fills the environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

import environment

from img2vid.hardware import Build
from img2vid.windows import runtime_version
from windows.requirement_files import requirement_lines, without

STARTER = "run_dashboard.cmd"
STARTER_LINES = (
    "@echo off",
    "rem Opens the img2vid dashboard; written by install_windows.ps1. Press Ctrl-C in its window to stop it.",
    "setlocal",
    'pushd "%~dp0"',
    'if not exist ".venv\\Scripts\\python.exe" goto missing',
    '".venv\\Scripts\\python.exe" "scripts\\run.py" %*',
    "set code=%errorlevel%",
    'if not "%code%"=="0" pause',
    "popd",
    "exit /b %code%",
    ":missing",
    "echo The Python environment is missing. Double-click install_windows.cmd to recreate it.",
    "pause",
    "popd",
    "exit /b 1",
)


def run(argv: Sequence[str], folder: Path) -> int:
    """Run a command in this console, so that its progress is visible. The log gets only the command and exit code."""
    sys.stdout.flush()
    surroundings = {**os.environ, "PYTHONSAFEPATH": "1"}
    return subprocess.run(argv, cwd=folder, env=surroundings, check=False).returncode


def install_runtime(argv: Sequence[str], oldest: tuple[int, int]) -> int:
    """Install the Visual C++ runtime. Raise SetupError if it is still missing or too old."""
    code = run(argv, environment.PROJECT)
    if (runtime_version() or (0, 0)) < oldest:
        raise environment.SetupError(f"winget ended with exit code {code}")
    return 0


def make_environment() -> int:
    environment.VENV.mkdir(parents=True, exist_ok=True)
    with environment.one_at_a_time():
        environment.create()
    return 0


def install_torch(build: Build) -> int:
    """Pin torch and torchvision to a build and install them."""
    with environment.one_at_a_time():
        environment.hold(build.index, build.packages)
        environment.install_held()
    return 0


def add_triton(requirement: str, check: Sequence[str]) -> int:
    """Install Triton for Windows if `torch.compile` then works, which `check` tests; it is optional."""
    with environment.one_at_a_time():
        try:
            environment.install_packages("Triton for Windows", "--no-deps", requirement)
            problem = "torch.compile fails with it" if run(check, environment.PROJECT) else ""
        except environment.SetupError as error:
            problem = str(error)
        if problem:
            package = requirement.partition("==")[0]
            run([str(environment.python()), "-I", "-m", "pip", "uninstall", "-q", "-y", package], environment.PROJECT)
            print(f"    Triton for Windows is left out, so that --compile has no effect: {problem}.")
    environment.ensure(*environment.with_extras())  # the packages have changed
    return 0


def strip(source: str, target: Path) -> int:
    """Write a requirement file with its includes, without triton, and with sgm from its archive."""
    lines = without(requirement_lines(environment.REQUIREMENTS / source))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(map(from_archive, lines)) + "\n", encoding="utf-8")
    return 0


def from_archive(line: str) -> str:
    """Replace a requirement that needs git with GitHub's archive of the same commit."""
    found = re.fullmatch(r"([\w-]+) @ git\+(https://github\.com/[\w.-]+/[\w.-]+?)(?:\.git)?@([0-9a-f]{40})", line)
    return f"{found[1]} @ {found[2]}/archive/{found[3]}.zip" if found else line


def sgm_archive(project: Path) -> str:
    """Return the download address of the reference package."""
    lines = map(from_archive, requirement_lines(project / "requirements" / "sgm.txt"))
    return next(line.partition(" @ ")[2] for line in lines if line.startswith("sgm @ "))


def install(target: Path) -> int:
    """Install a filtered file at the locked versions, and stamp the environment as complete for run.py."""
    environment.ensure(str(target))
    environment.ensure(*environment.with_extras())
    return 0


def write_starter(path: Path) -> int:
    path.write_bytes("\r\n".join((*STARTER_LINES, "")).encode("ascii"))
    return 0


def shortcut_command(root: PurePath, *, remove: bool = False) -> list[str]:
    """Return the command that creates or removes the shortcuts on the desktop and in the Start menu."""
    script = str(root / "scripts" / "windows" / "shortcuts.ps1")
    shell = ["powershell.exe", "-NoProfile", "-ExecutionPolicy", "Bypass", "-File", script]
    return [*shell, "-Target", str(root / STARTER), *(["-Remove"] if remove else [])]


def open_file(path: Path) -> int:
    """Open a file as a double-click does."""
    if sys.platform == "win32":
        os.environ.pop("PIP_LOG", None)  # the log is only for the installation
        os.startfile(path)
        return 0
    return 1
