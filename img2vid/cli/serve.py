"""The `img2vid serve` command: runs the HTTP API."""

import argparse
from typing import Any

from img2vid.cli.dashboard import port_number
from img2vid.cli.output import print_line
from img2vid.errors import Img2VidError
from img2vid.remedies import extra_command


def add_serve(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "serve",
        help="run the HTTP API for other programs",
        description="Run the HTTP API for programs on this computer, on the same queue as the dashboard. Ctrl-C stops "
        "it.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=serve_api)
    parser.add_argument("--port", type=port_number, metavar="N", help="port (default: the first free one from 8700 on)")
    parser.add_argument(
        "--share",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="open it to your network, with the token that is printed; ADDRESS is one of this computer's, or 0.0.0.0 "
        "for all (default: its address in the network)",
    )


def serve_api(arguments: argparse.Namespace) -> int:
    """Run the API. Raise BadInput for an address or port that cannot be used."""
    try:
        from img2vid.web.server import serve
    except ModuleNotFoundError as error:
        if error.name != "fastapi":
            raise
        raise Img2VidError(f"serve needs the package fastapi; install it with `{extra_command('api')}`") from error

    serve(print_line, arguments.share, arguments.port)
    return 0
