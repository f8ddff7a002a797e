"""NVIDIA GPUs of this computer, as reported by `nvidia-smi`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FIELDS = ("index", "name", "driver_version", "memory.total", "compute_cap")
FORMAT = "--format=csv,noheader,nounits"
CAPABILITIES = (
    # Drivers from before about 2022 do not report compute_cap; their GPUs are recognized by name.
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


@dataclass(frozen=True)
class Card:
    """One GPU. `memory` is in MiB; `capability` is its compute capability, or None if unknown."""

    name: str
    driver: tuple[int, ...]
    memory: int
    capability: tuple[int, int] | None

    def __str__(self) -> str:
        capability = ".".join(map(str, self.capability)) if self.capability else "unknown"
        driver = ".".join(f"{number:02}" if place else str(number) for place, number in enumerate(self.driver))
        return f"{self.name}, {self.memory / 1024:.1f} GiB, compute capability {capability}, driver {driver}"


@dataclass(frozen=True)
class Found:
    """GPUs found by `nvidia-smi`, or the reason for finding no GPU."""

    cards: tuple[Card, ...] = ()
    reason: str = ""


def find_cards(ask: Callable[[list[str]], tuple[int, str]] | None = None) -> Found:
    """Return the GPUs of this computer.

    `ask` runs nvidia-smi with arguments and returns its exit code and output; default: the driver's nvidia-smi.
    """
    if ask is None:
        program = nvidia_smi()
        if program is None:
            return Found(reason="nvidia-smi is missing; it is part of the NVIDIA driver")
        ask = asking(program)
    code, text = ask([f"--query-gpu={','.join(FIELDS)}", FORMAT])
    if "not a valid field" in text:
        code, text = ask([f"--query-gpu={','.join(FIELDS[:-1])}", FORMAT])
    cards = tuple(read_card(line) for line in text.splitlines() if line.count(",") >= len(FIELDS) - 2)
    if code != 0 or not cards:
        said = " ".join(text.split()) or f"no output, exit code {code}"
        return Found(reason=f"nvidia-smi reported: {said}")
    return Found(cards)


def nvidia_smi() -> str | None:
    """Return the path of nvidia-smi, also in the folder of older drivers that is not on PATH."""
    place = Path(os.environ.get("ProgramFiles", r"C:\Program Files")) / "NVIDIA Corporation" / "NVSMI"  # noqa: SIM112
    return shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=str(place))


def asking(program: str) -> Callable[[list[str]], tuple[int, str]]:
    def ask(arguments: list[str]) -> tuple[int, str]:
        try:
            done = subprocess.run(
                [program, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return 1, str(error)
        return done.returncode, done.stdout

    return ask


def read_card(line: str) -> Card:
    """Parse one output line. Memory that the driver does not report ("[N/A]") becomes 0."""
    _, name, driver, memory, *capability = (part.strip() for part in line.split(","))
    numbers = re.fullmatch(r"(\d+)\.(\d+)", capability[0]) if capability else None
    return Card(
        name=name,
        driver=tuple(map(int, re.findall(r"\d+", driver))),
        memory=int(memory) if memory.isdigit() else 0,
        capability=(int(numbers[1]), int(numbers[2])) if numbers else capability_of(name),
    )


def capability_of(name: str) -> tuple[int, int] | None:
    """Return the compute capability of a GPU by its name, or None."""
    return next((capability for pattern, capability in CAPABILITIES if re.search(pattern, name)), None)
