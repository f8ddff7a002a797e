"""The `img2vid sweep` and `img2vid compare` commands: many videos of one image and a contact sheet.

Both use the same job queue as the dashboard and reuse videos that were made with the same settings.
"""

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.progress import TextColumn, TimeElapsedColumn

from img2vid import paths
from img2vid.cli.options import add_engine, add_settings, choice_given, settings_given
from img2vid.cli.output import Bar, print_line, say
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
"""Seconds between updates of the estimated time left."""
SWEEP = "Make a video for every value of one setting, or every pair of values of two, and a contact sheet."
COMPARE = "Make a video for each column, and one video that shows them side by side."


@dataclass(frozen=True)
class Request:
    """A study request: settings and name of every cell, and output options."""

    kind: Literal["sweep", "compare"]
    cells: Sequence[SampleSettings]
    names: Sequence[str]
    axes: Sequence[Axis]
    choice: EngineChoice
    picture: Path
    folder: Path
    stem: str
    """File name of the sheet, without suffix."""
    align: Literal["time", "stretch"]
    wipe: bool
    as_json: bool


def add_studies(commands: Any) -> None:
    """Add both subcommands to argparse's subparsers."""
    sweeping = commands.add_parser(
        "sweep", help="vary one or two settings and compare the videos", description=SWEEP, allow_abbrev=False
    )
    sweeping.set_defaults(command=sweep)
    sweeping.add_argument(
        "--axis",
        action="append",
        required=True,
        metavar="NAME=VALUES",
        help="setting and its values, such as motion_bucket_id=20,127,255 or seed=1..5; the first axis gives the "
        "columns, a second one the rows",
    )
    _add_common(sweeping)
    comparing = commands.add_parser(
        "compare", help="show versions or settings side by side", description=COMPARE, allow_abbrev=False
    )
    comparing.set_defaults(command=compare)
    comparing.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME=VALUE,...",
        help="settings of one column, such as version=svd_xt,seed=3; repeat two to four times",
    )
    comparing.add_argument("--versions", metavar="NAMES", help="shorthand for one column per version: svd,svd_xt")
    comparing.add_argument(
        "--wipe", action="store_true", help="show two columns in one frame, separated by a moving edge"
    )
    _add_common(comparing)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", type=Path, metavar="IMAGE", help="image file")
    parser.add_argument("--out", type=Path, metavar="DIR", help="output folder (default: IMG2VID_HOME or outputs/)")
    parser.add_argument(
        "--align",
        choices=("time", "stretch"),
        default="time",
        help="clips of different lengths: time plays each at its own speed, stretch matches the longest "
        "(default: time)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the paths")
    add_engine(parser)
    add_settings(parser, without=NEVER_AXES)


def sweep(arguments: argparse.Namespace) -> int:
    """Make the videos of a grid."""
    axes = [parse_axis(text) for text in arguments.axis]
    given = settings_given(arguments)
    for axis in axes:
        if axis.name in given:
            option = axis.name.replace("_", "-")
            raise BadInput(f"{axis.name} is given both as an axis and as --{option}; remove one of them")
    cells = cells_from_options(given, axes)
    for sentence in unused_settings(axes, cells):
        say(sentence)
    names = [", ".join(label_of_value(axis.name, getattr(cell, axis.name)) for axis in axes) for cell in cells]
    return _make(arguments, "sweep", cells, names, axes, "_".join(axis.name for axis in axes))


def compare(arguments: argparse.Namespace) -> int:
    """Make the videos of a comparison."""
    columns = [parse_column(text) for text in arguments.column]
    columns += [parse_column(f"version={name}") for name in (arguments.versions or "").split(",") if name.strip()]
    if not FEWEST_COLUMNS <= len(columns) <= MOST_COLUMNS:
        raise BadInput(
            f"a comparison needs {FEWEST_COLUMNS} to {MOST_COLUMNS} columns, got {len(columns)}; "
            "pass --versions svd,svd_xt, or --column version=svd_xt,seed=3 once per column"
        )
    if arguments.wipe and len(columns) != 2:
        raise BadInput(f"--wipe needs exactly two columns, got {len(columns)}")
    given = settings_given(arguments)
    cells = [settings_from_options({**given, **column}) for column in columns]
    for number, cell in enumerate(cells):
        if cell in cells[:number]:
            first, second = cells.index(cell) + 1, number + 1
            raise BadInput(f"columns {first} and {second} are the same; change a setting of one of them")
    names = [_name_of(column, cell) for column, cell in zip(columns, cells, strict=True)]
    return _make(arguments, "compare", cells, names, (), "_".join(dict.fromkeys(cell.version for cell in cells)))


