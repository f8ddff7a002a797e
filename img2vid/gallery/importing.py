"""Import of videos that img2vid made elsewhere, using the settings in each file's metadata.

Nothing is written into their folder. Missing companion files are created in the home.
"""

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from img2vid import paths
from img2vid.background import OnProgress, TaskResult
from img2vid.errors import BadInput, Cancelled, Img2VidError, MediaError, StoreError, shown, without_name
from img2vid.files import read_bytes, reason, whole_file
from img2vid.gallery.entries import Entries, Entry
from img2vid.jobs.model_cache import one_sentence
from img2vid.jobs.store import Store
from img2vid.media.exports import first_frame
from img2vid.media.videos import read_metadata, write_json
from img2vid.options import LoadOptions
from img2vid.paths import is_unicode
from img2vid.progress import Result
from img2vid.settings_validation import make_settings, read_settings

MADE = "imported"
"""Folder in the home for stills and settings that are missing beside their video."""
NAMED = 20
"""Maximum number of left out files that are listed."""


def folder_of(text: str) -> Path:
    """Return the folder that a user has entered. Raise BadInput if it cannot be read."""
    plain = paths.without_quotes(text)
    if not plain:
        raise BadInput("no folder was given; enter the path of a folder with videos, such as /home/you/videos")
    try:
        folder = paths.chosen_folder(plain).resolve()
        if not folder.exists():
            raise BadInput(f"there is no folder '{plain}'; enter the full path, as the file manager shows it")
        if not folder.is_dir():
            raise BadInput(f"'{plain}' is a file; enter the path of its folder")
        next(folder.iterdir(), None)
    except (OSError, ValueError, RuntimeError) as error:  # path too long, zero byte, unknown user after ~
        raise BadInput(f"the folder '{plain[:200]}' cannot be read ({reason(error)}); choose another one") from error
    return folder


def videos_in(folder: Path) -> list[Path]:
    """Return the MP4 files below a folder, sorted by name, without hidden files and linked folders."""
    found: list[Path] = []
    waiting = [folder.resolve()]
    while waiting:
        with suppress(OSError):
            for path in waiting.pop().iterdir():
                if path.name.startswith("."):
                    continue
                if path.is_dir():
                    waiting += [path] if path.resolve() == path else []  # Windows has links that are no symlinks
                elif path.suffix.lower() == ".mp4":
                    found.append(path)
    return sorted(found)


@dataclass(frozen=True)
class Import:
    """Outcome of a video: its new entry, the one it had already, or why it was left out."""

    video: Path
    new: Entry | None = None
    known: Entry | None = None
    error: Img2VidError | None = None


def import_videos(store: Store, videos: Iterable[Path]) -> Iterator[Import]:
    """Import the videos that are not in the gallery yet, each committed separately. Raise StoreError."""
    entries = Entries(store)
    for video in videos:
        known = entries.naming(video)
        yield Import(video, known=known[0]) if known else try_import(store, video)


def try_import(store: Store, video: Path, *, imported: bool = True) -> Import:
    """Import one video like `import_video`, but return what it raises, except StoreError."""
    try:
        return Import(video, new=import_video(store, video, imported=imported))
    except StoreError:
        raise
    except Img2VidError as error:
        return Import(video, error=error)
    except Exception as error:  # noqa: BLE001 - a damaged file may raise anything, and the others are imported
        return Import(video, error=Img2VidError(one_sentence(error)))


def import_folder(store: Store, folder: Path, on_progress: OnProgress) -> TaskResult:
    """Import every new video below a folder. Each is committed separately, so a cancelled import keeps the others."""
    folder = folder.resolve()
    videos = videos_in(folder)
    outcomes: list[Import] = []
    try:
        on_progress((0, len(videos)))
        for outcome in import_videos(store, videos):
            outcomes.append(outcome)
            on_progress((len(outcomes), len(videos)))
    except Cancelled as error:
        raise Cancelled(f"stopped after importing {_count(outcomes)}") from error
    failed = [(one.video, str(one.error)) for one in outcomes if one.error]
    left_out = [f"{shown(video.relative_to(folder))}: {without_name(error, video)}" for video, error in failed]
    return TaskResult(_summary(folder, outcomes), tuple(_shortened(left_out)))


def import_video(store: Store, video: Path, *, imported: bool = True) -> Entry:
    """Import one video. Raise BadInput if img2vid did not make it and MediaError if the disk is full.

    imported: False if the video's files belong to the home.
    """
    if not is_unicode(video):
        raise BadInput("its path is not valid Unicode; rename it")
    metadata = read_metadata(video)
    settings = make_settings({**read_settings(metadata, "it", newer=True), "num_samples": 1})
    result = Result(
        video=video,
        still=_beside(video, ".png") or _made(store, video, ".png"),
        sidecar=_beside(video, ".json") or _made(store, video, ".json", metadata),
        animation=_beside(video, ".gif") or _beside(video, ".webp"),
        seed=settings.seed,
        seconds=0.0,
        metadata=metadata,
    )
    picture, suffix = _picture(store, metadata, result.still)
    name = metadata.get("picture")
    # Clocks and archives may give impossible times.
    created = min(max(video.stat().st_mtime, 0.0), time.time())
    return Entries(store).add_imported(
        result,
        settings,
        LoadOptions.of_stored(metadata),
        picture,
        name if isinstance(name, str) and name else video.stem,
        suffix,
        created=created,
        animation=None if result.animation is None else result.animation.suffix[1:],
        imported=imported,
    )


def _picture(store: Store, metadata: Mapping[str, Any], still: Path) -> tuple[bytes, str]:
    """Return the input picture and its suffix if this computer has it, else the first frame."""
    checksum = metadata.get("picture_sha256")
    if isinstance(checksum, str) and re.fullmatch("[0-9a-f]{64}", checksum):
        for path in sorted((store.home / "inputs").glob(f"{checksum}.*")):
            with suppress(OSError):
                return read_bytes(path), path.suffix
    try:
        return read_bytes(still), ".png"
    except OSError as error:
        raise BadInput(f"its first frame {still.name} cannot be read ({reason(error)})") from error


def _beside(video: Path, suffix: str) -> Path | None:
    path = video.with_suffix(suffix)
    return path if path.is_file() else None


def _made(store: Store, video: Path, suffix: str, metadata: Mapping[str, Any] | None = None) -> Path:
    """Create a missing companion file in the home. Its name is a hash of the video's path, so that none collide."""
    name = hashlib.sha256(str(video).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    path = store.home / MADE / f"{name}{suffix}"
    if metadata is not None:
        write_json(path, metadata)
        return path
    frame = first_frame(video)
    try:
        with whole_file(path) as part:
            part.write_bytes(frame)
    except OSError as error:
        raise MediaError(f"nothing can be written to {path.parent} ({reason(error)})") from error
    return path


def _summary(folder: Path, outcomes: Sequence[Import]) -> str:
    if not outcomes:
        return f"there is no MP4 file in {folder}"
    parts = [f"{_count(outcomes)} imported from {folder}"]
    if known := sum(one.known is not None for one in outcomes):
        parts.append(f"{known} already in the gallery")
    if left_out := sum(one.error is not None for one in outcomes):
        parts.append(f"{left_out} left out")
    return "; ".join(parts)


def _count(outcomes: Sequence[Import]) -> str:
    number = sum(one.new is not None for one in outcomes)
    return f"{number or 'no'} video{'' if number == 1 else 's'}"


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - NAMED
    return lines if more <= 0 else [*lines[:NAMED], f"and {more} more"]
