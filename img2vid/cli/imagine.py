"""The `img2vid imagine` command: pictures from a prompt, and videos of the first one."""

import argparse
from pathlib import Path
from typing import Any

from img2vid.cli.options import add_engine, add_settings
from img2vid.cli.output import print_line
from img2vid.cli.prompts import add_prompt_options, image_given, run_prompt
from img2vid.cli.sample import SampleBar, add_outputs, plan_of, print_result
from img2vid.errors import MediaError
from img2vid.files import publish, reason, temporary_file
from img2vid.paths import safe_name


def add_imagine(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser("imagine", help="make images from a prompt, and videos of them", allow_abbrev=False)
    parser.set_defaults(command=imagine)
    parser.add_argument("prompt", metavar="PROMPT", help="what the image shows, in quotes")
    parser.add_argument("--animate", action="store_true", help="also make a video of the first image")
    add_outputs(parser)
    add_prompt_options(parser)
    add_engine(parser)
    add_settings(parser)


def imagine(arguments: argparse.Namespace) -> int:
    """Make images, print their paths, and animate the first one if requested."""
    plan = plan_of(arguments)
    image = image_given(arguments, arguments.prompt, plan.settings, plan.image)

    def keep(path: Path, seed: int) -> None:
        name = f"{safe_name(image.name)}_{image.model}_seed{seed}.png"
        try:
            with temporary_file(plan.folder.absolute()) as part:
                part.write_bytes(path.read_bytes())
                print_line(plan.shown(publish(part, plan.folder.absolute() / name)))
        except OSError as error:
            raise MediaError(f"nothing can be written to {plan.folder} ({reason(error)})") from error

    bar = SampleBar()
    with bar:
        run_prompt(
            *(image, plan.settings, plan.options, plan.folder, plan.animation),
            animate=arguments.animate,
            on_event=bar,
            on_picture=keep,
            on_result=lambda result: print_result(plan, result),
        )
    return 0
