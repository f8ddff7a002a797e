"""Project folder, home (the output folder) and checkpoint folders."""

import os
from pathlib import Path

from img2vid.errors import BadInput

PROJECT = Path(__file__).resolve().parent.parent
"""Folder with `configs/`, `checkpoints/` and `assets/`."""

CONFIGS = PROJECT / "configs"


def home() -> Path:
    """Return the folder for everything the program writes: `IMG2VID_HOME`, or `outputs/` in the project folder."""
    return Path(os.environ.get("IMG2VID_HOME") or PROJECT / "outputs").expanduser().resolve()


def require_writable(folder: Path) -> None:
    """Raise BadInput if `folder` cannot be written to or created. Creates nothing."""
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise BadInput(f"nothing can be written to the folder '{folder}'; choose another one")


def checkpoint_folders() -> list[Path]:
    """Return the checkpoint folders in search order.

    `checkpoints/` comes first, then the folders of `IMG2VID_CHECKPOINTS`, separated as in PATH.
    """
    more = os.environ.get("IMG2VID_CHECKPOINTS", "").split(os.pathsep)
    return [PROJECT / "checkpoints", *(Path(folder).expanduser() for folder in more if folder)]


def find_checkpoint(name: str) -> Path | None:
    """Return the first file called `name` in the checkpoint folders, or None."""
    for folder in checkpoint_folders():
        if (folder / name).is_file():
            return folder / name
    return None
