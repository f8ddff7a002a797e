"""Entry point of the command line.

sample, sweep and compare make videos; models, doctor and bench manage and measure the installation. Every field of
SampleSettings is an option of the same name. Results go to stdout, progress and errors to stderr. Exit codes: 0
success, 1 failure, 2 bad input, 130 stopped with Ctrl-C.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import img2vid
from img2vid import inference, paths, pipeline
from img2vid.cli import models
from img2vid.cli.bench import add_bench
from img2vid.cli.options import add_engine, add_settings, choice_given, settings_given
from img2vid.cli.studies import add_studies
from img2vid.doctor.command import add_doctor
from img2vid.errors import BadInput, Img2VidError
from img2vid.media.pictures import list_pictures, load_picture
from img2vid.progress import Event
from img2vid.settings import SampleSettings, check_provider
from img2vid.versions import ModelVersion, find_version

if TYPE_CHECKING:
    from img2vid.jobs.job import Job, StoredResult
    from img2vid.jobs.service import JobService

STAGES = {
    "wait": "waiting for a worker",
    "load": "loading the model",
    "condition": "encoding the image",
    "sample": "sampling",
    "decode": "decoding frames",
    "write": "writing the video",
}


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
    _add_sample(commands.add_parser("sample", help="make videos from images", allow_abbrev=False))
    add_studies(commands)
    models.add_commands(
        commands.add_parser("models", help="download, verify, add and remove checkpoints", allow_abbrev=False)
    )
    add_doctor(commands)
    add_bench(commands)
    return parser


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=sample)
    parser.add_argument("pictures", nargs="+", type=Path, metavar="IMAGE", help="image file or folder of images")
    parser.add_argument("--out", type=Path, metavar="DIR", help="output folder (default: IMG2VID_HOME or outputs/)")
    parser.add_argument("--animation", choices=("gif", "webp"), help="also write an animated image in this format")
    parser.add_argument("--json", action="store_true", help="print one JSON object per video instead of its path")
    add_engine(parser)
    add_settings(parser)


class ProgressBar:
    """Progress bar on stderr, if that is a terminal: the stage, its steps and the time left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),  # file names may contain brackets
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            redirect_stdout=sys.stdout.isatty(),  # keep results out of the bar when they go to a file or a pipe
        )
        self._task: TaskID | None = None
        self._stage = ""
        self.title = ""
        self.device = ""
        self.memory = 0
        """Peak bytes in use on `device`, if set."""

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._task is not None:
            self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self.device:
            self.memory = max(self.memory, inference.memory_in_use(self.device))
        if not self._progress.console.is_terminal:
            return
        if self._task is None or event.stage != self._stage:
            self._progress.start()
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._stage = event.stage
            description = " ".join(filter(None, (self.title, STAGES[event.stage])))
            self._task = self._progress.add_task(description, total=event.total, count="")
        count = "" if event.stage in ("wait", "load", "write") else f"{event.step}/{event.total}"
        self._progress.update(self._task, completed=event.step, total=event.total, count=count)


@dataclass(frozen=True)
class Plan:
    """Validated arguments of the `sample` command."""

    version: ModelVersion
    settings: SampleSettings
    choice: inference.EngineChoice
    pictures: Sequence[Path]
    folder: Path
    animation: str | None
    as_json: bool


def sample(arguments: argparse.Namespace) -> int:
    """Make videos of all images. Images that cannot be used are reported and skipped."""
    overrides = settings_given(arguments)
    version = find_version(str(overrides.get("version", SampleSettings.model_fields["version"].default)))
    settings = version.settings(overrides)
    pictures = list_pictures(arguments.pictures)
    if len(pictures) == 1:
        load_picture(pictures[0])  # fail before the model is loaded
    choice = choice_given(arguments)
    check_provider(settings, choice.provider)
    folder = arguments.out if arguments.out is not None else paths.home()
    paths.require_writable(folder)
    plan = Plan(version, settings, choice, pictures, folder, arguments.animation, arguments.json)
    # Two processes on one GPU would compete, so a running dashboard's workers do this work.
    from img2vid.jobs.wait import service_is_running

    with ProgressBar() as bar:
        refused = _sample_on_service(plan, bar) if service_is_running() else _sample_here(plan, bar)
    return 2 if refused else 0


