"""The `img2vid update` command. In a checkout, `img2vid.__main__` runs scripts/update.py before this is imported."""

import argparse
from typing import Any

from img2vid import paths
from img2vid.errors import BadInput


def add_update(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser("update", help="get the newest version; undone if the doctor finds a new problem")
    parser.set_defaults(command=update)


def update(arguments: argparse.Namespace) -> int:
    """Raise BadInput with the commands that update an installed package."""
    raise BadInput(
        "this img2vid was installed as a package; update the folder that it came from, then run there "
        "`pipx install --force .`, `uv tool install --force .` or `pip install --force-reinstall --no-deps .`, "
        f"whichever you used. Videos and checkpoints stay in {paths.user_folder()}"
    )
