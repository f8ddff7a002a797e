"""Videos that img2vid made elsewhere are taken into the gallery, from the settings that each file carries.

Nothing is written into their folder. What an entry needs and does not lie beside the video is made in the home.
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
"""The folder of the home for stills and settings that did not lie beside their video."""
NAMED = 20
"""Files that were left out and are named one by one."""


def folder_of(text: str) -> Path:
    """The folder that a user has named; BadInput, in a sentence, where it is none that can be read."""
    plain = text.strip().strip("\"'").strip()
    if not plain:
        raise BadInput("no folder was given; type the path of a folder with videos, such as /home/you/videos")
    try:
        folder = Path(plain).expanduser().resolve()
        if not folder.exists():
            raise BadInput(f"there is no folder '{plain}'; type the whole path, as the file manager shows it")
        if not folder.is_dir():
            raise BadInput(f"'{plain}' is a file; type the path of the folder that it is in")
        next(folder.iterdir(), None)
    except (OSError, ValueError, RuntimeError) as error:  # a path too long, a zero byte, an unknown user behind ~
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"the folder '{plain[:200]}' cannot be read ({reason}); choose another one") from error
    return folder


def videos_in(folder: Path) -> list[Path]:
    """The MP4 files of a folder and those below it, hidden ones and links to folders left out, by name."""
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
    """Takes in every video of a folder that is not known yet; each by itself, so that what is in is in."""
    folder = folder.resolve()
    videos = videos_in(folder)
    entries = Entries(store)
    taken, known, left = 0, 0, list[str]()
    try:
        for index, video in enumerate(videos):
            on_progress(index, len(videos))
            if entries.naming(video):
                known += 1
                continue
            try:
                import_video(store, video)
                taken += 1
            except BadInput as error:
                left.append(f"{video.relative_to(folder)}: {error}")
    except Cancelled as error:
        raise Cancelled(f"stopped; {_count(taken, 'video')} had been imported by then") from error
    on_progress(len(videos), len(videos))
    return TaskResult(_sentence(folder, taken, known, len(left)), tuple(_shortened(left)))


def import_video(store: Store, video: Path) -> Entry:
    """One video becomes an entry. Raises BadInput where it is none of ours, MediaError where the disk is full."""
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
    """As the file has them, also of another version of the program."""
    values = metadata.get("settings")
    if not isinstance(values, dict) or not isinstance(cast("dict[str, Any]", values).get("version"), str):
        raise BadInput("it holds no settings of img2vid")
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
    """The input, if this computer has it; otherwise the first frame stands for it."""
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
    """What does not lie beside the video, made in the home; named after the video's place, so that none collide."""
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


def _sentence(folder: Path, taken: int, known: int, left: int) -> str:
    if not taken + known + left:
        return f"there is no MP4 file in {folder}"
    parts = [f"{_count(taken, 'video')} imported from {folder}"]
    if known:
        parts.append(f"{known} known already")
    if left:
        parts.append(f"{left} left out, as img2vid did not make {'it' if left == 1 else 'them'}")
    return "; ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - NAMED
    return lines if more <= 0 else [*lines[:NAMED], f"and {more} more"]
