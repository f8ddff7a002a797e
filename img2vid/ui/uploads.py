"""What is dropped into Input: a picture becomes the input; a video or settings file of img2vid brings its run back."""

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
"""Files that begin like an MP4 and are still pictures."""


@dataclass(frozen=True)
class Dropped:
    """What a file came to: a new input, new values for all controls, or both, and a sentence about it."""

    picture: Picture | None = None
    controls: dict[str, Any] | None = None
    text: str = ""


def take_upload(data: bytes, name: str, jobs: Iterable[Job]) -> Dropped:
    """Reads a dropped file by its contents; `jobs` are searched for the picture that a video was made from.

    Raises BadInput, in one sentence, for a file that is neither a picture nor made by img2vid, MediaError where the
    disk does not take the picture.
    """
    # Browsers on Windows may send whole paths.
    name = PureWindowsPath(name).name
    if data[4:8] == b"ftyp" and data[8:12] not in VIDEO_BRANDS:
        return _from_video(data, name, jobs)
    if data.lstrip()[:1] == b"{":
        return _restored(_settings_file(data, name), name, jobs, None)
    return Dropped(picture=keep_picture(data, name))


def keep_picture(data: bytes, name: str) -> Picture:
    """A picture file, checked and kept on disk as an input; raises BadInput and MediaError."""
    load_picture(data, name=name)
    try:
        kept = keep_input(paths.home() / "inputs", data, PurePath(name).suffix)
    except OSError as error:
        raise MediaError(f"'{name}' cannot be kept on disk ({error.strerror}); is it full?") from error
    return Picture(kept.name, PurePath(name).stem or "picture")


def _from_video(data: bytes, name: str, jobs: Iterable[Job]) -> Dropped:
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "dropped.mp4"
        video.write_bytes(data)
        try:
            metadata = read_metadata(video)
        except BadInput as error:
            raise BadInput(
                f"'{name}' is not a video made by img2vid; drop a picture, or save one of its frames as a picture"
            ) from error
        return _restored(metadata, name, jobs, video)


def _settings_file(data: bytes, name: str) -> dict[str, Any]:
    try:
        metadata: object = json.loads(data)
    except ValueError:  # bytes that are no text, too
        metadata = None
    if not isinstance(metadata, dict):
        raise BadInput(f"'{name}' cannot be read as JSON; drop a picture, or a file of settings made by img2vid")
    return cast("dict[str, Any]", metadata)


def _restored(metadata: Mapping[str, Any], name: str, jobs: Iterable[Job], video: Path | None) -> Dropped:
    settings = metadata.get("settings")
    if not isinstance(settings, dict) or "version" not in settings:
        raise BadInput(
            f"'{name}' holds no settings of img2vid; drop a picture, or a video or JSON file made by img2vid"
        )
    values = cast("dict[str, Any]", settings)
    controls = find_version(str(values["version"])).settings(values).model_dump()
    stored = _stored_input(metadata, jobs)
    if stored is not None:
        return Dropped(stored, controls, f"Settings and input of {name} are back.")
    if video is None:
        return Dropped(None, controls, f"Settings of {name} are back. The file holds no picture; drop that too.")
    picture = keep_picture(first_frame(video), f"{_picture_name(metadata)}.png")
    text = f"Settings of {name} are back. Its picture is not on this computer; the video's first frame stands for it."
    return Dropped(picture, controls, text)


def _stored_input(metadata: Mapping[str, Any], jobs: Iterable[Job]) -> Picture | None:
    for job in jobs:
        if any(result.metadata == metadata for result in job.results) and job.picture.is_file():
            return Picture(job.picture.name, job.picture_name)
    return None


def _picture_name(metadata: Mapping[str, Any]) -> str:
    name = metadata.get("picture")
    return name if isinstance(name, str) and name else "picture"
