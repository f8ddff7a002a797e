"""Studies: videos of one picture made for comparison, as the columns of a compare or the cells of a sweep.

Existing videos with the same settings are reused, and jobs for them that are queued or running are shared.
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
from img2vid.jobs import fingerprint
from img2vid.jobs import job as rows
from img2vid.jobs.job import Job, State
from img2vid.jobs.store import Store
from img2vid.settings import SampleSettings

if TYPE_CHECKING:
    from img2vid.jobs.service import JobService

Kind = Literal["compare", "sweep"]
Wanted = tuple[SampleSettings, EngineChoice]
"""Settings and engine options of one video."""


@dataclass(frozen=True)
class Cell:
    """Cell of a study: the requested settings and the job that makes or made the video."""

    settings: SampleSettings
    choice: EngineChoice
    job: str
    reused: bool
    """True if the job is older than the study."""


@dataclass(frozen=True)
class Study:
    """Compare with one cell per column, or sweep with one cell per pair of values, row by row.

    `axes[0]` runs along a row, the optional `axes[1]` down the rows.
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
        open_cells = [cell for cell in study.cells if not self._is_active_or_done(cell)]
        wanted = [(cell.settings, cell.choice) for cell in open_cells]
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
        found = {key: self._found(*one, picture.name) for key, one in different.items()}
        missing = {key: one for key, one in different.items() if found[key] is None}
        if missing:
            requests = list(missing.values())
            added = service.submit_all(requests, picture.read_bytes(), name, picture.suffix, folder)
            found |= {key: job.id for key, job in zip(missing, added, strict=True)}
        return [Cell(*one, found[key] or "", key not in missing) for key, one in zip(keys, wanted, strict=True)]

    def study(self, study_id: str) -> Study:
        """Return the study with this id."""
        found = self._read("WHERE id = ?", study_id)
        if not found:
            raise BadInput(f"there is no study {study_id!r} in {self._store.path}")
        return found[0]

    def newest(self, kind: Kind) -> Study | None:
        """Return the newest study, or None."""
        return next(iter(self.studies(kind, 1)), None)

    def studies(self, kind: Kind, limit: int = 20) -> list[Study]:
        """Return the newest studies, newest first."""
        return self._read("WHERE kind = ? ORDER BY number DESC LIMIT ?", kind, limit)

    def jobs(self, study: Study) -> list[Job | None]:
        """Return the job of each cell, or None if it was removed from the gallery."""
        with self._store.reading() as db:
            known = {row[0] for row in db.execute("SELECT id FROM jobs")} & {cell.job for cell in study.cells}
        jobs = {job_id: self._store.job(job_id) for job_id in known}
        return [jobs.get(cell.job) for cell in study.cells]

    def made(self, study: Study) -> list[Entry | None]:
        """Return the video of each cell, or None if it is not finished or not on disk."""
        return [self._video(cell) for cell in study.cells]

    def outlook(self, wanted: Sequence[Wanted], picture: str) -> Outlook:
        """Return the expected cost of a study. `picture` is the input's file name."""
        different = {fingerprint.of_video(settings, choice, picture): (settings, choice) for settings, choice in wanted}
        missing = [one for one in different.values() if self._found(*one, picture) is None]
        times = [self._store.expected_seconds(*one) for one in missing]
        known = [seconds for seconds in times if seconds is not None]
        seconds = sum(known) if len(known) == len(times) else None
        return Outlook(len(different) - len(missing), len(missing), seconds)

    # Reuse

    def _found(self, settings: SampleSettings, choice: EngineChoice, picture: str) -> str | None:
        """Return the id of a job that made such a video or will make it, or None."""
        entry = self._entries.same(settings, choice, picture)
        if entry is not None:
            return entry.job.id
        key = fingerprint.of_video(settings, choice, picture)
        for job in self._store.jobs(limit=-1, states=(State.RUNNING, State.WAITING)):
            alone = job.settings.num_samples == 1
            if alone and fingerprint.of_video(job.settings, job.choice, job.picture.name) == key:
                return job.id
        return None

    def _is_active_or_done(self, cell: Cell) -> bool:
        if self._video(cell) is not None:
            return True
        try:
            return not self._store.job(cell.job).state.ended
        except BadInput:
            return False

    def _video(self, cell: Cell) -> Entry | None:
        """Return the cell's video, which may be one of several of its job, or None."""
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