def parse_column(text: str) -> dict[str, Any]:
    """Return the settings of a column such as `version=svd_xt,seed=3`. Raise BadInput if it is invalid."""
    column: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise BadInput(f"--column needs settings with values, got {part!r}; for example version=svd_xt,seed=3")
        known = setting_of(name)
        if known in column:
            raise BadInput(f"--column {text!r} has {known} twice; remove one of them")
        column[known] = value_of(known, value.strip())
    if not column:
        raise BadInput("--column is empty; for example version=svd_xt,seed=3")
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
    load_picture(arguments.picture)  # fail before anything is queued
    choice = choice_given(arguments)
    for cell in cells:
        check_provider(cell, choice.provider)
    folder = arguments.out if arguments.out is not None else paths.home()
    paths.require_writable(folder)
    stem = f"{arguments.picture.stem}_{kind}_{about}"
    how = (arguments.align, getattr(arguments, "wipe", False), arguments.json)
    return _run(Request(kind, cells, names, axes, choice, arguments.picture, folder, stem, *how))


def _run(request: Request) -> int:
    """Queue the cells, wait for them and write the sheet of those that succeeded."""
    from img2vid.gallery.entries import Entries
    from img2vid.gallery.studies import Studies
    from img2vid.jobs import wait

    bar = StudyBar()
    with bar, wait.reserve_service() as service:
        studies = Studies(service.store)
        study = _begin(request, service)
        asked = {cell.job: service.store.job(cell.job) for cell in study.cells}
        # Ctrl-C cancels only the jobs that this command added.
        ours = [asked[cell.job] for cell in study.cells if not cell.reused]
        with wait.cancelling(service, ours):
            wait.wait_for_jobs(service, list(asked.values()), lambda jobs: bar.update(request.kind, service, jobs))
        if ours and (advice := service.store.model().advice):
            say(advice)
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
    """Create the study, queue its jobs and print the estimate."""
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
    say(f"{request.picture.stem}: {len(study.cells)} videos, {reused} reused, {len(jobs)} to make{about}")
    return study


def _failures(request: Request, jobs: Sequence["Job | None"], made: Sequence["Entry | None"]) -> list[Img2VidError]:
    """Return the errors of the cells without a video, and print them if other cells succeeded."""
    from img2vid.gallery import contact_sheet
    from img2vid.jobs import wait
    from img2vid.jobs.job import State

    failures: list[Img2VidError] = []
    for name, job, entry in zip(request.names, jobs, made, strict=True):
        if entry is None:
            if job is None or job.state is State.DONE:
                failures.append(Img2VidError(f"the video no longer exists ({contact_sheet.state_of(job)})"))
            else:
                failures.append(wait.error_of(job))
            if any(made):
                say(f"{name}: {failures[-1]}")
    return failures


def _write(request: Request, study: "Study", jobs: Sequence["Job | None"], made: Sequence["Entry | None"]) -> None:
    """Write the sheet's three files and print their paths."""
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
    print_line(line)


class StudyBar(Bar):
    """Progress of a study: finished videos and the time left."""

    def __init__(self) -> None:
        count, left = TextColumn("{task.completed:g}/{task.total:g}"), TextColumn("{task.fields[left]}")
        super().__init__(count, TimeElapsedColumn(), left)
        self._next_look = 0.0

    def update(self, title: str, service: "JobService", jobs: Sequence["Job"]) -> None:
        """Show the progress of the jobs."""
        if not self.is_terminal or (time.monotonic() < self._next_look and not all(job.state.ended for job in jobs)):
            return
        from img2vid.jobs.eta import seconds_left

        self._next_look = time.monotonic() + LOOK_EVERY
        seconds = seconds_left(service.store, jobs, len(service.workers()))
        left = "" if seconds is None else f"{timedelta(seconds=round(seconds))} left"
        ended = sum(job.state.ended for job in jobs)
        self.show(title, ended, len(jobs), left=left)

    def each(self, title: str, things: Sequence[Any]) -> Any:
        """Yield the items while the bar counts them."""
        for number, thing in enumerate(things):
            self.show(title, number, len(things), left="")
            yield thing
        self.show(title, len(things), len(things), left="")
