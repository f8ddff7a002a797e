"""The `img2vid sample` command: videos of one or more images."""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import TextColumn, TimeElapsedColumn, TimeRemainingColumn

from img2vid import inference, paths, pipeline
from img2vid.cli.options import add_engine, add_settings, choice_given, settings_given
from img2vid.cli.output import Bar, print_line, say
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


def add_sample(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser("sample", help="make videos from images", allow_abbrev=False)
    parser.set_defaults(command=sample)
    parser.add_argument("pictures", nargs="+", type=Path, metavar="IMAGE", help="image file or folder of images")
    parser.add_argument("--out", type=Path, metavar="DIR", help="output folder (default: IMG2VID_HOME or outputs/)")
    parser.add_argument("--animation", choices=("gif", "webp"), help="also write an animated image in this format")
    parser.add_argument("--json", action="store_true", help="print one JSON object per video instead of its path")
    add_engine(parser)
    add_settings(parser)


class SampleBar(Bar):
    """Progress of a run: the stage, its steps and the time left. Also records the peak memory."""

    def __init__(self) -> None:
        super().__init__(TextColumn("{task.fields[count]}"), TimeElapsedColumn(), TimeRemainingColumn())
        self._stage = ""
        self.title = ""
        self.device = ""
        self.memory = 0
        """Peak bytes in use on `device`, if set."""

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self.device:
            self.memory = max(self.memory, inference.memory_in_use(self.device))
        restart, self._stage = event.stage != self._stage, event.stage
        description = " ".join(filter(None, (self.title, STAGES[event.stage])))
        count = "" if event.stage in ("wait", "load", "write") else f"{event.step}/{event.total}"
        self.show(description, event.step, event.total, restart=restart, count=count)


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

    bar = SampleBar()
    with bar:
        refused = _sample_on_service(plan, bar) if service_is_running() else _sample_here(plan, bar)
    return 2 if refused else 0


def _sample_here(plan: Plan, bar: SampleBar) -> int:
    """Make the videos in this process. Return the number of images that could not be used."""
    from img2vid.jobs.latent_cache import CachedLatents, LatentCache

    model = inference.load(plan.version, plan.choice, bar)
    if model.advice:
        say(model.advice)
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


def _sample_on_service(plan: Plan, bar: SampleBar) -> int:
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
            say(advice)
    return refused


def _add(plan: Plan, service: "JobService", path: Path) -> "Job":
    picture = path.read_bytes()
    folder, animation = plan.folder, plan.animation
    return service.store.add(plan.settings, plan.choice, picture, path.stem, path.suffix, folder, animation)


def _refuse(plan: Plan, error: BadInput) -> int:
    """Report an image that cannot be used. Raise the error if it is the only image."""
    if len(plan.pictures) == 1:
        raise error
    say(str(error))
    return 1


def _print_notice(name: str, notice: str) -> None:
    if notice:
        say(f"{name}: {notice}")


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
    print_line(line)
