"""The checkpoints that can be downloaded, from configs/versions.yaml; read without the package that reads YAML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Model:
    """One row: its name, its file, and the size of that in bytes, 0 for those that come with img2vid."""

    name: str
    file: str
    bytes: int


def read_models(path: Path) -> dict[str, Model]:
    """The rows by name. The file is ours, and each of its lines holds one key."""
    rows: dict[str, dict[str, str]] = {}
    row: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([\w.-]+):\s*$", line):
            row = rows.setdefault(found[1], {})
        elif found := re.match(r"  (checkpoint|bytes):\s*([^\s#]+)", line):
            row[found[1]] = found[2]
    return {name: Model(name, row["checkpoint"], int(row.get("bytes", "0"))) for name, row in rows.items()}


def split(names: Iterable[str]) -> list[str]:
    """The names, also where several stand in one, as `powershell -File` hands them over ("svd,svd_xt")."""
    return [name for part in names for name in re.split(r"[,;\s]+", part) if name]


def pick(names: Sequence[str], models: dict[str, Model], folder: Path) -> tuple[list[Model], str]:
    """The models of these names that `folder` does not hold yet, or a sentence about the first name that is none."""
    known = {name: model for name, model in models.items() if model.bytes}
    for name in names:
        if name not in models:
            return [], f"there is no model {name!r}; choose from {', '.join(known)}"
    wanted = [known[name] for name in dict.fromkeys(names) if name in known]
    return [model for model in wanted if not (folder / model.file).is_file()], ""
