"""The commands `img2vid sweep` and `img2vid compare`: many videos of one picture, and a sheet that shows them together.

They go through the store and its queue, as on the dashboard: what was made before with the same settings is used again.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from img2vid import paths
from img2vid.cli.options import add_engine, add_settings, choice_given, settings_given
from img2vid.errors import BadInput, Img2VidError
from img2vid.gallery.sweep_axes import (
    NEVER_AXES,
    Axis,
    cells_from_options,
    label_of_value,
    parse_axis,
    setting_of,
    settings_from_options,
    unused_settings,
    value_of,
)
from img2vid.inference import EngineChoice
from img2vid.media.pictures import load_picture
from img2vid.settings import SampleSettings, check_provider

if TYPE_CHECKING:
    from img2vid.gallery.contact_sheet import ContactSheet
    from img2vid.gallery.entries import Entry
    from img2vid.gallery.studies import Study
    from img2vid.jobs.job import Job
    from img2vid.jobs.service import JobService

FEWEST_COLUMNS, MOST_COLUMNS = 2, 4
LOOK_EVERY = 1.0
"""Seconds between two looks at how long it will still take."""
SWEEP = "Makes a video for every value of an axis, or for every pair of values of two, and a sheet of all of them."
COMPARE = "Makes a video for each column, and one video in which they stand side by side."


@dataclass(frozen=True)
class Request:
    """What was asked for: the settings of every cell, and what the cells are called."""

    kind: Literal["sweep", "compare"]
    cells: Sequence[SampleSettings]
    names: Sequence[str]
    axes: Sequence[Axis]
    choice: EngineChoice
    picture: Path
    folder: Path
    stem: str
    """Of the sheet's files."""
    align: Literal["time", "stretch"]
    wipe: bool
    as_json: bool


def add_studies(commands: Any) -> None:
    """Adds both subcommands to argparse's subparsers."""
    sweeping = commands.add_parser(
        "sweep", help="vary one or two settings, and see all videos at once", description=SWEEP, allow_abbrev=False
    )
    sweeping.set_defaults(command=sweep)
    sweeping.add_argument(
        "--axis",
        action="append",
        required=True,
        metavar="NAME=VALUES",
        help="a setting and its values: motion_bucket_id=20,127,255 or seed=1..5; the first axis runs along a row, "
        "a second one down the rows",
    )
    _add_common(sweeping)
    comparing = commands.add_parser(
        "compare", help="versions or settings side by side", description=COMPARE, allow_abbrev=False
    )
    comparing.set_defaults(command=compare)
    comparing.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME=VALUE,...",
        help="what this column has of its own, such as version=svd_xt,seed=3; two to four times",
    )
    comparing.add_argument("--versions", metavar="NAMES", help="short for one column for each: svd,svd_xt")
    comparing.add_argument(
        "--wipe", action="store_true", help="two columns in one place, on both sides of an edge that moves"
    )
    _add_common(comparing)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="one picture")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the sheet (default: IMG2VID_HOME or outputs/)"
    )
    parser.add_argument(
        "--align",
        choices=("time", "stretch"),
        default="time",
        help="clips of different lengths in the sheet: each at its own speed, or all as long as the longest "
        "(default: time)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the paths")
    add_engine(parser)
    add_settings(parser, without=NEVER_AXES)


def sweep(arguments: argparse.Namespace) -> int:
    """Makes the videos of a grid."""
    axes = [parse_axis(text) for text in arguments.axis]
    given = settings_given(arguments)
    for axis in axes:
        if axis.name in given:
            option = axis.name.replace("_", "-")
            raise BadInput(f"{axis.name} is an axis and is given as --{option} too; leave one of them out")
    cells = cells_from_options(given, axes)
    for sentence in unused_settings(axes, cells):
        _print_error(sentence)
    names = [", ".join(label_of_value(axis.name, getattr(cell, axis.name)) for axis in axes) for cell in cells]
    return _make(arguments, "sweep", cells, names, axes, "_".join(axis.name for axis in axes))


