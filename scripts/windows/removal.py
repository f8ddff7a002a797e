"""Removal of an installation by `uninstall_windows.ps1`."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from environment import SetupError

from windows import work
from windows.folder import SHIPPED


@dataclass(frozen=True)
class Removal:
    """Paths to remove and paths to keep."""

    removed: tuple[Path, ...]
    kept: tuple[Path, ...]

    def text(self) -> str:
        lines = [f"    remove {path}" for path in self.removed] or ["    nothing is installed"]
        return "\n".join([*lines, *(f"    keep   {path}" for path in self.kept)]) + "\n"


def plan_removal(root: Path, *, checkpoints: bool, outputs: bool) -> Removal:
    """Return what to remove. `checkpoints` and `outputs` include the downloaded checkpoints and the videos."""
    always = [root / ".venv", root / ".venv.removed", root / work.STARTER, root / "install_windows.log"]
    downloaded = sorted(path for path in (root / "checkpoints").glob("*") if path.name not in SHIPPED)
    videos = [root / "outputs"]
    removed = [*always, *(downloaded if checkpoints else []), *(videos if outputs else [])]
    kept = [*([] if checkpoints else downloaded), *([] if outputs else videos)]
    return Removal(tuple(filter(Path.exists, removed)), tuple(filter(Path.exists, kept)))


def remove(removal: Removal, root: Path) -> int:
    """Remove the listed paths and the shortcuts. Return an exit code; raise SetupError if something is in use."""
    if sys.platform == "win32" and (code := work.run(work.shortcut_command(root, remove=True), root)):
        print(f"Cannot remove the shortcuts (exit code {code}); delete them by hand.")
    for path in removal.removed:
        remove_one(path)
    return 0


def remove_one(path: Path) -> None:
    try:
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.name == ".venv":
            # If a program of the folder is running, renaming fails before anything is deleted.
            remove_one(path.rename(path.with_name(".venv.removed")))
        else:
            shutil.rmtree(path)
    except OSError as error:
        raise SetupError(
            f"Cannot remove {path} ({error}). Close the dashboard and all programs that use it, then run again."
        ) from error
