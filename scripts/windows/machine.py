"""Properties of a computer that the installation depends on, and problems that prevent it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import environment

from img2vid.hardware import Build, Found, find_cards
from img2vid.windows import RUNTIME_URL, allows_long_paths, runtime_version

RUNNING = "the dashboard is running, and Windows cannot replace files that are in use"
OLDEST_BUILD = 10240
WINDOWS_11 = 22000
LONGEST_INSIDE = 150
"""Characters of the longest path below site-packages; the longest one found had 142."""
LONGEST_ROOT = 259 - len(r"\.venv\Lib\site-packages" + "\\") - LONGEST_INSIDE
IN_TEMP = 4.0
"""GB that pip needs for unpacking if the temporary folder is on another drive."""


@dataclass(frozen=True)
class Machine:
    """A Windows computer. Space is in GB, `root` is the project folder."""

    root: PurePath
    python: PurePath
    python_version: tuple[int, int, int]
    bits: int
    build: int
    architecture: str
    found: Found
    long_paths: bool
    temp: PurePath
    free: dict[str, float] = field(default_factory=dict)
    """Free space by drive, such as "C:"."""
    venv: str = "none"
    """State of the environment in `root`: "none", "broken", or its Python version, such as "3.11"."""
    torch: str = ""
    """Version of torch in that environment, such as "2.7.1+cu118"."""
    runtime: tuple[int, int] | None = None
    """Version of the Visual C++ runtime, such as (14, 42), or None if it is missing."""
    winget: bool = False
    store: bool = False
    """True if the Python is from the Microsoft Store."""
    running: bool = False
    """True if the dashboard runs in `root`."""


@dataclass(frozen=True)
class Obstacle:
    """A problem that prevents the installation, and its remedy."""

    problem: str
    remedy: str


def read_machine(root: Path) -> Machine:
    """Return this computer's properties, without changing anything."""
    temp = Path(tempfile.gettempdir())
    return Machine(
        root=root,
        python=Path(getattr(sys, "_base_executable", "") or sys.executable),
        python_version=(sys.version_info.major, sys.version_info.minor, sys.version_info.micro),
        bits=struct.calcsize("P") * 8,
        build=windows_build(),
        architecture=platform.machine(),
        found=find_cards(),
        long_paths=allows_long_paths(),
        temp=temp,
        free={drive_of(place): shutil.disk_usage(existing(place)).free / 1e9 for place in (root, temp)},
        venv=venv_state(root / ".venv"),
        torch=torch_version(root / ".venv"),
        runtime=runtime_version(),
        winget=shutil.which("winget") is not None,
        store=from_store(sys.base_prefix),
        running=environment.home_in_use(root) is not None,
    )


def from_store(prefix: str) -> bool:
    """Return True for the folder of a Python from the Microsoft Store.

    Programs of the Python Install Manager also lie in WindowsApps, but start a Python elsewhere.
    """
    return "\\windowsapps\\" in f"{prefix}\\".lower()


def windows_build() -> int:
    return sys.getwindowsversion().build if sys.platform == "win32" else 0


def drive_of(place: PurePath) -> str:
    return place.drive.upper()


def torch_version(venv: Path) -> str:
    """Return the version of a completely installed torch, or ""."""
    places = ("Lib/site-packages", "lib/*/site-packages")
    found = [path for place in places for path in venv.glob(f"{place}/torch-*.dist-info/RECORD")]
    return found[0].parent.name.removeprefix("torch-").removesuffix(".dist-info") if found else ""


def existing(place: Path) -> Path:
    """Return the nearest existing parent folder."""
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def venv_state(venv: Path) -> str:
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not venv.exists() or not any(entry.name != environment.LOCK_NAME for entry in venv.iterdir()):
        return "none"
    program = "import pip, sys, struct; print('%d.%d' % sys.version_info[:2], struct.calcsize('P') * 8)"
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", program], capture_output=True, text=True, check=True, timeout=120
        )
    except (OSError, subprocess.SubprocessError):
        return "broken"
    version, bits = done.stdout.split()
    return version if bits == "64" else "broken"


