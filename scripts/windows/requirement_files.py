"""Requirement files with their includes resolved, without the packages that Windows does not need."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

UNWANTED = ("triton",)
"""Excluded packages: triton has no Windows wheel on PyPI and is not needed."""


def requirement_lines(path: Path) -> list[str]:
    """Return the requirements and options of a file and its -r includes, without comments."""
    lines: list[str] = []
    for line in joined(path.read_text(encoding="utf-8-sig")):
        included = re.match(r"(?:-r|--requirement)(?:\s+|=)\s*(.+)$", line)
        lines += requirement_lines(path.parent / included[1]) if included else [line]
    return lines


def joined(text: str) -> Iterable[str]:
    """Yield the lines as pip reads them: continuation lines joined, without comments and blank lines."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if line:
            yield line


def package_of(line: str) -> str:
    """Return the normalized package name of a line, or "" for an option."""
    name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
    return re.sub(r"[-_.]+", "-", name[0]).strip("-").lower() if name else ""


def without(lines: Iterable[str], packages: Iterable[str] = UNWANTED) -> list[str]:
    """Return the lines that do not require these packages."""
    names = set(packages)
    return [line for line in lines if package_of(line) not in names]


def left_out(lines: Iterable[str]) -> list[str]:
    """Return the lines that `without` excludes."""
    return [line for line in lines if package_of(line) in UNWANTED]
