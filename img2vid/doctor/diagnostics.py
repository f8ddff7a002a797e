"""One text for a report of a fault: what this computer is, what the doctor found, what failed last.

It is meant for strangers' eyes, so that all of it goes through `redaction` at the end.
"""

import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from img2vid.doctor import facts
from img2vid.doctor.facts import Card
from img2vid.doctor.redaction import Redaction
from img2vid.doctor.report import Finding, summary

SHOWN = ("IMG2VID_", "CUDA_", "PYTORCH_", "OMP_", "STREAMLIT_", "DASK_")
"""Beginnings of the names of variables whose values are told."""
NAMED = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "HF_TOKEN", "HF_ENDPOINT", "HF_HOME", "PYTHONPATH")
"""Variables of which it is only told that they are set."""
LINES, LONGEST_LINE = 40, 400
"""Of the cluster's log, from its end."""
GB = 1e9


@dataclass(frozen=True)
class Failure:
    """A job that failed: its version and size of video, and what was said."""

    about: str
    error: str
    details: str = ""


@dataclass(frozen=True)
class Sources:
    """What the text is made of. cards: None where they were not looked at yet; findings: likewise of the doctor."""

    cards: Sequence[Card] | None
    findings: Sequence[Finding] | None
    workers: Sequence[str]
    failures: Sequence[Failure]
    log: Path
    disks: Mapping[str, Path]
    """Folders by what they are called in the text."""


def diagnostics(sources: Sources, redaction: Redaction, environment: Mapping[str, str] = os.environ) -> str:
    """The text, as Markdown."""
    parts = [
        ("img2vid, diagnostics", _listed(_computer(sources))),
        ("Versions", _fenced("\n".join(f"{name}=={version}" for name, version in facts.versions().items()))),
        ("Variables", _fenced("\n".join(_variables(environment)) or "none of ours is set")),
        ("What the doctor says", _fenced(_doctor(sources.findings))),
        ("What failed last", "\n\n".join(map(_failure, sources.failures)) or "Nothing."),
        ("The end of cluster.log", _fenced("\n".join(last_lines(sources.log)) or "It is empty.")),
    ]
    return redaction("\n\n".join(f"### {title}\n\n{text}" for title, text in parts) + "\n")


def last_lines(log: Path, count: int = LINES) -> list[str]:
    """The end of a text file, long lines cut; nothing where there is none."""
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
        *(f"Disk of {name}: {_amount(disk.free)} of {_amount(disk.total)} free" for name, disk in disks),
    ]


def _cards(cards: Sequence[Card] | None) -> list[str]:
    if cards is None:
        return ["Graphics card: not looked at yet"]
    if not cards:
        return ["Graphics card: nvidia-smi lists none"]
    return [
        f"Graphics card: {card.name}, driver {card.driver}, {_amount(card.used)} of {_amount(card.total)} in use"
        for card in cards
    ]


def _amount(count: int | None) -> str:
    return "?" if count is None else f"{count / GB:.1f} GB"


def _variables(environment: Mapping[str, str]) -> list[str]:
    told = [f"{name}={value}" for name, value in sorted(environment.items()) if name.startswith(SHOWN)]
    named = [f"{name} is set" for name in NAMED if environment.get(name) or environment.get(name.lower())]
    return [*told, *named]


def _doctor(findings: Sequence[Finding] | None) -> str:
    if findings is None:
        return "It was not asked."
    return "\n".join([*(f"{one.state.value:8}{one.check}: {one.found}" for one in findings), summary(findings)])


def _failure(failure: Failure) -> str:
    details = f"\n\n{_fenced(failure.details.strip())}" if failure.details else ""
    return f"* {failure.about}: {failure.error}{details}"


def _listed(rows: Sequence[str]) -> str:
    return "\n".join(f"* {row}" for row in rows)


def _fenced(text: str) -> str:
    """As a block of code; a text with such a fence in it gets a longer one."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
