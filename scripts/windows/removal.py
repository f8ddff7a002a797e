"""What `uninstall_windows.ps1` removes, and what it keeps."""

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
    """The paths that are removed, and those that stay."""

    removed: tuple[Path, ...]
    kept: tuple[Path, ...]

    def text(self) -> str:
        lines = [f"    remove {path}" for path in self.removed] or ["    nothing of an installation is there"]
        return "\n".join([*lines, *(f"    keep   {path}" for path in self.kept)]) + "\n"


def plan_removal(root: Path, *, checkpoints: bool, outputs: bool) -> Removal:
    """`checkpoints` and `outputs` say whether the downloaded checkpoints and the videos go as well."""
    always = [root / ".venv", root / ".venv.removed", root / work.STARTER, root / "install_windows.log"]
    downloaded = sorted(path for path in (root / "checkpoints").glob("*") if path.name not in SHIPPED)
    videos = [root / "outputs"]
    removed = [*always, *(downloaded if checkpoints else []), *(videos if outputs else [])]
    kept = [*([] if checkpoints else downloaded), *([] if outputs else videos)]
    return Removal(tuple(filter(Path.exists, removed)), tuple(filter(Path.exists, kept)))


def remove(removal: Removal, root: Path) -> int:
    """Removes what is listed and the shortcuts; returns an exit code. Raises SetupError where something is in use."""
    if sys.platform == "win32" and (code := work.run(work.shortcut_command(root, remove=True), root)):
        print(f"The shortcuts could not be removed (exit code {code}); delete them by hand.")
    for path in removal.removed:
        print(f"    remove {path}", flush=True)
        remove_one(path)
    return 0


def remove_one(path: Path) -> None:
    try:
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.name == ".venv":
            # The renaming fails as a whole where a program of the folder runs, before half of it is gone.
            remove_one(path.rename(path.with_name(".venv.removed")))
        else:
            shutil.rmtree(path)
    except OSError as error:
        raise SetupError(
            f"{path} could not be removed ({error}); close the dashboard and all windows that use it, then start again."
        ) from error
