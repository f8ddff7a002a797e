"""Options for pictures from prompts, and the jobs that make them and their videos."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from img2vid.cli.output import say_notice
from img2vid.options import LoadOptions
from img2vid.progress import OnEvent, Result
from img2vid.settings import SampleSettings
from img2vid.settings_validation import requirement
from img2vid.text_to_image.settings import PARAMETERS, ImageSettings
from img2vid.text_to_image.versions import image_settings_for


def add_prompt_options(parser: argparse.ArgumentParser) -> None:
    """Add the options. Unset ones use the image model's defaults."""
    group = parser.add_argument_group("picture from a prompt")
    for name, parameter in PARAMETERS.items():
        field = ImageSettings.model_fields[name]
        takes = "" if field.annotation is str else f" {requirement(name, ImageSettings).capitalize()}"
        default = "the model's" if name in ("steps", "guidance") else field.default
        text = f"{field.description}{takes}{f'; default: {default}' if default else ''}{'.' if takes else ''}"
        group.add_argument(
            f"--{parameter.replace('_', '-')}", dest=f"image_{name}", metavar=parameter.upper(), help=text
        )


def image_given(
    arguments: argparse.Namespace, prompt: str, video: SampleSettings, usual: Mapping[str, Any]
) -> ImageSettings:
    """Return the settings given on the command line. Raise BadInput if one is invalid.

    usual: settings of a workflow, or empty for the image model's defaults and the video's size.
    """
    given = {name: getattr(arguments, f"image_{name}") for name in PARAMETERS}
    known = {name: value for name, value in given.items() if value is not None}
    return image_settings_for(video, {**usual, **known, "prompt": prompt})


def run_prompt(
    image: ImageSettings,
    settings: SampleSettings,
    options: LoadOptions,
    folder: Path,
    animation: str | None,
    *,
    animate: bool,
    on_event: OnEvent,
    on_picture: Callable[[Path, int], None],
    on_result: Callable[[Result], None],
) -> None:
    """Make pictures and, if `animate`, videos of the first one, on the service of the home.

    `on_picture` is called with each picture's path and seed. Raise the errors of `JobService.submit_image` and of
    `wait_for_job`.
    """
    from img2vid.jobs import wait

    with wait.reserve_service() as service:
        jobs = service.submit_image(image, settings, options, folder, animation, animate=animate)
        with wait.cancelling(service, jobs):
            done = wait.wait_for_job(service, jobs[0], on_event, on_result)
            say_notice(done.picture_name, done.notice)
            for index, path in enumerate(done.pictures):
                on_picture(path, image.one(index).seed)
            for job in jobs[1:]:
                done = wait.wait_for_job(service, job, on_event, on_result)
                say_notice(done.picture_name, done.notice)
