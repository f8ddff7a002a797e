"""Export of gallery videos as one zip file with first frames, settings and a table of measurements.

The zip is written to disk file by file, so memory use does not depend on its size. It appears only when complete.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from img2vid.background import OnProgress, TaskResult
from img2vid.errors import BadInput, MediaError, shown
from img2vid.files import publish, read_bytes, reason, remove, temporary_file
from img2vid.gallery.entries import Entry
from img2vid.gallery.trash import files_of
from img2vid.paths import safe_name

FOLDER = "exports"
"""Folder in the home."""
KEPT = 3
"""Number of exports to keep; older ones are deleted."""


def export(entries: Sequence[Entry], home: Path, on_progress: OnProgress) -> TaskResult:
    """Write the zip to the home's exports. Raise BadInput if no video is on disk, MediaError if the disk is full."""
    present = [entry for entry in entries if entry.result.video.is_file()]
    if not present:
        raise BadInput("none of these videos is still on disk; choose others")
    folder = home / FOLDER
    try:
        with temporary_file(folder) as part:
            unreadable = _write(part, present, on_progress)
            path = publish(part, folder / f"img2vid_{len(present)}_videos.zip")
    except OSError as error:
        raise MediaError(f"the zip cannot be written to {folder} ({reason(error)})") from error
    _delete_old(folder, path)
    missing = len(entries) - len(present)
    parts = [f"{len(present)} video{'' if len(present) == 1 else 's'} in {path}"]
    parts += [f"{missing} no longer on disk"] if missing else []
    parts += [f"{len(unreadable)} file{'' if len(unreadable) == 1 else 's'} left out"] if unreadable else []
    return TaskResult("; ".join(parts), tuple(unreadable), path)


def _write(part: Path, entries: Sequence[Entry], on_progress: OnProgress) -> list[str]:
    """Write the zip and return a line for each file that cannot be read."""
    names = _names(entries)
    unreadable: list[str] = []
    # Videos and pictures are already compressed.
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for index, (entry, stem) in enumerate(zip(entries, names, strict=True)):
            on_progress((index, len(entries)))
            written: set[str] = set()
            for path in files_of(entry.result):
                if path.is_file():
                    try:
                        # Before 1980, there are no times in zip files.
                        info = zipfile.ZipInfo.from_file(path, f"{stem}{path.suffix}", strict_timestamps=False)
                        data = read_bytes(path)
                    except OSError as error:
                        unreadable.append(f"{shown(path.name)} cannot be read ({reason(error)})")
                        continue
                    archive.writestr(info, data)
                    written.add(path.suffix)
            if ".json" not in written:
                settings = json.dumps(entry.result.metadata, indent=2, ensure_ascii=False) + "\n"
                archive.writestr(f"{stem}.json", _encoded(settings))
        archive.writestr("measurements.csv", _encoded(_table(entries, names)), zipfile.ZIP_DEFLATED)
        on_progress((len(entries), len(entries)))
    return unreadable


def _encoded(text: str) -> bytes:
    """Encode text as UTF-8; lone surrogates, which metadata of other programs may have, are escaped as in JSON."""
    return text.encode(errors="backslashreplace")


def _names(entries: Sequence[Entry]) -> list[str]:
    """Return a name for each video, valid on every system and unique also if that ignores case."""
    return list(_unique(safe_name(entry.result.video.stem) for entry in entries))


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


def _delete_old(folder: Path, newest: Path) -> None:
    times: list[tuple[float, Path]] = []
    for path in folder.glob("*.zip"):
        with suppress(OSError):
            times.append((path.stat().st_mtime, path))
    for _, path in sorted(times, reverse=True)[KEPT:]:
        if path != newest:
            with suppress(OSError):
                remove(path)
