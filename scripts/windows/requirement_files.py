"""Requirement files without the packages that Windows has no use for, with the files that they include."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

UNWANTED = ("triton",)
"""There is no triton for Windows on the package index, and nothing here needs it."""


def requirement_lines(path: Path) -> list[str]:
    """The requirements and options of a file and of those that it includes with -r, without comments."""
    lines: list[str] = []
    for line in joined(path.read_text(encoding="utf-8-sig")):
        included = re.match(r"(?:-r|--requirement)(?:\s+|=)\s*(.+)$", line)
        lines += requirement_lines(path.parent / included[1]) if included else [line]
    return lines


def joined(text: str) -> Iterable[str]:
    """The lines of a requirement file as pip reads them: continued ones in one piece, without comments and blanks."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if line:
            yield line


def package_of(line: str) -> str:
    """The normalized name of the package that a line asks for, or "" for an option."""
    name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
    return re.sub(r"[-_.]+", "-", name[0]).strip("-").lower() if name else ""


def without(lines: Iterable[str], packages: Iterable[str] = UNWANTED) -> list[str]:
    """The lines that ask for none of these packages, the others unchanged."""
    names = set(packages)
    return [line for line in lines if package_of(line) not in names]


def left_out(lines: Iterable[str]) -> list[str]:
    """The lines that `without` leaves out."""
    return [line for line in lines if package_of(line) in UNWANTED]


def write_without(path: Path, target: Path, packages: Iterable[str] = UNWANTED) -> None:
    """Writes a copy of the file without these packages, in one piece with all that it includes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(without(requirement_lines(path), packages)) + "\n", encoding="utf-8")
