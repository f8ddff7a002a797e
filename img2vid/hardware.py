"""NVIDIA GPUs as reported by `nvidia-smi`, the torch builds that support them, and when a number format is slow.

Standard library only: the Windows installer imports this module before anything is installed.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

Capability = tuple[int, int]
TIMEOUT = 30.0
"""Seconds after which nvidia-smi is stopped."""
MIB = 2**20
SLOWER = 1.2
"""Ratio to the time in float32 above which a number format counts as slower; less is measurement noise."""
NUMBERS = ("memory.total", "memory.used", "utilization.gpu", "temperature.gpu")
FIELDS = ("index", "driver_version", *NUMBERS, "compute_cap", "name")
"""Fields in the order of a line; the name comes last because it may contain commas."""
OLD_FIELDS = tuple(field for field in FIELDS if field != "compute_cap")
"""Fields of drivers from before about 2022; their GPUs are recognized by name."""
CAPABILITIES: tuple[tuple[str, Capability], ...] = (
    (r"Quadro RTX|TITAN RTX", (7, 5)),
    (r"RTX 50\d\d", (12, 0)),
    (r"RTX 40\d\d", (8, 9)),
    (r"RTX 30\d\d|RTX A\d{4}", (8, 6)),
    (r"\bA100", (8, 0)),
    (r"RTX 20\d\d|GTX 16\d\d|\bT4\b", (7, 5)),
    (r"TITAN V|V100", (7, 0)),
    (r"GTX 10\d\d|GT 10\d\d|TITAN X[Pp]|Quadro P|\bP4\b|\bP40\b", (6, 1)),
    (r"\bP100", (6, 0)),
    (r"GTX 9\d\d|GTX TITAN X|Quadro M|\bM40\b|\bM60\b", (5, 2)),
    (r"GTX 750", (5, 0)),
)
INDEX = "https://download.pytorch.org/whl"
DRIVERS = {11: ("450.80.2", "452.39"), 12: ("525.60.13", "527.41"), 13: ("580", "580")}
"""Oldest driver on Linux and on Windows for each generation of CUDA, by CUDA's minor-version compatibility."""


@dataclass(frozen=True)
class Card:
    """GPU as reported by its driver. total, used: bytes; load: percent; temperature: °C; None if unknown."""

    name: str
    driver: str
    total: int | None = None
    used: int | None = None
    load: int | None = None
    temperature: int | None = None
    capability: Capability | None = None
    index: int = 0

    def __str__(self) -> str:
        capability = ".".join(map(str, self.capability)) if self.capability else "unknown"
        memory = (self.total or 0) / 2**30
        return f"{self.name}, {memory:.1f} GiB, compute capability {capability}, driver {self.driver}"


@dataclass(frozen=True)
class Found:
    """GPUs found by `nvidia-smi`, or the reason for finding none."""

    cards: tuple[Card, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Build:
    """A torch build and the compute capabilities that it supports, from `oldest` to `newest`.

    size: GB for download and installation, a conservative estimate. newest_python: last Python with wheels.
    runtime: oldest Visual C++ runtime that will do, the linker version of the build's libraries.
    """

    tag: str
    torch: str
    torchvision: str
    size: float
    oldest: Capability = (0, 0)
    newest: Capability = (0, 0)
    newest_python: tuple[int, int] = (3, 14)
    runtime: tuple[int, int] = (14, 42)

    @property
    def index(self) -> str:
        """URL of the package index that contains the build."""
        return f"{INDEX}/{self.tag}"

    @property
    def packages(self) -> tuple[str, str]:
        """Requirements with the local version label, so that no other index can satisfy them."""
        return f"torch=={self.torch}+{self.tag}", f"torchvision=={self.torchvision}+{self.tag}"

    def fits(self, capability: Capability | None) -> bool:
        """Return True if the build supports the compute capability, or if that is unknown."""
        return capability is None or self.oldest <= capability <= self.newest

    def has_python(self, version: Sequence[int]) -> bool:
        """Return True if the build has wheels for this version of Python."""
        return tuple(version[:2]) <= self.newest_python


# torch 2.7.1 is the last with CUDA 11.8, 2.11.0 the last with cu128, 2.14 the last with any CUDA 12.
BUILDS = {
    build.tag: build
    for build in (
        Build("cu118", "2.7.1", "0.22.1", 9, (5, 0), (9, 0), (3, 13), (14, 29)),
        Build("cu126", "2.11.0", "0.26.0", 9, (5, 0), (9, 0)),
        Build("cu128", "2.11.0", "0.26.0", 10, (7, 5), (12, 0)),
        Build("cu130", "2.11.0", "0.26.0", 9, (7, 5), (12, 1)),
        Build("cpu", "2.11.0", "0.26.0", 2),
    )
}


def find_cards(ask: Callable[[list[str]], tuple[int, str]] | None = None) -> Found:
    """Return the GPUs of this computer. May take seconds.

    `ask` runs nvidia-smi with arguments and returns its exit code and output; default: the driver's nvidia-smi.
    """
    if ask is None:
        program = nvidia_smi()
        if program is None:
            return Found(reason="nvidia-smi is missing; it is part of the NVIDIA driver")
        ask = partial(_run, program)
    fields = FIELDS
    code, text = ask(_query(fields))
    if "not a valid field" in text:
        fields = OLD_FIELDS
        code, text = ask(_query(fields))
    cards = tuple(card for line in text.splitlines() if (card := read_card(line, fields)))
    if code != 0 or not cards:
        return Found(reason=f"nvidia-smi reported: {' '.join(text.split()) or f'no output, exit code {code}'}")
    return Found(cards)


def nvidia_smi() -> str | None:
    """Return the path of nvidia-smi, also in the folder of older drivers that is not on PATH."""
    place = Path(os.environ.get("ProgramFiles", r"C:\Program Files")) / "NVIDIA Corporation" / "NVSMI"  # noqa: SIM112
    return shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=str(place))


def read_card(line: str, fields: Sequence[str] = FIELDS) -> Card | None:
    """Parse an output line with these fields; None if it is malformed."""
    parts = [part.strip() for part in line.split(",", len(fields) - 1)]
    if len(parts) < len(fields) or not parts[0].isdecimal():
        return None
    row = dict(zip(fields, parts, strict=True))
    total, used, load, temperature = (int(row[name]) if row[name].isdecimal() else None for name in NUMBERS)
    found = re.fullmatch(r"(\d+)\.(\d+)", row.get("compute_cap", ""))
    return Card(
        row["name"],
        row["driver_version"],
        None if total is None else total * MIB,
        None if used is None else used * MIB,
        load,
        temperature,
        (int(found[1]), int(found[2])) if found else capability_of(row["name"]),
        int(row["index"]),
    )


def capability_of(name: str) -> Capability | None:
    """Return the compute capability of a GPU by its name, or None."""
    return next((capability for pattern, capability in CAPABILITIES if re.search(pattern, name)), None)


def old_driver(cuda: str, driver: str, windows: bool) -> str | None:
    """Return the oldest sufficient driver for a CUDA version ("12.8") or build ("cu128") if `driver` is older."""
    generation = re.match(r"(?:cu)?(\d\d)", cuda)
    floors = DRIVERS.get(int(generation[1])) if generation else None
    return floors[windows] if floors and _numbers(driver) < _numbers(floors[windows]) else None


def _query(fields: Sequence[str]) -> list[str]:
    return [f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]


def _run(program: str, arguments: list[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            [program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))
