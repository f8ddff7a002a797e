"""Where the program reads and writes: the project's folder, the home of what it writes, the checkpoint folders."""

import os
from pathlib import Path

from img2vid.errors import BadInput

PROJECT = Path(__file__).resolve().parent.parent
"""The folder that holds `configs/`, `checkpoints/` and `assets/`."""

CONFIGS = PROJECT / "configs"


def home() -> Path:
    """The folder of everything that the program writes: `IMG2VID_HOME`, or `outputs/` in the project's folder."""
    return Path(os.environ.get("IMG2VID_HOME") or PROJECT / "outputs").expanduser().resolve()


def require_writable(folder: Path) -> None:
    """Raises BadInput where `folder` cannot be written to, or be made; makes nothing."""
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise BadInput(f"nothing can be written to the folder '{folder}'; choose another one")


def checkpoint_folders() -> list[Path]:
    """Folders that may hold checkpoints, in the order in which they are searched.

    `checkpoints/` comes first, then the folders of `IMG2VID_CHECKPOINTS`, separated as in PATH.
    """
    more = os.environ.get("IMG2VID_CHECKPOINTS", "").split(os.pathsep)
    return [PROJECT / "checkpoints", *(Path(folder).expanduser() for folder in more if folder)]


def find_checkpoint(name: str) -> Path | None:
    """The first file called `name` in the checkpoint folders, or None where there is none."""
    for folder in checkpoint_folders():
        if (folder / name).is_file():
            return folder / name
    return None
