"""Import of videos that img2vid made elsewhere, using the settings in each file's metadata.

Nothing is written into their folder. Missing companion files are created in the home.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from img2vid.background import OnProgress, TaskResult
from img2vid.errors import BadInput, Cancelled, MediaError
from img2vid.files import whole_file
from img2vid.gallery.entries import Entries, Entry
from img2vid.inference import EngineChoice
from img2vid.jobs import job as rows
from img2vid.jobs.job import StoredResult
from img2vid.jobs.store import Store
from img2vid.media.exports import first_frame
from img2vid.media.videos import read_metadata, write_json
from img2vid.settings import SampleSettings

MADE = "imported"
"""Folder in the home for stills and settings that are missing beside their video."""
NAMED = 20
"""Maximum number of skipped files that are listed."""


def folder_of(text: str) -> Path:
    """Return the folder that a user has entered. Raise BadInput if it cannot be read."""
    plain = text.strip().strip("\"'").strip()
    if not plain:
        raise BadInput("no folder was given; enter the path of a folder with videos, such as /home/you/videos")
    try:
        folder = Path(plain).expanduser().resolve()
        if not folder.exists():
            raise BadInput(f"there is no folder '{plain}'; enter the full path, as the file manager shows it")
        if not folder.is_dir():
            raise BadInput(f"'{plain}' is a file; enter the path of its folder")
        next(folder.iterdir(), None)
    except (OSError, ValueError, RuntimeError) as error:  # path too long, zero byte, unknown user after ~
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"the folder '{plain[:200]}' cannot be read ({reason}); choose another one") from error
    return folder


def videos_in(folder: Path) -> list[Path]:
    """Return the MP4 files below a folder, sorted by name, without hidden files and linked folders."""
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        with suppress(OSError):
            for path in waiting.pop().iterdir():
                if path.name.startswith("."):
                    continue
                if path.is_dir():
                    waiting += [] if path.is_symlink() else [path]
                elif path.suffix.lower() == ".mp4":
                    found.append(path)
    return sorted(found)


def import_folder(store: Store, folder: Path, on_progress: OnProgress) -> TaskResult:
    """Import every new video below a folder. Each is committed separately, so a cancelled import keeps the others."""
    folder = folder.resolve()
    videos = videos_in(folder)
    entries = Entries(store)
    imported, known, skipped = 0, 0, list[str]()
    try:
        for index, video in enumerate(videos):
            on_progress((index, len(videos)))
            if entries.naming(video):
                known += 1
                continue
            try:
                import_video(store, video)
                imported += 1
            except BadInput as error:
                skipped.append(f"{video.relative_to(folder)}: {error}")
    except Cancelled as error:
        raise Cancelled(f"stopped after importing {_count(imported, 'video')}") from error
    on_progress((len(videos), len(videos)))
    return TaskResult(_summary(folder, imported, known, len(skipped)), tuple(_shortened(skipped)))


def import_video(store: Store, video: Path) -> Entry:
    """Import one video. Raise BadInput if img2vid did not make it and MediaError if the disk is full."""
    metadata = read_metadata(video)
    settings = _settings(metadata)
    result = StoredResult(
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
    return Entries(store).add_imported(
        result,
        settings,
        _choice(metadata),
        picture,
        name if isinstance(name, str) and name else video.stem,
        suffix,
        created=video.stat().st_mtime,
        animation=None if result.animation is None else result.animation.suffix[1:],
        imported=True,
    )


def _settings(metadata: Mapping[str, Any]) -> SampleSettings:
    """Return the settings in the metadata, also if another version of the program wrote them."""
    values = metadata.get("settings")
    if not isinstance(values, dict) or not isinstance(cast("dict[str, Any]", values).get("version"), str):
        raise BadInput("it contains no img2vid settings")
    settings = rows.settings_from_text(json.dumps(values))
    numbers = ("seed", "width", "height", "num_frames", "fps")
    if not all(type(getattr(settings, name, None)) is int for name in numbers):
        raise BadInput("its settings cannot be read")
    return settings.model_copy(update={"num_samples": 1})


def _choice(metadata: Mapping[str, Any]) -> EngineChoice:
    known: dict[str, Any] = {}
    for field in fields(EngineChoice):
        value = metadata.get(field.name)
        if type(value) is type(field.default):
            known[field.name] = value
    choice = EngineChoice(**known)
    try:
        choice.check()
    except BadInput:
        return EngineChoice()
    return choice


def _picture(store: Store, metadata: Mapping[str, Any], still: Path) -> tuple[bytes, str]:
    """Return the input picture and its suffix if this computer has it, else the first frame."""
    checksum = metadata.get("picture_sha256")
    if isinstance(checksum, str) and checksum.isalnum():
        for path in sorted((store.home / "inputs").glob(f"{checksum}.*")):
            with suppress(OSError):
                return path.read_bytes(), path.suffix
    try:
        return still.read_bytes(), ".png"
    except OSError as error:
        raise BadInput(f"its first frame {still.name} cannot be read ({error.strerror})") from error


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
        raise MediaError(f"nothing can be written to {path.parent} ({error.strerror}); is the disk full?") from error
    return path


def _summary(folder: Path, imported: int, known: int, skipped: int) -> str:
    if not imported + known + skipped:
        return f"there is no MP4 file in {folder}"
    parts = [f"{_count(imported, 'video')} imported from {folder}"]
    if known:
        parts.append(f"{known} already in the gallery")
    if skipped:
        parts.append(f"{skipped} skipped, not made by img2vid")
    return "; ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - NAMED
    return lines if more <= 0 else [*lines[:NAMED], f"and {more} more"]