def _sample_here(plan: Plan, bar: ProgressBar) -> int:
    """Make the videos in this process. Return the number of images that could not be used."""
    from img2vid.jobs.latent_cache import CachedLatents, LatentCache

    model = inference.load(plan.version, plan.choice, bar)
    if model.advice:
        _print_error(model.advice)
    bar.device = model.choice.device
    refused = 0
    for index, path in enumerate(plan.pictures, start=1):
        bar.title = f"{index}/{len(plan.pictures)} {path.name}:" if len(plan.pictures) > 1 else ""
        try:
            picture = load_picture(path)
            checksum = hashlib.sha256(path.read_bytes()).hexdigest()
            keeping = CachedLatents(LatentCache(paths.home()), model, plan.choice, checksum)
            for result in pipeline.run(
                model,
                picture,
                plan.settings,
                plan.folder,
                name=path.stem,
                animation=plan.animation,
                picture_sha256=checksum,
                latent_store=keeping,
                on_event=bar,
            ):
                keeping.drop(SampleSettings(**result.metadata["settings"]))
                _add_to_gallery(plan, path, result, bar.memory)
                _print_notice(path.stem, result.notice)
                _print_result(plan, result)
        except BadInput as error:
            refused += _refuse(plan, error)
    return refused


def _add_to_gallery(plan: Plan, path: Path, result: "pipeline.Result", memory: int) -> None:
    """Add a result to the gallery. A database error is only reported; the video is already on disk."""
    from img2vid.gallery.entries import Entries
    from img2vid.jobs.job import StoredResult, one_video
    from img2vid.jobs.store import Store

    stored = StoredResult(
        result.video.absolute(),
        result.still.absolute(),
        result.sidecar.absolute(),
        result.animation.absolute() if result.animation else None,
        result.seed,
        result.seconds,
        result.metadata,
        memory,
    )
    settings = one_video(plan.settings, result.seed)
    try:
        Entries(Store()).add_imported(
            stored, settings, plan.choice, path.read_bytes(), path.stem, path.suffix, animation=plan.animation
        )
    except (Img2VidError, OSError) as error:
        _print_notice(path.stem, f"the video could not be added to the gallery: {error}")


def _sample_on_service(plan: Plan, bar: ProgressBar) -> int:
    """Queue the videos on the running service and wait for them. Return the number of images that could not be used."""
    from img2vid.jobs import wait

    refused = 0
    with wait.reserve_service() as service:
        if not service.is_remote():
            plan.version.require_checkpoint()
        jobs: list[Job] = []
        with wait.cancelling(service, jobs):
            for path in plan.pictures:
                try:
                    load_picture(path)
                    jobs.append(_add(plan, service, path))
                except BadInput as error:
                    refused += _refuse(plan, error)
            for index, job in enumerate(jobs, start=1):
                bar.title = f"{index}/{len(jobs)} {job.picture_name}:" if len(jobs) > 1 else ""
                try:
                    done = wait.wait_for_job(service, job, bar, lambda result: _print_result(plan, result))
                    _print_notice(job.picture_name, done.notice)
                except BadInput as error:
                    refused += _refuse(plan, error)
        if advice := service.store.model().advice:
            _print_error(advice)
    return refused


def _add(plan: Plan, service: "JobService", path: Path) -> "Job":
    picture = path.read_bytes()
    folder, animation = plan.folder, plan.animation
    return service.store.add(plan.settings, plan.choice, picture, path.stem, path.suffix, folder, animation)


def _refuse(plan: Plan, error: BadInput) -> int:
    """Report an image that cannot be used. Raise the error if it is the only image."""
    if len(plan.pictures) == 1:
        raise error
    _print_error(str(error))
    return 1


def _print_notice(name: str, notice: str) -> None:
    if notice:
        _print_error(f"{name}: {notice}")


def _print_result(plan: Plan, result: "pipeline.Result | StoredResult") -> None:
    def shown(path: Path) -> str:
        # The service uses absolute paths; show the folder as the user wrote it.
        return str(plan.folder / path.name if path.parent == plan.folder.absolute() else path)

    if plan.as_json:
        row = {
            "video": shown(result.video),
            "still": shown(result.still),
            "settings_file": shown(result.sidecar),
            **({"animation": shown(result.animation)} if result.animation else {}),
            "seconds": round(result.seconds, 3),
            **result.metadata,
        }
        line = json.dumps(row)
    else:
        line = shown(result.video)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _print_error(message: str) -> None:
    sys.stderr.write(f"img2vid: {message}\n")


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Errors are printed in one sentence."""
    try:
        arguments = build_parser().parse_args(argv)
        return int(arguments.command(arguments))
    except BadInput as error:
        _print_error(str(error))
        return 2
    except Img2VidError as error:
        _print_error(str(error))
        return 1
    except KeyboardInterrupt:
        _print_error("stopped; finished videos are kept")
        return 130
    except Exception as error:  # the outermost handler: unexpected exceptions become failures
        if os.environ.get("IMG2VID_TRACEBACK"):
            raise
        reason = " ".join(str(error).split())
        _print_error(f"failed with {type(error).__name__}: {reason} (set IMG2VID_TRACEBACK=1 to see the traceback)")
        return 1


def main() -> None:
    """Console script entry point."""
    # A path that stdout cannot encode must not make a finished video fail.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    sys.exit(run())
