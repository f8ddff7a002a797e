"""The `img2vid recover` command: rebuilds the job database."""

import argparse
from typing import Any

from img2vid.background import Count
from img2vid.cli.output import Bar, print_line


def add_recover(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "recover",
        help="rebuild a damaged job database from its readable rows and the videos",
        description="Rebuild the job database of the home from its readable rows and from the videos' own metadata. "
        "Ratings, notes, tags, trash and queue are kept where readable; a copy of the old file is kept under a dated "
        "name.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=recover_store)
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", help="another folder with videos (default: the home and known folders)"
    )


def recover_store(arguments: argparse.Namespace) -> int:
    """Rebuild the database and report what was found."""
    from img2vid.gallery.importing import folder_of
    from img2vid.gallery.recovery import recover
    from img2vid.jobs.store import Store

    folders = [folder_of(name) for name in arguments.folders]
    with Bar() as bar:

        def show(count: Count) -> None:
            bar.show("reading videos", *count, line=("reading", f"reading {count[1]} videos"))

        result = recover(Store(), folders, show)
    print_line(result.text)
    for line in result.details:
        print_line(f"left out {line}")
    return 0