def python_obstacle(machine: Machine) -> Obstacle | None:
    """Return the problem with the Python that runs the installation, or None."""
    python, version = machine.python, machine.python_version
    found = ".".join(map(str, version))
    remedy = "install Python 3.12, 64-bit, from https://www.python.org/downloads/windows/ and run again"
    if machine.store:
        return Obstacle(
            f"{python} is a Microsoft Store Python, which redirects the files it writes to another location",
            remedy,
        )
    if not environment.OLDEST <= version[:2] <= environment.NEWEST:
        return Obstacle(f"{python} is Python {found}, but img2vid needs {environment.SUPPORTED}", remedy)
    if machine.bits != 64:
        return Obstacle(f"{python} is a {machine.bits}-bit Python, but torch needs 64 bits", remedy)
    return None


def runtime_problem(machine: Machine, build: Build) -> str:
    """Return why the Visual C++ runtime will not do for a torch build, or ""."""
    if machine.runtime is not None and machine.runtime >= build.runtime:
        return ""
    found = "is missing" if machine.runtime is None else f"has version {'.'.join(map(str, machine.runtime))}"
    return f"Microsoft's Visual C++ runtime {found}; torch {build.torch} needs {'.'.join(map(str, build.runtime))}"


def runtime_obstacle(machine: Machine, build: Build) -> Obstacle | None:
    """Return the problem with the Visual C++ runtime, or None."""
    problem = runtime_problem(machine, build)
    return Obstacle(problem, f"install {RUNTIME_URL} and run again") if problem else None


def obstacles(machine: Machine, needed: float) -> list[Obstacle]:
    """Return all problems that prevent an installation of `needed` GB."""
    wrong = [python_obstacle(machine)]
    if machine.running:
        wrong.append(Obstacle(RUNNING, "close its window and run again"))
    if machine.build < OLDEST_BUILD or machine.architecture.upper() != "AMD64":
        wrong.append(
            Obstacle(
                f"this is Windows build {machine.build} on {machine.architecture}, but torch with CUDA needs 64-bit "
                "Windows 10 or 11 on an Intel or AMD processor",
                "use another computer, or the notebook in docs/colab.md",
            )
        )
    wrong.append(path_obstacle(machine.root, machine.long_paths))
    wrong += [space_obstacle(drive, free, space) for drive, free, space in spaces(machine, needed)]
    return [obstacle for obstacle in wrong if obstacle is not None]


def path_obstacle(root: PurePath, long_paths: bool) -> Obstacle | None:
    """Return the problem with the project folder, or None."""
    if re.search(r'[%!^&"]', str(root)):
        return Obstacle(
            f"the path {root} contains one of % ! ^ &, which the Windows command line cannot handle",
            r"choose another folder, such as -InstallDir C:\img2vid",
        )
    if long_paths or len(str(root)) <= LONGEST_ROOT:
        return None
    return Obstacle(
        f"the path {root} has {len(str(root))} characters; with more than {LONGEST_ROOT}, some files of torch exceed "
        "the Windows limit of 260",
        r"choose a shorter folder, such as -InstallDir C:\img2vid, or enable long paths as an administrator: "
        r"reg add HKLM\SYSTEM\CurrentControlSet\Control\FileSystem /v LongPathsEnabled /t REG_DWORD /d 1 /f",
    )


def spaces(machine: Machine, needed: float) -> Iterable[tuple[str, float, float]]:
    """Yield drive, free and needed space, for the drives of the project folder and of temporary files."""
    wanted: dict[str, float] = {drive_of(machine.root): needed}
    if drive_of(machine.temp) not in wanted:
        wanted[drive_of(machine.temp)] = IN_TEMP
    for drive, space in wanted.items():
        yield drive, machine.free.get(drive, 0.0), space


def space_obstacle(drive: str, free: float, needed: float) -> Obstacle | None:
    if free >= needed:
        return None
    return Obstacle(
        f"{drive} has {free:.1f} GB free, but about {needed:.1f} GB are needed",
        "free some space, or choose a folder on another drive with -InstallDir (and TEMP for temporary files)",
    )
