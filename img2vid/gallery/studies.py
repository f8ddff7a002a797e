"""Videos of one picture that are made to be compared, kept together: the columns of a compare, the cells of a sweep.

A video that was made before with the same settings is taken as it is, one that is being made already is waited for.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from img2vid.errors import BadInput
from img2vid.gallery.entries import Entries, Entry
from img2vid.gallery.sweep_axes import Axis
from img2vid.inference import EngineChoice
from img2vid.jobs import job as rows
from img2vid.jobs.job import Job, State
from img2vid.jobs.store import Store
from img2vid.settings import SampleSettings

if TYPE_CHECKING:
    from img2vid.jobs.service import JobService

Kind = Literal["compare", "sweep"]
Wanted = tuple[SampleSettings, EngineChoice]
"""One video."""


@dataclass(frozen=True)
class Cell:
    """One place of a study: what was asked for, and the job that makes or made it."""

    settings: SampleSettings
    choice: EngineChoice
    job: str
    reused: bool
    """Whether the job was there before the study."""


@dataclass(frozen=True)
class Study:
    """A compare has a cell for each column, a sweep one for each pair of values, row by row.

    `axes[0]` runs along a row, `axes[1]`, where there is one, down the rows.
    """

    id: str
    kind: Kind
    created: float
    """Seconds since 1970."""
    picture: Path
    picture_name: str
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Outlook:
    """What a study will take: videos that are there or being made, videos to be made, and seconds for those.

    seconds is None where one of them is of a kind that was never made here.
    """

    reused: int
    to_make: int
    seconds: float | None


class Studies:
    """The studies of a store. Errors of the disk are StoreError, an unknown id is BadInput."""

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
        """A new study; what is not there yet is put into the queue, in order.

        Raises what `JobService.submit` does; where one cell is refused, nothing is put into the queue.
        """
        if not wanted:
            raise BadInput("there is nothing to make; ask for at least one video")
        kept = self._store.keep_picture(picture, suffix)
        cells = self._cells(service, wanted, kept, name, folder)
        study = Study(rows.new_id(), kind, time.time(), kept, name, tuple(axes), tuple(cells))
        self._keep(study)
        return study

    def rerun(self, service: "JobService", study: Study) -> Study:
        """The same study, with new jobs for the cells that ended without a video and those whose video is gone."""
        open_cells = [cell for cell in study.cells if not self._stands(cell)]
        wanted = [(cell.settings, cell.choice) for cell in open_cells]
        fresh = iter(self._cells(service, wanted, study.picture, study.picture_name, None))
        cells = tuple(next(fresh) if cell in open_cells else cell for cell in study.cells)
        changed = replace(study, cells=cells)
        self._keep(changed)
        return changed

    def _cells(
        self, service: "JobService", wanted: Sequence[Wanted], picture: Path, name: str, folder: Path | None
    ) -> list[Cell]:
        """A cell for each that is wanted; the same settings share a job."""
        keys = [rows.likeness(*one, picture.name) for one in wanted]
        different = dict(zip(keys, wanted, strict=True))
        found = {key: self._found(*one, picture.name) for key, one in different.items()}
        missing = {key: one for key, one in different.items() if found[key] is None}
        if missing:
            asked = list(missing.values())
            added = service.submit_all(asked, picture.read_bytes(), name, picture.suffix, folder)
            found |= {key: job.id for key, job in zip(missing, added, strict=True)}
        return [Cell(*one, found[key] or "", key not in missing) for key, one in zip(keys, wanted, strict=True)]

    def study(self, study_id: str) -> Study:
        """The study of that id."""
        found = self._read("WHERE id = ?", study_id)
        if not found:
            raise BadInput(f"there is no study {study_id!r} in {self._store.path}")
        return found[0]

    def newest(self, kind: Kind) -> Study | None:
        """The one that was begun last."""
        return next(iter(self.studies(kind, 1)), None)

    def studies(self, kind: Kind, limit: int = 20) -> list[Study]:
        """The newest ones, newest first."""
        return self._read("WHERE kind = ? ORDER BY number DESC LIMIT ?", kind, limit)

    def jobs(self, study: Study) -> list[Job | None]:
        """The job of each cell; None where it is gone, with its video, from the gallery."""
        with self._store.reading() as db:
            known = {row[0] for row in db.execute("SELECT id FROM jobs")} & {cell.job for cell in study.cells}
        jobs = {job_id: self._store.job(job_id) for job_id in known}
        return [jobs.get(cell.job) for cell in study.cells]

    def made(self, study: Study) -> list[Entry | None]:
        """The video of each cell, as far as it is made and there."""
        return [self._video(cell) for cell in study.cells]

    def outlook(self, wanted: Sequence[Wanted], picture: str) -> Outlook:
        """What a study of these would take; `picture` is the input's file name."""
        different = {rows.likeness(settings, choice, picture): (settings, choice) for settings, choice in wanted}
        missing = [one for one in different.values() if self._found(*one, picture) is None]
        times = [self._store.expected_seconds(*one) for one in missing]
        known = [seconds for seconds in times if seconds is not None]
        seconds = sum(known) if len(known) == len(times) else None
        return Outlook(len(different) - len(missing), len(missing), seconds)

    # What is there

    def _found(self, settings: SampleSettings, choice: EngineChoice, picture: str) -> str | None:
        """A job that has made such a video, or is about to."""
        entry = self._entries.same(settings, choice, picture)
        if entry is not None:
            return entry.job.id
        key = rows.likeness(settings, choice, picture)
        for job in self._store.jobs(limit=-1, states=(State.RUNNING, State.WAITING)):
            alone = job.settings.num_samples == 1
            if alone and rows.likeness(job.settings, job.choice, job.picture.name) == key:
                return job.id
        return None

    def _stands(self, cell: Cell) -> bool:
        if self._video(cell) is not None:
            return True
        try:
            return not self._store.job(cell.job).state.ended
        except BadInput:
            return False

    def _video(self, cell: Cell) -> Entry | None:
        """A job of several videos may have made the cell's among others."""
        found = (entry for entry in self._entries.find_by_job(cell.job) if entry.result.seed == cell.settings.seed)
        return next((entry for entry in found if entry.result.video.is_file()), None)

    # Rows

    def _keep(self, study: Study) -> None:
        text = json.dumps(
            {
                "picture": study.picture.name,
                "picture_name": study.picture_name,
                "axes": [asdict(axis) for axis in study.axes],
                "cells": [
                    {
                        "settings": cell.settings.model_dump(),
                        "choice": asdict(cell.choice),
                        "job": cell.job,
                        "reused": cell.reused,
                    }
                    for cell in study.cells
                ],
            }
        )
        with self._store.writing(durable=True) as db:
            db.execute(
                "INSERT INTO studies (id, kind, created, study) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET study = excluded.study",
                (study.id, study.kind, study.created, text),
            )

    def _read(self, which: str, *values: object) -> list[Study]:
        with self._store.reading() as db:
            found = db.execute(f"SELECT id, kind, created, study FROM studies {which}", values).fetchall()
        return [self._study(*row) for row in found]

    def _study(self, study_id: str, kind: Kind, created: float, text: str) -> Study:
        values: dict[str, Any] = json.loads(text)
        cells = (
            Cell(
                rows.settings_from_text(json.dumps(cell["settings"])),
                rows.choice_from_text(json.dumps(cell["choice"])),
                cell["job"],
                cell["reused"],
            )
            for cell in values["cells"]
        )
        axes = (Axis(axis["name"], tuple(axis["values"])) for axis in values["axes"])
        picture = self._store.home / "inputs" / values["picture"]
        return Study(study_id, kind, created, picture, values["picture_name"], tuple(axes), tuple(cells))
