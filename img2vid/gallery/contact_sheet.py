"""Contact sheet of a study: its clips in one labelled video, their middle frames as a picture, measurements as a table.

Cells without a video show the reason instead.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from img2vid.errors import BadInput, MediaError
from img2vid.files import whole_file
from img2vid.gallery import csv_export
from img2vid.gallery.entries import Entry
from img2vid.gallery.studies import Study
from img2vid.gallery.sweep_axes import labels, points
from img2vid.jobs.job import Job, State
from img2vid.media import composites
from img2vid.media.composites import Align, Frames, Labelled
from img2vid.media.exports import as_png
from img2vid.media.videos import read_frames, write_still, write_video

STATES = {
    State.WAITING: "waiting",
    State.RUNNING: "being made",
    State.DONE: "its file is gone",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.INTERRUPTED: "interrupted",
}
"""Text for a cell without a video, by the state of its job."""
LONGEST_REASON = 80


@dataclass(frozen=True)
class ContactSheet:
    """Snapshot of a study with labels, job and video (if finished) of each cell.

    rows and columns are the labels of the grid. `named` has each cell's label or axis values by name.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    named: Sequence[Mapping[str, Any]]
    jobs: Sequence[Job | None]
    made: Sequence[Entry | None]

    def __post_init__(self) -> None:
        """Raise BadInput if the number of cells does not match the grid."""
        if not len(self.rows) * len(self.columns) == len(self.named) == len(self.jobs) == len(self.made):
            raise BadInput(f"a grid of {len(self.columns)} x {len(self.rows)} cannot hold {len(self.made)} videos")

    def table(self) -> str:
        """Return all cells as CSV."""
        return csv_export.as_csv(
            [
                csv_export.csv_row(named, entry, "done" if entry else state_of(job))
                for named, entry, job in zip(self.named, self.made, self.jobs, strict=True)
            ]
        )

    def reasons(self) -> list[str]:
        """Return the reason of each cell without a video, or an empty string if it has one."""
        pairs = zip(self.jobs, self.made, strict=True)
        return ["" if entry is not None else reason_of(job) for job, entry in pairs]

    def clips(self, on_clip: Callable[[], None] = lambda: None) -> list[list[composites.Cell]]:
        """Return the cells of the grid, row by row, scaled down to fit. Clips are read one at a time."""
        rows, columns = len(self.rows), len(self.columns)
        cells: list[composites.Cell] = []
        for job, entry in zip(self.jobs, self.made, strict=True):
            if entry is None:
                cells.append(reason_of(job))
            else:
                clip = Labelled("", read_frames(entry.result.video), entry.settings.file_fps)
                cells.append(composites.reduced(clip, rows, columns))
            on_clip()
        return [cells[row * columns : (row + 1) * columns] for row in range(rows)]


def sweep_sheet(study: Study, jobs: Sequence[Job | None], made: Sequence[Entry | None]) -> ContactSheet:
    """Return the contact sheet of a sweep."""
    across, *down = study.axes
    return ContactSheet(labels(down[0]) if down else [""], labels(across), points(study.axes), jobs, made)


def compare_sheet(names: Sequence[str], jobs: Sequence[Job | None], made: Sequence[Entry | None]) -> ContactSheet:
    """Return the contact sheet of a compare: one row with named columns."""
    return ContactSheet([""], names, [{"column": name} for name in names], jobs, made)


def state_of(job: Job | None) -> str:
    """Describe a cell without a video in a few words."""
    return "removed" if job is None else STATES[job.state]


def reason_of(job: Job | None) -> str:
    """Describe a cell without a video, with the beginning of its error."""
    if job is None or job.state is not State.FAILED:
        return state_of(job)
    return f"failed: {job.error}"[:LONGEST_REASON]


def write_video_sheet(
    sheet: ContactSheet, cells: Sequence[Sequence[composites.Cell]], align: Align = "time", *, wipe: bool = False
) -> tuple[Frames, float]:
    """Return all clips as one: frames (T, H, W, 3) and frames per second. Raise BadInput if no clip is finished.

    cells: the result of `ContactSheet.clips`. wipe: show two clips on both sides of a moving edge if both exist.
    """
    if wipe and all(isinstance(cell, Labelled) for cell in cells[0]):
        left, right = (
            replace(cell, label=name)
            for cell, name in zip(cells[0], sheet.columns, strict=True)
            if isinstance(cell, Labelled)
        )
        return composites.wipe(left, right, align)
    return composites.grid(cells, sheet.rows, sheet.columns, align)


def video_bytes(study: Study, sheet: ContactSheet, align: Align = "time") -> bytes:
    """Return all clips as one MP4 file. Raise BadInput if no clip is finished."""
    frames, fps = write_video_sheet(sheet, sheet.clips(), align)
    with tempfile.TemporaryDirectory() as folder:
        return write_video(Path(folder) / "sheet.mp4", frames, fps=fps, metadata=facts(study)).read_bytes()


def still_bytes(sheet: ContactSheet) -> bytes:
    """Return the middle frames as a PNG file. Raise BadInput if no clip is finished."""
    return as_png(composites.sheet(sheet.clips(), sheet.rows, sheet.columns))


def write(
    path: Path,
    study: Study,
    sheet: ContactSheet,
    cells: Sequence[Sequence[composites.Cell]],
    align: Align = "time",
    *,
    wipe: bool = False,
) -> dict[str, Path]:
    """Write video, PNG and CSV under one name, `path` or the first free of `path_2`, ...: all of them or none.

    Return the paths by suffix. The arguments are those of `write_video_sheet`. Raise BadInput if no clip is finished
    and MediaError if the folder cannot be written.
    """
    frames, fps = write_video_sheet(sheet, cells, align, wipe=wipe)
    written = {".mp4": write_video(path, frames, fps=fps, metadata=facts(study))}
    try:
        written[".png"] = written[".mp4"].with_suffix(".png")
        write_still(written[".png"], composites.sheet(cells, sheet.rows, sheet.columns))
        written[".csv"] = written[".mp4"].with_suffix(".csv")
        with whole_file(written[".csv"]) as part:
            part.write_text(sheet.table(), encoding="utf-8", newline="")
    except BaseException as error:
        for file in written.values():
            file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise MediaError(f"nothing can be written to {path.parent} ({error.strerror or error})") from error
        raise
    return written


def facts(study: Study) -> dict[str, Any]:
    """Return the metadata of a composite: its study's kind, picture, axes and settings."""
    return {
        "program": "img2vid",
        "study": study.kind,
        "picture": study.picture_name,
        "picture_sha256": study.picture.stem,
        "axes": [{"name": axis.name, "values": list(axis.values)} for axis in study.axes],
        "cells": [cell.settings.model_dump() for cell in study.cells],
    }
