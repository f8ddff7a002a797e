"""The `img2vid dashboard` command: runs the page, for this computer or shared with a token."""

import argparse
import os
from pathlib import Path
from typing import Any

from img2vid import paths
from img2vid.cli.output import print_line
from img2vid.errors import BadInput

FOLDERS = "IMG2VID_ALLOW_FOLDERS"


def add_dashboard(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "dashboard",
        help="open the page in the browser, or share it with a token",
        description="Run the page for this computer, and open it in the browser. Ctrl-C stops it.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=dashboard)
    parser.add_argument(
        "--port",
        type=port_number,
        metavar="N",
        help="port (default: STREAMLIT_SERVER_PORT or the first free one from 8501 on)",
    )
    parser.add_argument(
        "--share",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="open it to your network, with a token in the printed address; ADDRESS is one of this computer's, or "
        "0.0.0.0 for all (default: its address in the network)",
    )
    parser.add_argument(
        "--allow-folder",
        action="append",
        default=[],
        metavar="DIR",
        help=f"with --share: folder for Save path and imports besides the home; repeatable (default: {FOLDERS})",
    )


def dashboard(arguments: argparse.Namespace) -> int:
    """Run the dashboard. Raise BadInput for an address, port or folder that cannot be used."""
    if arguments.share is not None:
        named = arguments.allow_folder or os.environ.get(FOLDERS, "").split(os.pathsep)
        paths.confine([_folder(name) for name in named if name])
    elif arguments.allow_folder:
        raise BadInput("--allow-folder limits a shared dashboard; add --share, or leave it out")
    from img2vid.ui.server import serve

    serve(print_line, arguments.share, arguments.port)
    return 0


def _folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise BadInput(f"the allowed folder '{name}' does not exist; create it first")
    return folder


def port_number(text: str) -> int:
    """Parse a port for argparse."""
    if not (text.isdecimal() and len(text) < 6 and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 65535, got {text!r}")
    return int(text)
