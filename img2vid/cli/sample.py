"""The `img2vid sample` command: videos of one or more images."""

import argparse
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.progress import TextColumn, TimeElapsedColumn, TimeRemainingColumn

from img2vid import inference, paths, pipeline
from img2vid.cli.options import add_engine, add_settings, options_given, path_given, preset_given, settings_given
from img2vid.cli.output import Bar, Batch, print_line, say, say_notice, sentence
from img2vid.cli.prompts import add_prompt_options, image_given, run_prompt
from img2vid.cli.workflow import workflow_given
from img2vid.errors import BadInput, Img2VidError, StoreError, shown
from img2vid.files import whole_file
from img2vid.media.exports import Playback, animation_of, write_frames
from img2vid.media.picture_files import find_pictures
from img2vid.media.pictures import load_picture
from img2vid.options import LoadOptions
from img2vid.orbit import path_of
from img2vid.progress import Event, Result
from img2vid.settings import SampleSettings
from img2vid.settings_validation import check_provider
from img2vid.text_to_image.pipeline import origin_of
from img2vid.versions import ModelVersion, find_version

if TYPE_CHECKING:
    from img2vid.jobs.job import Job
    from img2vid.jobs.service import JobService

NO_INPUT = "pass either images or --prompt; see `img2vid sample --help`"
LONG = 60.0
"""Seconds above which the expected time is printed."""
STAGES = {
    "wait": "waiting for a worker",
    "load": "loading the model",
    "prompt": "encoding the prompt",
    "condition": "encoding the image",
    "sample": "sampling",
    "decode": "decoding frames",
    "write": "writing the video",
}


