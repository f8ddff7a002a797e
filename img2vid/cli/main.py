"""Entry point of the command line.

sample, sweep and compare make videos; models, doctor and bench manage and measure the installation. Every field of
SampleSettings is an option of the same name. Results go to stdout, progress and errors to stderr. Exit codes: 0
success, 1 failure, 2 bad input, 130 stopped with Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import img2vid
from img2vid.cli import models
from img2vid.cli.bench import add_bench
from img2vid.cli.output import say
from img2vid.cli.sample import add_sample
from img2vid.cli.studies import add_studies
from img2vid.doctor.command import add_doctor
from img2vid.errors import BadInput, Img2VidError


class Parser(argparse.ArgumentParser):
    """Argument parser that reports errors in one sentence and points to --help instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise BadInput."""
        raise BadInput(f"{message}; see `{self.prog} --help`")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(prog="img2vid", description="Turn an image into a short video with Stable Video Diffusion.")
    parser.add_argument("--version", action="version", version=f"img2vid {img2vid.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    add_sample(commands)
    add_studies(commands)
    models.add_commands(
        commands.add_parser("models", help="download, verify, add and remove checkpoints", allow_abbrev=False)
    )
    add_doctor(commands)
    add_bench(commands)
    return parser


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Errors are printed in one sentence."""
    try:
        arguments = build_parser().parse_args(argv)
        return int(arguments.command(arguments))
    except BadInput as error:
        say(str(error))
        return 2
    except Img2VidError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped; finished videos are kept")
        return 130
    except Exception as error:  # the outermost handler: unexpected exceptions become failures
        if os.environ.get("IMG2VID_TRACEBACK"):
            raise
        reason = " ".join(str(error).split())
        say(f"failed with {type(error).__name__}: {reason} (set IMG2VID_TRACEBACK=1 to see the traceback)")
        return 1


def main() -> None:
    """Console script entry point."""
    # A path that stdout cannot encode must not make a finished video fail.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    sys.exit(run())
