"""Diagnostics text for bug reports: the computer, the doctor's findings and recent failures.

The text is meant for publication, so all of it passes through `redaction`.
"""

import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from img2vid.doctor import facts
from img2vid.doctor.redaction import Redaction
from img2vid.doctor.report import Finding, summary
from img2vid.hardware import Card

SHOWN = ("IMG2VID_", "CUDA_", "PYTORCH_", "OMP_", "STREAMLIT_", "DASK_")
"""Prefixes of environment variables whose values are included."""
NAMED = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "HF_TOKEN", "HF_ENDPOINT", "HF_HOME", "PYTHONPATH")
"""Environment variables reported as set, without their values."""
LINES, LONGEST_LINE = 40, 400
"""Number of lines quoted from the end of the cluster log, and the length at which they are cut."""
GB = 1e9


@dataclass(frozen=True)
class Failure:
    """Failed job: a description (version, video size), its error message and details."""

    about: str
    error: str
    details: str = ""


@dataclass(frozen=True)
class Sources:
    """Inputs of the text; None as `cards` or `findings` means not available yet."""

    cards: Sequence[Card] | None
    findings: Sequence[Finding] | None
    workers: Sequence[str]
    failures: Sequence[Failure]
    log: Path
    disks: Mapping[str, Path]
    """Folders by their label in the text."""


def diagnostics(sources: Sources, redaction: Redaction, environment: Mapping[str, str] = os.environ) -> str:
    """Return the redacted diagnostics as Markdown."""
    parts = [
        ("img2vid diagnostics", _listed(_computer(sources))),
        ("Versions", _fenced("\n".join(f"{name}=={version}" for name, version in facts.versions().items()))),
        ("Variables", _fenced("\n".join(_variables(environment)) or "none set")),
        ("System checks", _fenced(_doctor(sources.findings))),
        ("Recent failures", "\n\n".join(map(_failure, sources.failures)) or "None."),
        ("End of cluster.log", _fenced("\n".join(last_lines(sources.log)) or "Empty.")),
    ]
    return redaction("\n\n".join(f"### {title}\n\n{text}" for title, text in parts) + "\n")


def last_lines(log: Path, count: int = LINES) -> list[str]:
    """Return the last lines of a text file, long lines cut; empty if it cannot be read."""
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip()[:LONGEST_LINE] for line in deque(file, count)]
    except OSError:
        return []


def _computer(sources: Sources) -> list[str]:
    memory = facts.memory()
    found = facts.disk
    disks = [(name, found(folder)) for name, folder in sources.disks.items()]
    return [
        f"System: {facts.system()}",
        f"Python: {facts.python()}",
        f"Processor: {facts.processor()}",
        f"Memory: {memory.used / GB:.1f} of {memory.total / GB:.1f} GB in use",
        *_cards(sources.cards),
        *(f"Worker: {worker}" for worker in sources.workers),
        *(f"Disk ({name}): {_amount(disk.free)} of {_amount(disk.total)} free" for name, disk in disks),
    ]


def _cards(cards: Sequence[Card] | None) -> list[str]:
    if cards is None:
        return ["GPU: not checked yet"]
    if not cards:
        return ["GPU: no NVIDIA GPU found"]
    return [
        f"GPU: {card.name}, driver {card.driver}, {_amount(card.used)} of {_amount(card.total)} in use"
        for card in cards
    ]


def _amount(count: int | None) -> str:
    return "?" if count is None else f"{count / GB:.1f} GB"


def _variables(environment: Mapping[str, str]) -> list[str]:
    shown = [f"{name}={value}" for name, value in sorted(environment.items()) if name.startswith(SHOWN)]
    named = [f"{name} is set" for name in NAMED if environment.get(name) or environment.get(name.lower())]
    return [*shown, *named]


def _doctor(findings: Sequence[Finding] | None) -> str:
    if findings is None:
        return "Not run."
    return "\n".join([*(f"{one.state.value:8}{one.check}: {one.found}" for one in findings), summary(findings)])


def _failure(failure: Failure) -> str:
    details = f"\n\n{_fenced(failure.details.strip())}" if failure.details else ""
    return f"* {failure.about}: {failure.error}{details}"


def _listed(rows: Sequence[str]) -> str:
    return "\n".join(f"* {row}" for row in rows)


def _fenced(text: str) -> str:
    """Return the text as a Markdown code block, with a fence longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
