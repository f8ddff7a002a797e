"""Another folder for the program: copying it there."""

from __future__ import annotations

import shutil
from pathlib import Path

from environment import SetupError

LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", "outputs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "*.log"
)
SHIPPED = ("README.md", "svd_tiny.safetensors", "svd_tiny_xt.safetensors")
"""What of `checkpoints` goes along; large ones stay where they are."""


def copy_program(source: Path, target: Path) -> None:
    """Copies the program's own files, over those of an older one; what the user put there stays.

    Raises SetupError where `target` is no place for it.
    """
    refuse_bad_target(source, target)
    try:
        if (target / "img2vid").is_dir():
            shutil.rmtree(target / "img2vid")  # modules that the new version has no more must not be imported
        shutil.copytree(source, target, ignore=left_behind(source), dirs_exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"The program could not be copied to {target} ({error}); close the dashboard, make sure that the folder "
            "can be written, and start again."
        ) from error


def refuse_bad_target(source: Path, target: Path) -> None:
    if target == Path(target.anchor):
        raise SetupError(f"-InstallDir {target} is a whole drive; name a folder, such as {target / 'img2vid'}.")
    if source in target.parents:
        raise SetupError(f"-InstallDir {target} lies inside of {source}; name a folder outside of it.")
    if target.is_file():
        raise SetupError(f"-InstallDir {target} is a file; name a folder.")
    if target.is_dir() and any(target.iterdir()) and not (target / "img2vid" / "__init__.py").is_file():
        raise SetupError(f"-InstallDir {target} is not empty and holds no img2vid; name a new folder.")


def left_behind(source: Path):
    """What shutil.copytree leaves out."""

    def ignore(folder: str, names: list[str]) -> set[str]:
        ignored = set(LEFT_BEHIND(folder, names))
        if Path(folder) == source / "checkpoints":
            ignored |= {name for name in names if name not in SHIPPED}
        return ignored

    return ignore
