"""Files uploaded to Input: an image becomes the input, an img2vid video or settings file restores its settings."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, cast

from img2vid import paths
from img2vid.errors import BadInput, MediaError
from img2vid.jobs.inputs import keep_input
from img2vid.jobs.job import Job
from img2vid.media.exports import first_frame
from img2vid.media.pictures import load_picture
from img2vid.media.videos import read_metadata
from img2vid.ui.tabs import Picture
from img2vid.versions import find_version

VIDEO_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"hevc")
"""ISO media brands (bytes 8 to 12) of still images."""


@dataclass(frozen=True)
class Dropped:
    """Result of an upload: a new input, new values for all controls, or both, and a message."""

    picture: Picture | None = None
    controls: dict[str, Any] | None = None
    text: str = ""


def take_upload(data: bytes, name: str, jobs: Iterable[Job]) -> Dropped:
    """Read an uploaded file by its contents; `jobs` are searched for the input image of a video.

    Raise BadInput if the file is neither an image nor made by img2vid, MediaError if the image cannot be saved.
    """
    # Browsers on Windows may send full paths.
    name = PureWindowsPath(name).name
    if data[4:8] == b"ftyp" and data[8:12] not in VIDEO_BRANDS:
        return _from_video(data, name, jobs)
    if data.lstrip()[:1] == b"{":
        return _restored(_settings_file(data, name), name, jobs, None)
    return Dropped(picture=keep_picture(data, name))


def keep_picture(data: bytes, name: str) -> Picture:
    """Check and store an input image. Raise BadInput if it is unreadable, MediaError if the disk write fails."""
    load_picture(data, name=name)
    try:
        kept = keep_input(paths.home() / "inputs", data, PurePath(name).suffix)
    except OSError as error:
        raise MediaError(f"cannot save '{name}' ({error.strerror}); check the free disk space") from error
    return Picture(kept.name, PurePath(name).stem or "picture")


def _from_video(data: bytes, name: str, jobs: Iterable[Job]) -> Dropped:
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "dropped.mp4"
        video.write_bytes(data)
        try:
            metadata = read_metadata(video)
        except BadInput as error:
            raise BadInput(
                f"'{name}' is not a video made by img2vid; add an image, or save one of its frames as an image"
            ) from error
        return _restored(metadata, name, jobs, video)


def _settings_file(data: bytes, name: str) -> dict[str, Any]:
    try:
        metadata: object = json.loads(data)
    except ValueError:  # includes bytes that are not text
        metadata = None
    if not isinstance(metadata, dict):
        raise BadInput(f"'{name}' is not valid JSON; add an image or a settings file made by img2vid")
    return cast("dict[str, Any]", metadata)


def _restored(metadata: Mapping[str, Any], name: str, jobs: Iterable[Job], video: Path | None) -> Dropped:
    settings = metadata.get("settings")
    if not isinstance(settings, dict) or "version" not in settings:
        raise BadInput(f"'{name}' has no img2vid settings; add an image, or a video or settings file made by img2vid")
    values = cast("dict[str, Any]", settings)
    controls = find_version(str(values["version"])).settings(values).model_dump()
    stored = _stored_input(metadata, jobs)
    if stored is not None:
        return Dropped(stored, controls, f"Restored settings and image from {name}.")
    if video is None:
        return Dropped(None, controls, f"Restored settings from {name}. It contains no image, so add that too.")
    picture = keep_picture(first_frame(video), f"{_picture_name(metadata)}.png")
    text = f"Restored settings from {name}. Its image isn't on this computer; the video's first frame is used instead."
    return Dropped(picture, controls, text)


def _stored_input(metadata: Mapping[str, Any], jobs: Iterable[Job]) -> Picture | None:
    for job in jobs:
        if any(result.metadata == metadata for result in job.results) and job.picture.is_file():
            return Picture(job.picture.name, job.picture_name)
    return None


def _picture_name(metadata: Mapping[str, Any]) -> str:
    name = metadata.get("picture")
    return name if isinstance(name, str) and name else "picture"
