"""Subcommand `img2vid doctor`."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from img2vid.doctor.checks import run_checks
from img2vid.doctor.report import as_json, has_problem, print_page
from img2vid.windows import escape_output


def add_doctor(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser("doctor", help="check this computer and suggest fixes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=examine)


def main(prog: str, argv: Sequence[str]) -> int:
    """Run the doctor without the command line, whose imports may be what is broken."""
    parser = argparse.ArgumentParser(prog=prog, description="Check this computer.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    escape_output()
    return examine(parser.parse_args(argv))


def examine(arguments: argparse.Namespace) -> int:
    """Print the report; return 0 if there is no problem, else 1."""
    if sys.stderr.isatty():
        sys.stderr.write("Checking this computer. Loading torch takes a few seconds...\n")
    findings = run_checks()
    if arguments.json:
        sys.stdout.write(json.dumps(as_json(findings)) + "\n")
    else:
        print_page(findings)
    return 1 if has_problem(findings) else 0
