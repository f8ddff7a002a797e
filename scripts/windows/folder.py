"""Copying the program to another folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from environment import SetupError

LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", "outputs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "*.log"
)
SHIPPED = ("README.md", "svd_tiny.safetensors", "svd_tiny_xt.safetensors")
"""Files of `checkpoints` that are copied; large ones are not."""


def copy_program(source: Path, target: Path) -> None:
    """Copy the program's files over those of an older version, and keep the user's own files.

    Raise SetupError if `target` is not suitable.
    """
    refuse_bad_target(source, target)
    try:
        if (target / "img2vid").is_dir():
            shutil.rmtree(target / "img2vid")  # removed modules of an older version must not stay importable
        shutil.copytree(source, target, ignore=left_behind(source), dirs_exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"Cannot copy the program to {target} ({error}). Close the dashboard, check that the folder is writable, "
            "and run again."
        ) from error


def refuse_bad_target(source: Path, target: Path) -> None:
    if not Path(target.anchor).exists():
        raise SetupError(f"-InstallDir {target}: there is no drive {target.drive}; choose a folder on another drive.")
    if target == Path(target.anchor):
        raise SetupError(f"-InstallDir {target} is a whole drive; choose a folder, such as {target / 'img2vid'}.")
    if source in target.parents:
        raise SetupError(f"-InstallDir {target} is inside {source}; choose a folder outside of it.")
    if target.is_file():
        raise SetupError(f"-InstallDir {target} is a file; choose a folder.")
    if target.is_dir() and any(target.iterdir()) and not (target / "img2vid" / "__init__.py").is_file():
        raise SetupError(f"-InstallDir {target} is not empty and does not contain img2vid; choose a new folder.")


def left_behind(source: Path):
    """Return the ignore function for shutil.copytree."""

    def ignore(folder: str, names: list[str]) -> set[str]:
        ignored = set(LEFT_BEHIND(folder, names))
        if Path(folder) == source / "checkpoints":
            ignored |= {name for name in names if name not in SHIPPED}
        return ignored

    return ignore
