"""Studies: videos of one picture made for comparison, as the columns of a compare or the cells of a sweep.

Existing videos with the same settings are reused, and jobs for them that are queued or running are shared.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic_core import to_jsonable_python

from img2vid.errors import BadInput
from img2vid.gallery.entries import Entries, Entry
from img2vid.gallery.sweep_axes import Axis, setting_of
from img2vid.jobs import fingerprint
from img2vid.jobs import job as rows
from img2vid.jobs.job import STRICT, Job, Moment, State
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings

if TYPE_CHECKING:
    from img2vid.jobs.service import JobService

Kind = Literal["compare", "sweep"]
Wanted = tuple[SampleSettings, LoadOptions]
"""Settings and engine options of one video."""
STATES = {
    State.WAITING: "waiting",
    State.RUNNING: "being made",
    State.DONE: "its file is gone or damaged",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.INTERRUPTED: "interrupted",
}
"""Text for a cell without a video, by the state of its job."""
LONGEST_REASON = 80


@checked_dataclass(frozen=True, config=STRICT)
class Cell:
    """Cell of a study: the requested settings and the job that makes or made the video."""

    settings: SampleSettings
    options: LoadOptions
    job: str
    reused: bool
    """True if the job is older than the study."""


@dataclass(frozen=True)
class CellStatus:
    """Current state of a cell."""

    cell: Cell
    job: Job | None
    """None if the job was removed from the gallery or cannot be read."""
    entry: Entry | None
    """The finished video, None unless it is on disk."""

    @property
    def is_active(self) -> bool:
        """True while the video is queued or being made."""
        return self.entry is None and self.job is not None and not self.job.state.ended

    @property
    def state(self) -> str:
        """The state in a few words; "done" if there is a video."""
        if self.entry is not None:
            return "done"
        return "removed" if self.job is None else STATES[self.job.state]

    @property
    def reason(self) -> str:
        """The state, with the beginning of the error if the job failed."""
        if self.entry is None and self.job is not None and self.job.state is State.FAILED:
            return f"failed: {self.job.error}"[:LONGEST_REASON]
        return self.state


def active_jobs(cells: Sequence[CellStatus]) -> list[Job]:
    """Return the unfinished jobs of cells, without duplicates."""
    return list({one.job.id: one.job for one in cells if one.job is not None and one.is_active}.values())


@checked_dataclass(frozen=True, config=STRICT)
class Study:
    """Compare with one cell per column, or sweep with one cell per pair of values, row by row.

    `axes[0]` runs along a row, the optional `axes[1]` down the rows.
    """

    id: str
    kind: Kind
    created: Moment
    """Seconds since 1970."""
    picture: Path
    picture_name: str
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]

    @property
    def title(self) -> str:
        """Axes of a sweep, such as "fps x seed, 9 videos"; versions of a comparison, such as "svd · svd_xt"."""
        if self.axes:
            return f"{' x '.join(axis.name for axis in self.axes)}, {len(self.cells)} videos"
        names = list(dict.fromkeys(cell.settings.version for cell in self.cells))
        return " · ".join(names) if len(names) > 1 else f"{len(self.cells)} x {names[0]}"


@dataclass(frozen=True)
class Outlook:
    """Expected cost of a study: videos to reuse, videos to make, and seconds for the latter.

    seconds stays None without an estimate, because no such video was made here before.
    """

    reused: int
    to_make: int
    seconds: float | None


class Studies:
    """Studies of a store. Raises StoreError if the disk fails and BadInput for an unknown id."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries = Entries(store)

    def begin(
        self,
        service: "JobService",
        kind: Kind,
        wanted: Sequence[Wanted],
        picture: bytes,
        name: str,
        suffix: str,
        folder: Path | None = None,
        axes: Sequence[Axis] = (),
    ) -> Study:
        """Create a study and queue its missing videos in order.

        Raise the errors of `JobService.submit`. If one cell is invalid, nothing is queued.
        """
        if not wanted:
            raise BadInput("there is nothing to make; add at least one video")
        kept = self._store.keep_picture(picture, suffix)
        cells = self._cells(service, wanted, kept, name, folder)
        study = Study(rows.new_id(), kind, time.time(), kept, name, tuple(axes), tuple(cells))
        self._keep(study)
        return study

    def rerun(self, service: "JobService", study: Study) -> Study:
        """Return the study with new jobs for the cells that failed and those whose video is gone."""
        open_cells = [one.cell for one in self.cells(study) if one.entry is None and not one.is_active]
        wanted = [(cell.settings, cell.options) for cell in open_cells]
        fresh = iter(self._cells(service, wanted, study.picture, study.picture_name, None))
        cells = tuple(next(fresh) if cell in open_cells else cell for cell in study.cells)
        changed = replace(study, cells=cells)
        self._keep(changed)
        return changed

    def _cells(
        self, service: "JobService", wanted: Sequence[Wanted], picture: Path, name: str, folder: Path | None
    ) -> list[Cell]:
        """Return a cell for each requested video. Cells with the same settings share a job."""
        keys = [fingerprint.of_video(*one, picture.name) for one in wanted]
        different = dict(zip(keys, wanted, strict=True))
        found = self._existing(different, picture.name)
        missing = {key: one for key, one in different.items() if key not in found}
        if missing:
            added = service.submit([*missing.values()], picture.read_bytes(), name, picture.suffix, folder)
            found |= {key: job.id for key, job in zip(missing, added, strict=True)}
        return [Cell(*one, found[key], key not in missing) for key, one in zip(keys, wanted, strict=True)]

    def study(self, study_id: str) -> Study:
        """Return the study with this id."""
        found = self._rows("WHERE id = ?", study_id)
        if not found:
            raise BadInput(f"there is no study {study_id!r} in {self._store.path}")
        return self._store.read_row("study", found[0], self.study_of)

    def studies(self, kind: Kind, limit: int = 20) -> list[Study]:
        """Return the newest studies, newest first."""
        found = self._rows("WHERE kind = ? ORDER BY number DESC LIMIT ?", kind, limit)
        return self._store.read_all("study", found, self.study_of)

    def cells(self, study: Study) -> list[CellStatus]:
        """Return the current state of each cell."""
        return [self._status(cell) for cell in study.cells]

    def measured(self, cell: Cell) -> CellStatus:
        """Return the current state of a cell; its video, if any, is measured as by `Entries.measured`.

        A damaged video counts as missing.
        """
        found = self._status(cell)
        try:
            return found if found.entry is None else replace(found, entry=self._entries.measured(found.entry))
        except BadInput:
            return replace(found, entry=None)

    def outlook(self, wanted: Sequence[Wanted], picture: str) -> Outlook:
        """Return the expected cost of a study. `picture` is the input's file name."""
        different = {fingerprint.of_video(*one, picture): one for one in wanted}
        found = self._existing(different, picture)
        times = [self._store.expected_seconds(*one) for key, one in different.items() if key not in found]
        known = [seconds for seconds in times if seconds is not None]
        seconds = sum(known) if len(known) == len(times) else None
        return Outlook(len(found), len(times), seconds)

    def _existing(self, different: Mapping[str, Wanted], picture: str) -> dict[str, str]:
        """Return the ids of the jobs that made such videos or will make them, by the videos' fingerprints."""
        jobs = self._store.jobs(limit=-1, states=(State.RUNNING, State.WAITING))
        alone = [job for job in jobs if job.settings.num_samples == 1]
        found = {fingerprint.of_video(job.settings, job.options, job.picture.name): job.id for job in alone}
        found = {key: job_id for key, job_id in found.items() if key in different}
        for key, one in different.items():
            if (entry := self._entries.same(*one, picture)) is not None:
                found[key] = entry.job.id
        return found

    def _status(self, cell: Cell) -> CellStatus:
        """Return the state of a cell, whose video may be one of several of its job."""
        for entry in self._entries.find_by_job(cell.job):
            if entry.result.seed == cell.settings.seed and entry.result.video.is_file():
                return CellStatus(cell, entry.job, entry)
        try:
            return CellStatus(cell, self._store.job(cell.job), None)
        except BadInput:
            return CellStatus(cell, None, None)

    # Rows

    def _keep(self, study: Study) -> None:
        kept = {"picture": study.picture.name, "picture_name": study.picture_name}
        cells = to_jsonable_python(study.cells)
        for cell in cells:
            cell["choice"] = cell.pop("options")  # its name in the stores of all versions
        text = json.dumps({**kept, "axes": to_jsonable_python(study.axes), "cells": cells})
        with self._store.writing(durable=True) as db:
            db.execute(
                "INSERT INTO studies (id, kind, created, study) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET study = excluded.study",
                (study.id, study.kind, study.created, text),
            )

    def _rows(self, which: str, *values: object) -> list[tuple[Any, ...]]:
        with self._store.reading() as db:
            return db.execute(f"SELECT id, id, kind, created, study FROM studies {which}", values).fetchall()

    def study_of(self, study_id: str, kind: Kind, created: float, text: str) -> Study:
        """Return the study of a row; for `read_row`."""
        values = rows.from_json(text)
        cells = (
            Cell(
                rows.settings_from_text(json.dumps(cell["settings"])),
                rows.options_from_text(json.dumps(cell["choice"])),
                cell["job"],
                cell["reused"],
            )
            for cell in values["cells"]
        )
        axes = (Axis(setting_of(axis["name"]), tuple(axis["values"])) for axis in values["axes"])
        picture = self._store.home / "inputs" / values["picture"]
        study = Study(study_id, kind, created, picture, values["picture_name"], tuple(axes), tuple(cells))
        if study.axes and len(study.cells) != math.prod(len(axis.values) for axis in study.axes):
            raise ValueError("the number of cells differs from the axes")
        return study
