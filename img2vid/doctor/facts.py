"""Facts about this computer, without judgment: GPUs, processor, memory, disks, versions, folders.

Nothing here imports torch or writes to disk.
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
    "huggingface_hub",
    "psutil",
    "rich",
)
"""Distribution names of the packages whose versions matter."""


@dataclass(frozen=True)
class Memory:
    """Memory of the computer in bytes, and its processor load in percent."""

    total: int
    used: int
    load: float


@dataclass(frozen=True)
class Disk:
    """Total and free bytes of the disk of a folder, which need not exist; None if unknown."""

    folder: Path
    total: int | None
    free: int | None


@dataclass(frozen=True)
class Place:
    """Storage location with its `size` in bytes and number of `files`, both None until counted."""

    what: str
    path: Path
    size: int | None = None
    files: int | None = None


def memory() -> Memory:
    """Return the present memory use, and the processor load since the previous call."""
    now = psutil.virtual_memory()
    return Memory(now.total, now.total - now.available, psutil.cpu_percent(None))


def processor() -> str:
    """Return the processor's name and its number of cores and threads."""
    cores, threads = psutil.cpu_count(logical=False), psutil.cpu_count()
    count = f"{cores} cores, {threads} threads" if cores and cores != threads else f"{threads} cores"
    return f"{_processor_name()}, {count}"


def _processor_name() -> str:
    """Return the manufacturer's name, which each operating system stores elsewhere."""
    with suppress(OSError, subprocess.SubprocessError):
        if sys.platform == "win32":
            import winreg

            location = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, location) as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def system() -> str:
    """Return the operating system and its version."""
    return platform.platform(aliased=True)


def python() -> str:
    """Return the name, version and architecture of the running Python."""
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}"


def versions() -> dict[str, str]:
    """Return the versions of img2vid and of the installed packages in `PACKAGES`, by name."""
    found = {"img2vid": img2vid.__version__}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def disk(folder: Path) -> Disk:
    """Return the disk usage of a folder, which need not exist yet."""
    try:
        usage = shutil.disk_usage(nearest(folder))
    except OSError:
        return Disk(folder, None, None)
    return Disk(folder, usage.total, usage.free)


def places(home: Path, log: str, elsewhere: Iterable[Path] = ()) -> list[Place]:
    """Return all storage locations, not counted yet. log: name of the cluster log; elsewhere: further video folders."""
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
    """Return the locations with their sizes; slow if there are many files. Symbolic links are not followed."""
    sizes: list[Place] = []
    for place in found:
        size, files = _size_of(place.path)
        sizes.append(Place(place.what, place.path, size, files))
    return sizes


def _size_of(path: Path) -> tuple[int, int]:
    """Return bytes and number of files; files that are unreadable or deleted meanwhile count as zero."""
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
