"""A selection of the gallery as one zip file: videos, first frames, settings, and a table of what they measure.

The zip grows on disk, file by file, so that its size does not matter. It is there whole or not at all.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from img2vid.background import OnProgress, TaskResult
from img2vid.errors import BadInput, MediaError
from img2vid.files import publish, temporary_file
from img2vid.gallery.entries import Entry
from img2vid.gallery.trash import files_of

FOLDER = "exports"
"""Of the home."""
KEPT = 3
"""Exports that stay there, the newest."""


def export(entries: Sequence[Entry], home: Path, on_progress: OnProgress) -> TaskResult:
    """Writes the zip to the home's exports. Raises BadInput where no video is there, MediaError for a full disk."""
    there = [entry for entry in entries if entry.result.video.is_file()]
    if not there:
        raise BadInput("none of these videos is on disk any more; choose others")
    folder = home / FOLDER
    try:
        with temporary_file(folder) as part:
            _write(part, there, on_progress)
            path = publish(part, folder / f"img2vid_{len(there)}_videos.zip")
    except OSError as error:
        reason = error.strerror or error
        raise MediaError(f"the zip cannot be written to {folder} ({reason}); is the disk full?") from error
    _forget_old(folder, path)
    gone = len(entries) - len(there)
    text = f"{len(there)} video{'' if len(there) == 1 else 's'} in {path}"
    return TaskResult(text + (f"; {gone} not on disk any more" if gone else ""), file=path)


def _write(part: Path, entries: Sequence[Entry], on_progress: OnProgress) -> None:
    names = _names(entries)
    # Videos and pictures are compressed already; compressing them again would only take time.
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for index, (entry, stem) in enumerate(zip(entries, names, strict=True)):
            on_progress(index, len(entries))
            written: set[str] = set()
            for path in files_of(entry.result):
                if path.is_file():
                    archive.write(path, f"{stem}{path.suffix}")
                    written.add(path.suffix)
            if ".json" not in written:
                archive.writestr(f"{stem}.json", json.dumps(entry.result.metadata, indent=2, ensure_ascii=False) + "\n")
        archive.writestr("measurements.csv", _table(entries, names), zipfile.ZIP_DEFLATED)
        on_progress(len(entries), len(entries))


def _names(entries: Sequence[Entry]) -> list[str]:
    """A name for each video, without folders, and each once, whatever a system thinks of capitals."""
    return list(_unique(entry.result.video.stem for entry in entries))


def _unique(stems: Iterator[str]) -> Iterator[str]:
    taken = {"measurements"}
    for stem in stems:
        number, name = 1, stem
        while name.casefold() in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.casefold())
        yield name


def _table(entries: Sequence[Entry], names: Sequence[str]) -> str:
    from img2vid.gallery.csv_export import as_csv, csv_row

    return as_csv([csv_row({"file": f"{name}.mp4"}, entry) for name, entry in zip(names, entries, strict=True)])


def _forget_old(folder: Path, newest: Path) -> None:
    times: list[tuple[float, Path]] = []
    for path in folder.glob("*.zip"):
        with suppress(OSError):
            times.append((path.stat().st_mtime, path))
    for _, path in sorted(times, reverse=True)[KEPT:]:
        if path != newest:
            with suppress(OSError):
                path.unlink()
