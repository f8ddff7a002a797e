"""Edits of configs/versions.local.yaml, the user's own versions, that keep the rest of the file unchanged."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from img2vid import paths
from img2vid.documents import format_yaml
from img2vid.errors import BadInput, ConfigError
from img2vid.files import read_text, reason, whole_file
from img2vid.versions import ModelVersion, load_versions, parse_rows

_HEAD = "# Versions of your own; docs/own-checkpoint.md explains every field.\n"


def local_rows() -> Path:
    """Return the path of the file."""
    return paths.local_versions()


def is_local(name: str) -> bool:
    """Return True if a version is defined in that file."""
    return name in _parsed(_text())


def as_yaml(version: ModelVersion) -> str:
    """Format a version as a row of the file."""
    row = version.model_dump(exclude={"name"}, exclude_defaults=True)
    return format_yaml({version.name: row})


def require_free(name: str) -> None:
    """Raise BadInput if the name is invalid or in use."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise BadInput(
            f"a version name may contain only letters, digits, _, - and ., got {name!r}; choose one with --name"
        )
    if name in load_versions():
        raise BadInput(f"the version {name} already exists; choose another name with --name")


def add_row(version: ModelVersion) -> Path:
    """Append a version's row to the file and return its path. Raise BadInput for a name in use."""
    require_free(version.name)
    text = _text()
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    _write((text or _HEAD + "\n") + gap + as_yaml(version), {*_parsed(text), version.name})
    return local_rows()


def remove_row(name: str) -> None:
    """Remove a version's row from the file."""
    text = _text()
    key = re.escape(name)
    row = re.compile(
        rf"^(?:{key}|\"{key}\"|'{key}')[ \t]*:.*\n?(?:(?:[ \t]+.*|[ \t]*)(?:\n|\Z))*?(?=\S|\Z)", re.MULTILINE
    )
    _write(row.sub("", text, count=1), {*_parsed(text)} - {name})


def _text() -> str:
    try:
        return read_text(local_rows()) if local_rows().is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {local_rows()}: {error}") from error


def _parsed(text: str) -> Mapping[str, Any]:
    return parse_rows(text, local_rows())


def _write(text: str, names: set[str]) -> None:
    """Replace the file's text if it defines exactly the expected versions."""
    try:
        right = {*_parsed(text)} == names
    except ConfigError:
        right = False
    if not right:
        raise ConfigError(f"cannot edit {local_rows()} automatically; edit it by hand")
    try:
        with whole_file(local_rows()) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {local_rows()} ({reason(error)})") from error