def add_sample(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser("sample", help="make videos from images", allow_abbrev=False)
    parser.set_defaults(command=sample)
    parser.add_argument(
        "pictures",
        nargs="*",
        type=path_given,
        metavar="IMAGE",
        help="image file, folder of images or pattern such as *.jpg",
    )
    parser.add_argument("--prompt", help="make the image from this description instead")
    add_outputs(parser)
    add_prompt_options(parser)
    add_engine(parser)
    add_settings(parser)


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options for the files of a video."""
    parser.add_argument(
        "--out", type=path_given, metavar="DIR", help="output folder (default: IMG2VID_HOME or outputs/)"
    )
    parser.add_argument("--animation", choices=("gif", "webp"), help="also write an animated image in this format")
    parser.add_argument(
        "--playback",
        choices=get_args(Playback)[1:],
        help="of the animation: boomerang plays it back and forth, loop fades the end into the start (default: as is)",
    )
    parser.add_argument(
        "--frames",
        action="store_true",
        help="also write all frames as PNG into a folder, and with SV3D the camera poses as transforms.json",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per video instead of its path")
    parser.add_argument(
        "--workflow",
        type=path_given,
        metavar="FILE",
        help="use the settings of a ComfyUI workflow, or of the PNG, WebP or MP4 that it made; options override it",
    )


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
    options: LoadOptions
    pictures: Sequence[Path]
    folder: Path
    animation: str | None
    frames: bool
    as_json: bool
    playback: Playback | None
    image: Mapping[str, Any]
    """Settings of the image that a workflow makes from words, or empty."""

    def shown(self, path: Path) -> str:
        """Return the absolute path of a written file with its folder as the user wrote it."""
        return str(self.folder / path.name if path.parent == self.folder.absolute() else path)


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Return the validated arguments, without pictures. Raise BadInput."""
    workflow, image = workflow_given(arguments.workflow)
    overrides = workflow | preset_given(arguments) | settings_given(arguments)
    version = find_version(str(overrides.get("version", SampleSettings.model_fields["version"].default)))
    settings = version.settings(overrides)
    options = options_given(arguments)
    check_provider(settings, options.provider)
    folder = arguments.out if arguments.out is not None else paths.home()
    paths.require_writable(folder)
    if arguments.playback and not arguments.animation:
        raise BadInput("--playback is for animations; add --animation gif or --animation webp")
    given = (arguments.animation, arguments.frames, arguments.json, arguments.playback)
    return Plan(version, settings, options, (), folder, *given, image)


def sample(arguments: argparse.Namespace) -> int:
    """Make videos of all images. An image that fails does not affect the others."""
    if arguments.pictures and arguments.prompt is not None:
        raise BadInput(NO_INPUT)
    if not arguments.pictures:
        if arguments.prompt is None and arguments.workflow is None:
            raise BadInput(NO_INPUT)
        return _sample_prompt(arguments)
    plan = plan_of(arguments)
    found = find_pictures(arguments.pictures)
    pictures = found.pictures
    batch = Batch("pictures", len(pictures) + len(found.refused))
    if found.skipped:
        say(found.describe_skipped())
    for path, error in found.refused:
        batch.fail(path, error)
    if not pictures:
        return batch.finish()
    if not found.refused and len(pictures) == 1:
        load_picture(pictures[0])  # fail before the model is loaded
    plan = replace(plan, pictures=pictures)
    # Two processes on one GPU would compete, so a running dashboard's workers do this work.
    from img2vid.jobs.wait import service_is_running

    bar = SampleBar()
    with bar:
        if service_is_running():
            _sample_on_service(plan, bar, batch)
        else:
            _sample_here(plan, bar, batch)
    return batch.finish()


def _sample_prompt(arguments: argparse.Namespace) -> int:
    """Make an image from a prompt, and videos of it."""
    plan = plan_of(arguments)
    prompt = arguments.prompt if arguments.prompt is not None else plan.image.get("prompt")
    if prompt is None:
        raise BadInput("the workflow has no prompt; pass an image or --prompt")
    image = image_given(arguments, prompt, plan.settings, plan.image)
    bar = SampleBar()
    with bar:
        run_prompt(
            *(image, plan.settings, plan.options, plan.folder, plan.animation),
            animate=True,
            on_event=bar,
            on_picture=lambda path, seed: None,
            on_result=lambda result: print_result(plan, result),
        )
    return 0


def _sample_here(plan: Plan, bar: SampleBar, batch: Batch) -> None:
    """Make the videos in this process."""
    from img2vid.jobs.latent_cache import CachedLatents, LatentCache

    model = inference.load(plan.version, plan.options, bar)
    if model.advice:
        say(model.advice)
    _say_expected(plan, model.options)
    bar.device = model.options.device
    for index, path in enumerate(plan.pictures, start=1):
        bar.title = _title(index, len(plan.pictures), path.name)
        with batch.item(path):
            picture = load_picture(path)
            data = path.read_bytes()
            checksum = hashlib.sha256(data).hexdigest()
            keeping = CachedLatents(LatentCache(paths.home()), model, plan.options, checksum)
            for result in pipeline.run(
                model,
                picture,
                plan.settings,
                plan.folder.absolute(),
                name=path.stem,
                animation=plan.animation,
                picture_sha256=checksum,
                image=origin_of(data),
                latent_store=keeping,
                on_event=bar,
            ):
                keeping.drop(SampleSettings(**result.metadata["settings"]))
                _add_to_gallery(plan, path, replace(result, memory=bar.memory))
                say_notice(path.stem, result.notice)
                print_result(plan, result)


def _say_expected(plan: Plan, options: LoadOptions) -> None:
    """Print the expected time of all videos, from earlier ones or the speed of this machine."""
    from img2vid.jobs.store import Store

    with suppress(StoreError):  # only the estimate and the gallery need the database
        store = Store()
        if store.expected(plan.settings, options) is None:
            store.record_speeds(inference.measure_speed(options.device))
        seconds = store.expected_seconds(plan.settings, options)
        _say_seconds(None if seconds is None else seconds * len(plan.pictures))


def _say_seconds(seconds: float | None) -> None:
    """Print an expected time if it is known and long."""
    if seconds is not None and seconds >= LONG:
        say(f"expected time: about {timedelta(seconds=math.ceil(seconds))}")


def _title(index: int, total: int, name: str) -> str:
    return f"{index}/{total} {shown(name)}:" if total > 1 else ""


def _add_to_gallery(plan: Plan, path: Path, result: Result) -> None:
    """Add a result to the gallery. A database error is only reported; the video is already on disk."""
    from img2vid.gallery.entries import Entries
    from img2vid.jobs.job import one_video
    from img2vid.jobs.store import Store

    settings = one_video(plan.settings, result.seed)
    try:
        Entries(Store()).add_imported(
            result, settings, plan.options, path.read_bytes(), path.stem, path.suffix, animation=plan.animation
        )
    except (Img2VidError, OSError) as error:
        say_notice(path.stem, f"the video could not be added to the gallery: {sentence(error)}")


def _sample_on_service(plan: Plan, bar: SampleBar, batch: Batch) -> None:
    """Queue the videos on the running service and wait for them."""
    from img2vid.jobs import wait
    from img2vid.jobs.cluster import ClusterError
    from img2vid.jobs.eta import seconds_left

    with wait.reserve_service() as service:
        if not service.is_remote():
            plan.version.require_checkpoint()
        jobs: list[Job] = []
        path_of: dict[str, Path] = {}
        with wait.cancelling(service, jobs):
            for path in plan.pictures:
                with batch.item(path):
                    load_picture(path)
                    jobs.append(_add(plan, service, path))
                    path_of[jobs[-1].id] = path
            _say_seconds(seconds_left(service.store, jobs))
            for index, job in enumerate(jobs, start=1):
                bar.title = _title(index, len(jobs), job.picture_name)
                with batch.item(path_of[job.id], fatal=(ClusterError,)):
                    done = wait.wait_for_job(service, job, bar, lambda result: print_result(plan, result))
                    say_notice(job.picture_name, done.notice)
        if advice := service.store.model().advice:
            say(advice)


def _add(plan: Plan, service: "JobService", path: Path) -> "Job":
    picture = path.read_bytes()
    folder, animation = plan.folder, plan.animation
    return service.store.add(plan.settings, plan.options, picture, path.stem, path.suffix, folder, animation)


def print_result(plan: Plan, result: Result) -> None:
    """Print a video's path, or its files and metadata as JSON."""
    if plan.playback and result.animation:
        fps = plan.settings.file_fps
        with whole_file(result.animation) as part:
            part.write_bytes(animation_of(result.video, str(plan.animation), fps=fps, playback=plan.playback))
    frames = write_frames(result.video, path_of(result.metadata)) if plan.frames else None
    if plan.as_json:
        row = {
            "video": plan.shown(result.video),
            "still": plan.shown(result.still),
            "settings_file": plan.shown(result.sidecar),
            **({"animation": plan.shown(result.animation)} if result.animation else {}),
            **({"frames": plan.shown(frames)} if frames else {}),
            "seconds": round(result.seconds, 3),
            **result.metadata,
        }
        line = json.dumps(row)
    else:
        line = plan.shown(result.video)
    print_line(line)
