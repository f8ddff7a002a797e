"""Writes rows of configs/versions.local.yaml, the versions of one's own, and leaves what else is in it as it is."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from img2vid import paths
from img2vid.errors import BadInput, ConfigError
from img2vid.files import whole_file
from img2vid.versions import ModelVersion, load_versions

_HEAD = "# Versions of your own; docs/own-checkpoint.md explains every field.\n"


def local_rows() -> Path:
    """The file."""
    return paths.CONFIGS / "versions.local.yaml"


def is_local(name: str) -> bool:
    """Whether a version is a row of that file."""
    return name in _parsed(_text())


def as_yaml(version: ModelVersion) -> str:
    """A version as a row of the file."""
    row = version.model_dump(exclude={"name"}, exclude_defaults=True)
    return yaml.safe_dump({version.name: row}, sort_keys=False, allow_unicode=True, width=110)


def require_free(name: str) -> None:
    """Raises BadInput where a version has that name already, or where it is none."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise BadInput(f"a version's name has letters, digits, _, - and . in it, got {name!r}; choose one with --name")
    if name in load_versions():
        raise BadInput(f"there is a model version {name} already; choose another name with --name")


def add_row(version: ModelVersion) -> Path:
    """Writes a version's row at the end of the file, and returns where that is. Raises BadInput for a name in use."""
    require_free(version.name)
    text = _text()
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    _write((text or _HEAD + "\n") + gap + as_yaml(version), {*_parsed(text), version.name})
    return local_rows()


def remove_row(name: str) -> None:
    """Takes a version's row out of the file."""
    text = _text()
    key = re.escape(name)
    row = re.compile(
        rf"^(?:{key}|\"{key}\"|'{key}')[ \t]*:.*\n?(?:(?:[ \t]+.*|[ \t]*)(?:\n|\Z))*?(?=\S|\Z)", re.MULTILINE
    )
    _write(row.sub("", text, count=1), {*_parsed(text)} - {name})


def _text() -> str:
    try:
        return local_rows().read_text(encoding="utf-8") if local_rows().is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{local_rows()} cannot be read: {error}") from error


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        tree: Any = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{local_rows()} cannot be read: {' '.join(str(error).split())}") from error
    return tree


def _write(text: str, names: set[str]) -> None:
    """Puts a new text in place of the file, if it holds the rows that it should."""
    try:
        right = {*_parsed(text)} == names
    except ConfigError:
        right = False
    if not right:
        raise ConfigError(f"{local_rows()} has a form that cannot be changed here; edit it by hand")
    try:
        with whole_file(local_rows()) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{local_rows()} cannot be written ({error.strerror})") from error