def compare(arguments: argparse.Namespace) -> int:
    """Makes the videos of some columns."""
    columns = [parse_column(text) for text in arguments.column]
    columns += [parse_column(f"version={name}") for name in (arguments.versions or "").split(",") if name.strip()]
    if not FEWEST_COLUMNS <= len(columns) <= MOST_COLUMNS:
        raise BadInput(
            f"a comparison has {FEWEST_COLUMNS} to {MOST_COLUMNS} columns, got {len(columns)}; "
            "write --versions svd,svd_xt or --column version=svd_xt,seed=3 for each"
        )
    if arguments.wipe and len(columns) != 2:
        raise BadInput(f"a wipe has two columns, got {len(columns)}")
    given = settings_given(arguments)
    cells = [settings_from_options({**given, **column}) for column in columns]
    for number, cell in enumerate(cells):
        if cell in cells[:number]:
            first, second = cells.index(cell) + 1, number + 1
            raise BadInput(f"columns {first} and {second} are the same; give one of them another setting")
    names = [_name_of(column, cell) for column, cell in zip(columns, cells, strict=True)]
    return _make(arguments, "compare", cells, names, (), "_".join(dict.fromkeys(cell.version for cell in cells)))


def parse_column(text: str) -> dict[str, Any]:
    """The settings of a column from `version=svd_xt,seed=3`; BadInput where it is none."""
    column: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise BadInput(f"a column is settings with values, got {part!r}; write it as version=svd_xt,seed=3")
        known = setting_of(name)
        if known in column:
            raise BadInput(f"the column {text!r} has {known} twice; leave one of them out")
        column[known] = value_of(known, value.strip())
    if not column:
        raise BadInput("a column without settings says nothing; write it as version=svd_xt,seed=3")
    return column


def _name_of(column: Mapping[str, Any], cell: SampleSettings) -> str:
    own = [label_of_value(name, value) for name, value in column.items() if name != "version"]
    return ", ".join([cell.version, *own])


def _make(
    arguments: argparse.Namespace,
    kind: Literal["sweep", "compare"],
    cells: Sequence[SampleSettings],
    names: Sequence[str],
    axes: Sequence[Axis],
    about: str,
) -> int:
    load_picture(arguments.picture)  # a picture that cannot be used is told before anything is begun
    choice = choice_given(arguments)
    for cell in cells:
        check_provider(cell, choice.provider)
    folder = arguments.out if arguments.out is not None else paths.home()
    paths.require_writable(folder)
    stem = f"{arguments.picture.stem}_{kind}_{about}"
    how = (arguments.align, getattr(arguments, "wipe", False), arguments.json)
    return _run(Request(kind, cells, names, axes, choice, arguments.picture, folder, stem, *how))


def _run(request: Request) -> int:
    """Has the videos made, and writes the sheet of those that were."""
    from img2vid.gallery.entries import Entries
    from img2vid.gallery.studies import Studies
    from img2vid.jobs import wait

    with StudyBar() as bar, wait.reserve_service() as service:
        studies = Studies(service.store)
        study = _begin(request, service)
        asked = {cell.job: service.store.job(cell.job) for cell in study.cells}
        # What somebody else has asked for goes on also where this command is stopped.
        ours = [asked[cell.job] for cell in study.cells if not cell.reused]
        with wait.cancelling(service, ours):
            wait.wait_for_jobs(service, list(asked.values()), lambda jobs: bar.update(request.kind, service, jobs))
        if ours and (advice := service.store.model().advice):
            _print_error(advice)
        jobs, made = studies.jobs(study), studies.made(study)
        failures = _failures(request, jobs, made)
        if not any(made):
            raise failures[0]
        entries = Entries(service.store)
        made = [entry and entries.measured(entry) for entry in bar.each("measuring", made)]
    _write(request, study, jobs, made)
    if not failures:
        return 0
    return 2 if all(isinstance(error, BadInput) for error in failures) else 1


def _begin(request: Request, service: "JobService") -> "Study":
    """The study, after telling what it takes."""
    from img2vid.gallery.studies import Studies
    from img2vid.jobs.eta import seconds_left

    picture = request.picture.read_bytes()
    wanted = [(cell, request.choice) for cell in request.cells]
    studies = Studies(service.store)
    study = studies.begin(
        service, request.kind, wanted, picture, request.picture.stem, request.picture.suffix, axes=request.axes
    )
    reused = sum(cell.reused for cell in study.cells)
    jobs = [service.store.job(cell.job) for cell in study.cells if not cell.reused]
    seconds = seconds_left(service.store, jobs) if jobs else None
    about = "" if seconds is None else f", about {timedelta(seconds=math.ceil(seconds))}"
    _print_error(f"{request.picture.stem}: {len(study.cells)} videos, {reused} reused, {len(jobs)} to make{about}")
    return study


