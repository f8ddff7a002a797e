"""What the installation has to know of a computer before it begins, and what of it stands in the way."""

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

from windows.cards import Found, find_cards

OLDEST_BUILD = 10240
WINDOWS_11 = 22000
LONGEST_INSIDE = 150
"""Characters of the longest path below site-packages; the longest that was found there had 142."""
LONGEST_ROOT = 259 - len(r"\.venv\Lib\site-packages" + "\\") - LONGEST_INSIDE
IN_TEMP = 4.0
"""GB that pip needs for what it is just unpacking, where the folder for temporary files is on another drive."""


@dataclass(frozen=True)
class Machine:
    """A Windows computer; space is in GB, `root` is the project's folder."""

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
    """By drive, such as "C:"."""
    venv: str = "none"
    """Of the environment in `root`: "none", "broken", or the version of its Python, "3.11"."""
    torch: str = ""
    """The version in that environment, such as "2.7.1+cu118"."""


@dataclass(frozen=True)
class Obstacle:
    """What stands in the way, and what to do about it."""

    problem: str
    remedy: str


def read_machine(root: Path) -> Machine:
    """This computer; nothing is changed."""
    temp = Path(tempfile.gettempdir())
    return Machine(
        root=root,
        python=Path(getattr(sys, "_base_executable", "") or sys.executable),
        python_version=(sys.version_info.major, sys.version_info.minor, sys.version_info.micro),
        bits=struct.calcsize("P") * 8,
        build=windows_build(),
        architecture=platform.machine(),
        found=find_cards(),
        long_paths=long_paths(),
        temp=temp,
        free={drive_of(place): shutil.disk_usage(existing(place)).free / 1e9 for place in (root, temp)},
        venv=venv_state(root / ".venv"),
        torch=torch_version(root / ".venv"),
    )


def windows_build() -> int:
    return sys.getwindowsversion().build if sys.platform == "win32" else 0


def long_paths() -> bool:
    """Whether Windows lets programs use paths of more than 260 characters."""
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return winreg.QueryValueEx(key, "LongPathsEnabled")[0] == 1
    except OSError:
        return False


def drive_of(place: PurePath) -> str:
    return place.drive.upper()


def torch_version(venv: Path) -> str:
    """Of the torch that is installed, or "" where none is, or not whole."""
    places = ("Lib/site-packages", "lib/*/site-packages")
    found = [path for place in places for path in venv.glob(f"{place}/torch-*.dist-info/RECORD")]
    return found[0].parent.name.removeprefix("torch-").removesuffix(".dist-info") if found else ""


def existing(place: Path) -> Path:
    """The nearest folder above that is there."""
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


def python_obstacle(version: tuple[int, int, int], bits: int, python: PurePath) -> Obstacle | None:
    """What is wrong with the Python that runs the installation."""
    found = ".".join(map(str, version))
    remedy = "install Python 3.12, 64-bit, from https://www.python.org/downloads/windows/ and start again"
    if "windowsapps" in str(python).lower():
        return Obstacle(
            f"{python} belongs to the Microsoft Store, which keeps what such a Python writes in a place of its own",
            remedy,
        )
    if not environment.OLDEST <= version[:2] <= environment.NEWEST:
        return Obstacle(f"{python} is Python {found}, and 3.10 to 3.13 will do", remedy)
    if bits != 64:
        return Obstacle(f"{python} is a {bits}-bit Python, and torch is made for 64 bits alone", remedy)
    return None


def obstacles(machine: Machine, needed: float) -> list[Obstacle]:
    """All that stands in the way of an installation that takes `needed` GB."""
    wrong = [python_obstacle(machine.python_version, machine.bits, machine.python)]
    if machine.build < OLDEST_BUILD or machine.architecture.upper() != "AMD64":
        wrong.append(
            Obstacle(
                f"this is Windows build {machine.build} on {machine.architecture}, and torch has CUDA builds for "
                "64-bit Windows 10 and 11 on Intel and AMD processors alone",
                "use another computer, or the notebook in docs/colab.md",
            )
        )
    wrong.append(path_obstacle(machine.root, machine.long_paths))
    wrong += [space_obstacle(drive, free, space) for drive, free, space in spaces(machine, needed)]
    return [obstacle for obstacle in wrong if obstacle is not None]


def path_obstacle(root: PurePath, long_paths: bool) -> Obstacle | None:
    """What is wrong with the project's folder."""
    if re.search(r'[%!^&"]', str(root)):
        return Obstacle(
            f"the folder {root} has one of % ! ^ & in its path, at which the Windows command line stumbles",
            r"choose another one, such as -InstallDir C:\img2vid",
        )
    if long_paths or len(str(root)) <= LONGEST_ROOT:
        return None
    return Obstacle(
        f"the path {root} has {len(str(root))} characters, and with more than {LONGEST_ROOT} some files of torch would "
        "pass the 260 that Windows allows",
        r"choose a shorter folder, such as -InstallDir C:\img2vid, or switch long paths on as an administrator: "
        r"reg add HKLM\SYSTEM\CurrentControlSet\Control\FileSystem /v LongPathsEnabled /t REG_DWORD /d 1 /f",
    )


def spaces(machine: Machine, needed: float) -> Iterable[tuple[str, float, float]]:
    """Drive, free and needed space, for the drives of the project's folder and of temporary files."""
    wanted: dict[str, float] = {drive_of(machine.root): needed}
    if drive_of(machine.temp) not in wanted:
        wanted[drive_of(machine.temp)] = IN_TEMP
    for drive, space in wanted.items():
        yield drive, machine.free.get(drive, 0.0), space


def space_obstacle(drive: str, free: float, needed: float) -> Obstacle | None:
    if free >= needed:
        return None
    return Obstacle(
        f"{free:.1f} GB are free on {drive}, and about {needed:.1f} GB are needed",
        "make room, or choose a folder on another drive with -InstallDir (and with TEMP for temporary files)",
    )
