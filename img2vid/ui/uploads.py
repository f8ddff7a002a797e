"""Files uploaded to Input: an image becomes the input; a video, settings file or workflow restores its settings."""

import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, cast

from img2vid import paths
from img2vid.comfyui.files import carried_workflow
from img2vid.comfyui.graph import is_workflow
from img2vid.comfyui.read import Workflow, left_out_sentence, read_workflow
from img2vid.documents import parse_json
from img2vid.errors import BadInput, MediaError, shown
from img2vid.files import reason
from img2vid.jobs.inputs import keep_input
from img2vid.jobs.job import Job
from img2vid.media.exports import first_frame
from img2vid.media.picture_kinds import is_video
from img2vid.media.pictures import load_picture
from img2vid.media.videos import read_metadata
from img2vid.settings_validation import read_settings
from img2vid.text_to_image.workflow import image_of_workflow
from img2vid.ui.tabs import Picture
from img2vid.versions import find_version

_NO_IMAGE = "It contains no image, so add that too."


@dataclass(frozen=True)
class Dropped:
    """Result of an upload: a new input, new values for all controls, or both, and a message."""

    picture: Picture | None = None
    controls: dict[str, Any] | None = None
    text: str = ""
    metadata: Mapping[str, Any] | None = None
    """Metadata of a video of img2vid, which may have the prompt of its picture."""


def take_upload(data: bytes, name: str, jobs: Iterable[Job]) -> Dropped:
    """Read an uploaded file by its contents; `jobs` are searched for the input image of a video.

    Raise BadInput if the file is neither an image, nor made by img2vid, nor a ComfyUI workflow, MediaError if the image
    cannot be saved.
    """
    # Browsers on Windows may send full paths.
    name = shown(PureWindowsPath(name).name)
    if data.lstrip()[:1] == b"{":
        tree = _settings_file(data, name)
        if is_workflow(tree):
            return _from_workflow(read_workflow(tree, f"'{name}'"), name, None)
        return _restored(tree, name, jobs, None)
    if (tree := carried_workflow(data)) is not None:
        with suppress(BadInput):  # the workflow of a picture need not be of a known kind
            return _from_workflow(read_workflow(tree, f"'{name}'"), name, data)
    if is_video(data):
        return _from_video(data, name, jobs)
    return Dropped(picture=keep_picture(data, name))


def _from_workflow(workflow: Workflow, name: str, data: bytes | None) -> Dropped:
    """Return the settings and the prompt of a workflow with the picture of the file that carries it.

    A video's picture is its first frame.
    """
    image, left_out = (None, []) if workflow.prompt is None else image_of_workflow(workflow.prompt)
    restored = " and ".join(filter(None, ("settings" if workflow.settings else "", "prompt" if image else "")))
    notice = left_out_sentence([*workflow.left_out, *left_out])
    texts = [f"Restored {restored} from the ComfyUI workflow {name}." if restored else "", notice]
    picture = None
    if data is None:
        texts.append("It contains no image; press Create or add one." if image else _NO_IMAGE)
    else:
        if is_video(data):
            with _video_file(data) as video:
                data, name = first_frame(video), f"{PurePath(name).stem}.png"
            texts.append("The video's first frame is the image.")
        picture = keep_picture(data, name)
    prompt = None if image is None else {"image": image.model_dump()}
    return Dropped(picture, workflow.settings or None, " ".join(filter(None, texts)), prompt)


@contextmanager
def _video_file(data: bytes) -> Generator[Path, None, None]:
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "dropped.mp4"
        video.write_bytes(data)
        yield video


def keep_picture(data: bytes, name: str) -> Picture:
    """Check and store an input image. Raise BadInput if it is unreadable, MediaError if the disk write fails."""
    load_picture(data, name=name)
    try:
        kept = keep_input(paths.home() / "inputs", data, PurePath(name).suffix)
    except OSError as error:
        raise MediaError(f"cannot save '{name}' in {paths.home()} ({reason(error)})") from error
    return Picture(kept.name, PurePath(name).stem or "picture")


def _from_video(data: bytes, name: str, jobs: Iterable[Job]) -> Dropped:
    with _video_file(data) as video:
        try:
            metadata = read_metadata(video)
        except BadInput as error:
            raise BadInput(
                f"'{name}' is not a video made by img2vid; add an image, or save one of its frames as an image"
            ) from error
        return _restored(metadata, name, jobs, video)


def _settings_file(data: bytes, name: str) -> dict[str, Any]:
    try:
        metadata = parse_json(data, f"'{name}'")
    except BadInput as error:
        raise BadInput(f"{error}; add an image or a settings file made by img2vid") from error
    return cast("dict[str, Any]", metadata)


def _restored(metadata: Mapping[str, Any], name: str, jobs: Iterable[Job], video: Path | None) -> Dropped:
    values = read_settings(metadata, f"'{name}'")
    controls = find_version(values["version"]).settings(values).model_dump()
    stored = _stored_input(metadata, jobs)
    if stored is not None:
        return Dropped(stored, controls, f"Restored settings and image from {name}.", metadata)
    if video is None:
        text = f"Restored settings from {name}. {_NO_IMAGE}"
        return Dropped(None, controls, text, metadata)
    try:
        frame = first_frame(video)
    except BadInput as error:
        raise BadInput(f"'{name}' has settings, but its first frame cannot be read; add its image instead") from error
    picture = keep_picture(frame, f"{_picture_name(metadata)}.png")
    text = f"Restored settings from {name}. Its image isn't on this computer; the video's first frame is used instead."
    return Dropped(picture, controls, text, metadata)


def _stored_input(metadata: Mapping[str, Any], jobs: Iterable[Job]) -> Picture | None:
    for job in jobs:
        if any(result.metadata == metadata for result in job.results) and job.picture.is_file():
            return Picture(job.picture.name, job.picture_name)
    return None


def _picture_name(metadata: Mapping[str, Any]) -> str:
    name = metadata.get("picture")
    return shown(name) if isinstance(name, str) and name else "picture"