def _failures(request: Request, jobs: Sequence["Job | None"], made: Sequence["Entry | None"]) -> list[Img2VidError]:
    """The errors of the cells without a video, which are told."""
    from img2vid.gallery import contact_sheet
    from img2vid.jobs import wait
    from img2vid.jobs.job import State

    failures: list[Img2VidError] = []
    for name, job, entry in zip(request.names, jobs, made, strict=True):
        if entry is None:
            if job is None or job.state is State.DONE:
                failures.append(Img2VidError(f"the video is gone ({contact_sheet.state_of(job)})"))
            else:
                failures.append(wait.error_of(job))
            if any(made):
                _print_error(f"{name}: {failures[-1]}")
    return failures


def _write(request: Request, study: "Study", jobs: Sequence["Job | None"], made: Sequence["Entry | None"]) -> None:
    """Writes the sheet's three files and prints where they are."""
    from img2vid.gallery import contact_sheet
    from img2vid.jobs.inputs import safe_name

    compared = contact_sheet.compare_sheet(request.names, jobs, made)
    sheet = contact_sheet.sweep_sheet(study, jobs, made) if request.axes else compared
    cells = sheet.clips()
    path = request.folder.absolute() / f"{safe_name(request.stem)}.mp4"
    files = contact_sheet.write(path, study, sheet, cells, request.align, wipe=request.wipe)
    _print_result(request, study, sheet, files)


def _print_result(request: Request, study: "Study", sheet: "ContactSheet", files: Mapping[str, Path]) -> None:
    shown = {suffix: str(request.folder / file.name) for suffix, file in files.items()}
    if request.as_json:
        cells = [
            {
                **named,
                "state": "done" if entry else reason,
                "reused": cell.reused,
                "video": str(entry.result.video) if entry else None,
            }
            for named, entry, reason, cell in zip(sheet.named, sheet.made, sheet.reasons(), study.cells, strict=True)
        ]
        line = json.dumps({"video": shown[".mp4"], "sheet": shown[".png"], "table": shown[".csv"], "cells": cells})
    else:
        line = "\n".join(shown[suffix] for suffix in (".mp4", ".png", ".csv"))
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class StudyBar:
    """Shows on standard error, where that is a terminal, how many videos are made and how long the rest will take."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:g}/{task.total:g}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            redirect_stdout=sys.stdout.isatty(),
        )
        self._shown = self._progress.console.is_terminal
        self._task = self._progress.add_task("", total=1, left="", visible=False)
        self._next_look = 0.0

    def __enter__(self) -> "StudyBar":
        if self._shown:
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._shown:
            self._progress.stop()

    def update(self, title: str, service: "JobService", jobs: Sequence["Job"]) -> None:
        """Shows how far the jobs are."""
        if not self._shown or (time.monotonic() < self._next_look and not all(job.state.ended for job in jobs)):
            return
        from img2vid.jobs.eta import seconds_left

        self._next_look = time.monotonic() + LOOK_EVERY
        seconds = seconds_left(service.store, jobs, len(service.workers()))
        left = "" if seconds is None else f"{timedelta(seconds=round(seconds))} left"
        ended = sum(job.state.ended for job in jobs)
        self._update(title, ended, len(jobs), left)

    def each(self, title: str, things: Sequence[Any]) -> Any:
        """The things one by one, while the bar shows how many are done."""
        for number, thing in enumerate(things):
            self._update(title, number, len(things), "")
            yield thing
        self._update(title, len(things), len(things), "")

    def _update(self, title: str, done: int, total: int, left: str) -> None:
        self._progress.update(
            self._task, description=title, completed=done, total=total, left=left, visible=self._shown
        )


def _print_error(message: str) -> None:
    sys.stderr.write(f"img2vid: {message}\n")
    sys.stderr.flush()
