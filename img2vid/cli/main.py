"""Entry point of the command line.

dashboard opens the page, serve the HTTP API; sample, imagine, sweep, compare and extend make videos; gallery manages
them, export-workflow writes their settings for ComfyUI; recover rebuilds their database; models, doctor, bench and
update manage and measure the installation. Every field of SampleSettings is an option of the same name. Results go to
stdout, progress and errors to stderr. Exit codes: 0 success, 1 failure, 2 bad input, 130 stopped with Ctrl-C.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import img2vid
from img2vid.cli import models
from img2vid.cli.bench import add_bench
from img2vid.cli.dashboard import add_dashboard
from img2vid.cli.extend import add_extend
from img2vid.cli.gallery import add_gallery
from img2vid.cli.imagine import add_imagine
from img2vid.cli.output import flush_output, reader_has_left, say, sentence
from img2vid.cli.recover import add_recover
from img2vid.cli.sample import add_sample
from img2vid.cli.serve import add_serve
from img2vid.cli.studies import add_studies
from img2vid.cli.update import add_update
from img2vid.cli.workflow import add_export_workflow
from img2vid.doctor.command import add_doctor
from img2vid.errors import BadInput, Img2VidError
from img2vid.windows import escape_output

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


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
    add_dashboard(commands)
    add_serve(commands)
    add_sample(commands)
    add_imagine(commands)
    add_studies(commands)
    add_extend(commands)
    add_gallery(commands)
    add_export_workflow(commands)
    models.add_commands(
        commands.add_parser("models", help="download, verify, add and remove checkpoints", allow_abbrev=False)
    )
    add_recover(commands)
    add_doctor(commands)
    add_bench(commands)
    add_update(commands)
    return parser


def check_quotes(argv: Sequence[str]) -> None:
    """Raise BadInput if Windows read a backslash and the quote after it, as in "C:\\pictures\\", as a quote."""
    for argument in argv:
        path, quote, _ = argument.partition('"')
        if quote and re.match(r"[A-Za-z]:|\\\\|\.|.*\\", path):
            raise BadInput(
                f"a path in quotes must not end in a backslash, which hides the closing quote after '{path}'; "
                "leave the backslash out"
            )


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Errors are printed in one sentence."""
    try:
        if os.name == "nt":
            check_quotes(sys.argv[1:] if argv is None else argv)
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
        return INTERRUPTED
    except Exception as error:  # the outermost handler: unexpected exceptions become failures
        if reader_has_left(error):
            return 0
        if os.environ.get("IMG2VID_TRACEBACK"):
            raise
        say(sentence(error))
        return 1


def main() -> None:
    """Console script entry point."""
    escape_output()
    try:
        code = run()
    finally:  # also after --help, which raises SystemExit
        flush_output()
    if code == INTERRUPTED:
        # The interpreter would end with SIGINT instead of this code if an exec() was interrupted.
        os._exit(code)
    sys.exit(code)
