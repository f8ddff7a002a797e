"""Downloadable checkpoints from configs/versions.yaml, parsed without a YAML package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Model:
    """One row: name, file, and size in bytes (0 for checkpoints that come with img2vid)."""

    name: str
    file: str
    bytes: int


def read_models(path: Path) -> dict[str, Model]:
    """Return the rows by name. The format is simple: each line has one key."""
    rows: dict[str, dict[str, str]] = {}
    row: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([\w.-]+):\s*$", line):
            row = rows.setdefault(found[1], {})
        elif found := re.match(r"  (checkpoint|bytes):\s*([^\s#]+)", line):
            row[found[1]] = found[2]
    return {name: Model(name, row["checkpoint"], int(row.get("bytes", "0"))) for name, row in rows.items()}


def split(names: Iterable[str]) -> list[str]:
    """Split names that `powershell -File` passes as one argument ("svd,svd_xt")."""
    return [name for part in names for name in re.split(r"[,;\s]+", part) if name]


def pick(names: Sequence[str], models: dict[str, Model], folder: Path) -> tuple[list[Model], str]:
    """Return the models that are not in `folder` yet, or an error message for the first unknown name."""
    known = {name: model for name, model in models.items() if model.bytes}
    for name in names:
        if name not in models:
            return [], f"unknown model {name!r}; choose from {', '.join(known)}"
    wanted = [known[name] for name in dict.fromkeys(names) if name in known]
    return [model for model in wanted if not (folder / model.file).is_file()], ""
