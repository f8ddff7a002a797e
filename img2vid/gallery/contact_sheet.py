"""Contact sheet of a study: its clips in one labeled video, their middle frames as a picture, measurements as a table.

Cells without a video show the reason instead.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from img2vid.errors import BadInput, MediaError
from img2vid.files import all_or_none, reason, whole_file
from img2vid.gallery.csv_export import as_csv, csv_row
from img2vid.gallery.entries import Entry
from img2vid.gallery.studies import CellStatus, Study
from img2vid.gallery.sweep_axes import labels, points
from img2vid.media import composites
from img2vid.media.composites import Align, Cell, Clip, Frames
from img2vid.media.exports import as_png, write_still
from img2vid.media.videos import read_frames, write_video


@dataclass(frozen=True)
class ContactSheet:
    """Snapshot of a study, or of some columns of a comparison, with a name for each cell.

    align: see `composites.Align`. wipe: show two clips on both sides of a moving edge, if both exist.
    """

    study: Study
    cells: Sequence[CellStatus]
    names: Sequence[str]
    align: Align = "time"
    wipe: bool = False

    @property
    def rows(self) -> Sequence[str]:
        """Labels of the rows."""
        return labels(self.study.axes[1]) if len(self.study.axes) > 1 else [""]

    @property
    def columns(self) -> Sequence[str]:
        """Labels of the columns."""
        return labels(self.study.axes[0]) if self.study.axes else self.names

    @property
    def named(self) -> Sequence[Mapping[str, Any]]:
        """Axis values of each cell, or the name of a comparison's column."""
        return points(self.study.axes) if self.study.axes else [{"column": name} for name in self.names]

    @property
    def made(self) -> list[tuple[str, Entry]]:
        """The finished cells: name and video of each."""
        return [(name, one.entry) for name, one in zip(self.names, self.cells, strict=True) if one.entry is not None]

    def finished(self) -> "ContactSheet":
        """Return a comparison without the columns that have no video."""
        cells = [cell for cell in self.cells if cell.entry is not None]
        return replace(self, cells=cells, names=[name for name, _ in self.made])

    def table(self) -> str:
        """Return all cells as CSV."""
        pairs = zip(self.named, self.cells, strict=True)
        return as_csv([csv_row(named, cell.entry, cell.state) for named, cell in pairs])

    def video(self) -> bytes:
        """Return all clips as one MP4 file. Raise BadInput if no clip is finished."""
        with tempfile.TemporaryDirectory() as folder:
            return self._write_video(Path(folder) / "sheet.mp4", self._clips()).read_bytes()

    def still(self) -> bytes:
        """Return the middle frames as a PNG file. Raise BadInput if no clip is finished."""
        return as_png(composites.sheet(self._clips(), self.rows, self.columns))

    def write(self, path: Path) -> dict[str, Path]:
        """Write video, PNG and CSV under one name, `path` or the first free of `path_2`, ...: all of them or none.

        Return the paths by suffix. Raise BadInput if no clip is finished and MediaError if the folder cannot be
        written.
        """
        clips = self._clips()
        try:
            with all_or_none() as written:
                written[".mp4"] = self._write_video(path, clips)
                written[".png"] = written[".mp4"].with_suffix(".png")
                write_still(written[".png"], composites.sheet(clips, self.rows, self.columns))
                written[".csv"] = written[".mp4"].with_suffix(".csv")
                with whole_file(written[".csv"]) as part:
                    part.write_text(self.table(), encoding="utf-8", newline="")
        except OSError as error:
            raise MediaError(f"nothing can be written to {path.parent} ({reason(error)})") from error
        return written

    def _clips(self) -> list[list[Cell]]:
        """Return the cells of the grid, row by row, scaled down to fit. Clips are read one at a time."""
        rows, columns = len(self.rows), len(self.columns)
        cells = [self._clip(cell, rows, columns) for cell in self.cells]
        return [cells[row * columns : (row + 1) * columns] for row in range(rows)]

    @staticmethod
    def _clip(cell: CellStatus, rows: int, columns: int) -> Cell:
        if cell.entry is None:
            return cell.reason
        try:
            clip = Clip(read_frames(cell.entry.result.video), cell.entry.settings.file_fps)
        except BadInput:
            return "its file is damaged"
        return composites.reduced(clip, rows, columns)

    def _write_video(self, path: Path, clips: Sequence[Sequence[Cell]]) -> Path:
        """Write the composite, whose metadata has the study and its videos."""
        study = self.study
        form, frames, fps = self._composite(clips)
        metadata = {
            "program": "img2vid",
            "study": study.kind,
            "form": form,
            "align": self.align,
            "picture": study.picture_name,
            "picture_sha256": study.picture.stem,
            "axes": [{"name": axis.name, "values": list(axis.values)} for axis in study.axes],
            "cells": [cell.settings.model_dump() for cell in study.cells],
            "videos": [{"label": label, **entry.result.metadata} for label, entry in self.made],
        }
        return write_video(path, frames, fps=fps, metadata=metadata)

    def _composite(self, clips: Sequence[Sequence[Cell]]) -> tuple[str, Frames, float]:
        """Return the form, frames (T, H, W, 3) and frames per second."""
        match clips[0]:
            case [Clip() as left, Clip() as right] if self.wipe:
                return "wipe", *composites.wipe(left, right, self.columns, self.align)
            case _:
                form = "grid" if self.study.axes else "side by side"
                return form, *composites.grid(clips, self.rows, self.columns, self.align)
