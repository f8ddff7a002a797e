"""Plain facts about this computer, without judging them: cards, processor, memory, disks, versions, folders.

torch is not imported for any of it, and nothing is written.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

import img2vid
from img2vid import paths
from img2vid.doctor.machine import nearest

MIB = 2**20
PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "safetensors",
    "sgm",
    "xformers",
    "triton",
    "numpy",
    "pillow",
    "av",
    "opencv-python",
    "opencv-python-headless",
    "streamlit",
    "altair",
    "dask",
    "distributed",
    "pydantic",
    "omegaconf",
    "huggingface_hub",
    "psutil",
    "rich",
)
"""Packages, by the names under which they are installed, on which it depends how img2vid works."""


@dataclass(frozen=True)
class Card:
    """A graphics card as its driver sees it now. total, used: bytes; load: percent; None where it does not say."""

    name: str
    driver: str
    total: int | None
    used: int | None
    load: int | None
    temperature: int | None


@dataclass(frozen=True)
class Memory:
    """Of the computer, in bytes, and how much of its processor is at work, in percent."""

    total: int
    used: int
    load: float


@dataclass(frozen=True)
class Disk:
    """The disk that a folder lies on, or will lie on, in bytes; None where it cannot be asked."""

    folder: Path
    total: int | None
    free: int | None


@dataclass(frozen=True)
class Place:
    """Where something is kept; `size` in bytes and the number of `files`, None as long as they are not counted."""

    what: str
    path: Path
    size: int | None = None
    files: int | None = None


def cards() -> list[Card]:
    """What nvidia-smi tells now; nothing where there is no such program, no driver or no card. Takes up to seconds."""
    fields = "name,driver_version,memory.total,memory.used,utilization.gpu,temperature.gpu"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [card for card in map(read_card, done.stdout.splitlines()) if card is not None]


def read_card(line: str) -> Card | None:
    """One line of nvidia-smi's list, such as "NVIDIA GeForce RTX 4090, 551.86, 24564, 1530, 3, 41"."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) < 6:
        return None
    total, used, load, temperature = (int(part) if part.isdecimal() else None for part in parts[-4:])
    name = ", ".join(parts[:-5])
    return Card(name, parts[-5], _bytes(total), _bytes(used), load, temperature)


def _bytes(mebibytes: int | None) -> int | None:
    return None if mebibytes is None else mebibytes * MIB


def memory() -> Memory:
    """As it is now; the processor's load since the last time that this was asked for."""
    now = psutil.virtual_memory()
    return Memory(now.total, now.total - now.available, psutil.cpu_percent(None))


def processor() -> str:
    """Its name, and how many cores and threads it has."""
    cores, threads = psutil.cpu_count(logical=False), psutil.cpu_count()
    count = f"{cores} cores, {threads} threads" if cores and cores != threads else f"{threads} cores"
    return f"{_processor_name()}, {count}"


def _processor_name() -> str:
    """As its maker calls it; each system knows that in a place of its own."""
    with suppress(OSError, subprocess.SubprocessError):
        if sys.platform == "win32":
            import winreg

            place = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
        if sys.platform == "darwin":
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def system() -> str:
    """The operating system with its version."""
    return platform.platform(aliased=True)


def python() -> str:
    """The Python that runs this, in words."""
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}"


def versions() -> dict[str, str]:
    """The version of img2vid and of each package that is installed, by its name."""
    found = {"img2vid": img2vid.__version__}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def disk(folder: Path) -> Disk:
    """The disk of a folder, which need not exist yet."""
    try:
        usage = shutil.disk_usage(nearest(folder))
    except OSError:
        return Disk(folder, None, None)
    return Disk(folder, usage.total, usage.free)


def places(home: Path, log: str, elsewhere: Iterable[Path] = ()) -> list[Place]:
    """Where everything lies, not counted yet. log: the name of the cluster's log; elsewhere: folders of videos."""
    kept = {"inputs": "inputs", "kept": "videos not saved", "latents": "latents", "trash": "deleted", "tabs": "tabs"}
    inside = [folder for folder in _folders(home) if folder.name not in kept]
    videos = sorted({*inside, *(folder for folder in elsewhere if home not in folder.parents)})
    return [
        Place("home", home),
        Place("store", home / "img2vid.sqlite"),
        Place("log", home / log),
        *(Place(what, home / name) for name, what in kept.items()),
        *(Place("videos", folder) for folder in videos),
        *(Place("checkpoints", folder) for folder in paths.checkpoint_folders()),
    ]


def _folders(home: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (one for one in home.iterdir() if one.is_dir() and not one.name.startswith("."))


def counted(found: Sequence[Place]) -> list[Place]:
    """The same with their sizes; takes long where there are many files. Links are not followed."""
    sizes: list[Place] = []
    for place in found:
        size, files = _size_of(place.path)
        sizes.append(Place(place.what, place.path, size, files))
    return sizes


def _size_of(path: Path) -> tuple[int, int]:
    """Bytes and number of files; what cannot be read, or goes while it is counted, counts nothing."""
    with suppress(OSError):
        if path.is_file():
            return path.stat().st_size, 1
    size = files = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                size += (Path(folder) / name).lstat().st_size
                files += 1
    return size, files
