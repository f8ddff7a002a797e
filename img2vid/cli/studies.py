"""The `img2vid sweep` and `img2vid compare` commands: many videos of one image and a contact sheet.

Both use the same job queue as the dashboard and reuse videos that were made with the same settings.
"""

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import TextColumn, TimeElapsedColumn

from img2vid import paths
from img2vid.cli.options import add_engine, add_settings, options_given, path_given, preset_given, settings_given
from img2vid.cli.output import Bar, print_line, say
from img2vid.errors import BadInput, Img2VidError
from img2vid.gallery.sweep_axes import (
    FEWEST_COLUMNS,
    MOST_COLUMNS,
    Axis,
    cell_names,
    cells_from_options,
    label_of_value,
    parse_axis,
    setting_of,
    settings_from_options,
    unused_settings,
    value_of,
)
from img2vid.media.pictures import load_picture
from img2vid.presets import find_preset
from img2vid.settings import SampleSettings
from img2vid.settings_validation import check_provider

if TYPE_CHECKING:
    from img2vid.gallery.contact_sheet import ContactSheet
    from img2vid.gallery.studies import CellStatus, Kind, Study
    from img2vid.jobs.job import Job
    from img2vid.jobs.service import JobService

LOOK_EVERY = 1.0
"""Seconds between updates of the estimated time left."""
SWEEP = "Make a video for every value of one setting, or every pair of values of two, and a contact sheet."
COMPARE = "Make a video for each column, and one video that shows them side by side."


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
        help="settings of one column, such as version=svd_xt,seed=3 or preset=Fast; repeat two to four times",
    )
    comparing.add_argument("--versions", metavar="NAMES", help="shorthand for one column per version: svd,svd_xt")
    comparing.add_argument(
        "--wipe", action="store_true", help="show two columns in one frame, separated by a moving edge"
    )
    _add_common(comparing)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", type=path_given, metavar="IMAGE", help="image file")
    parser.add_argument(
        "--out", type=path_given, metavar="DIR", help="output folder (default: IMG2VID_HOME or outputs/)"
    )
    parser.add_argument(
        "--align",
        choices=("time", "stretch"),
        default="time",
        help="clips of different lengths: time plays each at its own speed, stretch matches the longest "
        "(default: time)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the paths")
    add_engine(parser)
    add_settings(parser, without=("num_samples",))


def sweep(arguments: argparse.Namespace) -> int:
    """Make the videos of a grid."""
    axes = [parse_axis(text) for text in arguments.axis]
    given = settings_given(arguments)
    for axis in axes:
        if axis.name in given:
            option = axis.name.replace("_", "-")
            raise BadInput(f"{axis.name} is given both as an axis and as --{option}; remove one of them")
    cells = cells_from_options(preset_given(arguments) | given, axes)
    for sentence in unused_settings(axes, cells):
        say(sentence)
    return _make(arguments, "sweep", cells, cell_names(axes), axes, "_".join(axis.name for axis in axes))


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
    given = preset_given(arguments) | settings_given(arguments)
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
    preset: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise BadInput(f"--column needs settings with values, got {part!r}; for example version=svd_xt,seed=3")
        if name.strip() == "preset":
            preset = find_preset(value.strip()).settings
            continue
        known = setting_of(name)
        if known in column:
            raise BadInput(f"--column {text!r} has {known} twice; remove one of them")
        column[known] = value_of(known, value.strip())
    if not text.strip(" ,"):
        raise BadInput("--column is empty; for example version=svd_xt,seed=3")
    return preset | column


def _name_of(column: Mapping[str, Any], cell: SampleSettings) -> str:
    own = [label_of_value(name, value) for name, value in column.items() if name != "version"]
    return ", ".join([cell.version, *own])


def _make(
    arguments: argparse.Namespace,
    kind: "Kind",
    cells: Sequence[SampleSettings],
    names: Sequence[str],
    axes: Sequence[Axis],
    about: str,
) -> int:
    """Queue the cells, wait for them, and write the sheet of those that succeeded; `about` is part of its file name."""
    from img2vid.gallery.contact_sheet import ContactSheet
    from img2vid.gallery.studies import Studies
    from img2vid.jobs import wait

    picture: Path = arguments.picture
    load_picture(picture)  # fail before anything is queued
    options = options_given(arguments)
    for cell in cells:
        check_provider(cell, options.provider)
    folder: Path = arguments.out if arguments.out is not None else paths.home()
    paths.require_writable(folder)
    bar = StudyBar()
    with bar, wait.reserve_service() as service:
        studies, wanted = Studies(service.store), [(cell, options) for cell in cells]
        study = studies.begin(service, kind, wanted, picture.read_bytes(), picture.stem, picture.suffix, axes=axes)
        _wait(service, study, bar)
        found = [studies.measured(cell) for cell in bar.each("measuring", study.cells)]
        failures = _failures(found, names)
        if len(failures) == len(found):
            raise failures[0]
    sheet = ContactSheet(study, found, names, arguments.align, getattr(arguments, "wipe", False))
    name = f"{paths.safe_name(picture.stem)}_{kind}_{paths.safe_name(about)}.mp4"
    files = sheet.write(folder.absolute() / name)
    _print_result(sheet, {suffix: str(folder / file.name) for suffix, file in files.items()}, arguments.json)
    if not failures:
        return 0
    return 2 if all(isinstance(error, BadInput) for error in failures) else 1


def _wait(service: "JobService", study: "Study", bar: "StudyBar") -> None:
    """Print the estimate and wait until all jobs have ended. Ctrl-C cancels those that this command added."""
    from img2vid.jobs import wait
    from img2vid.jobs.eta import seconds_left

    jobs = {cell.job: service.store.job(cell.job) for cell in study.cells}
    reused = sum(cell.reused for cell in study.cells)
    added = [jobs[cell.job] for cell in study.cells if not cell.reused]
    seconds = seconds_left(service.store, added) if added else None
    about = "" if seconds is None else f", about {timedelta(seconds=math.ceil(seconds))}"
    say(f"{study.picture_name}: {len(study.cells)} videos, {reused} reused, {len(added)} to make{about}")
    with wait.cancelling(service, added):
        wait.wait_for_jobs(service, list(jobs.values()), lambda now: bar.update(study.kind, service, now))
    if added and (advice := service.store.model().advice):
        say(advice)


def _failures(cells: Sequence["CellStatus"], names: Sequence[str]) -> list[Img2VidError]:
    """Return the errors of the cells without a video, and print them if other cells succeeded."""
    failed = [(name, _error_of(cell)) for name, cell in zip(names, cells, strict=True) if cell.entry is None]
    if len(failed) < len(cells):
        for name, error in failed:
            say(f"{name}: {error}")
    return [error for _, error in failed]


def _error_of(cell: "CellStatus") -> Img2VidError:
    from img2vid.jobs import wait
    from img2vid.jobs.job import State

    if cell.job is None or cell.job.state is State.DONE:
        return Img2VidError(f"the video no longer exists ({cell.state})")
    return wait.error_of(cell.job)


def _print_result(sheet: "ContactSheet", files: Mapping[str, str], as_json: bool) -> None:
    if not as_json:
        print_line("\n".join(files[suffix] for suffix in (".mp4", ".png", ".csv")))
        return
    cells = [
        {
            **named,
            "state": cell.reason,
            "reused": cell.cell.reused,
            "video": str(cell.entry.result.video) if cell.entry else None,
        }
        for named, cell in zip(sheet.named, sheet.cells, strict=True)
    ]
    print_line(json.dumps({"video": files[".mp4"], "sheet": files[".png"], "table": files[".csv"], "cells": cells}))


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
