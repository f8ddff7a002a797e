"""Files uploaded to Input: images become the input; a video, settings file or workflow restores its settings."""

import math
import re
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, cast

from img2vid import paths
from img2vid.comfyui.files import carried_workflow
from img2vid.comfyui.graph import is_workflow
from img2vid.comfyui.read import Workflow, left_out_sentence, read_workflow
from img2vid.documents import parse_json
from img2vid.errors import BadInput, Img2VidError, MediaError, shown
from img2vid.files import reason
from img2vid.jobs.inputs import keep_input
from img2vid.jobs.job import Job
from img2vid.media.exports import first_frame
from img2vid.media.picture_kinds import READ, is_video, picture_kind
from img2vid.media.pictures import load_picture
from img2vid.media.videos import read_metadata
from img2vid.settings_validation import read_settings
from img2vid.text_to_image.workflow import image_of_workflow
from img2vid.ui.tabs import Picture
from img2vid.versions import find_version

TOO_LARGE = "application/x-img2vid-too-large"
"""Type of a stand-in for a file above the limit, which the browser does not upload; it contains the size in bytes."""
MOST_PICTURES = 50
"""Largest batch."""
_NO_IMAGE = "It contains no image, so add that too."


@dataclass(frozen=True)
class Dropped:
    """Result of uploads: a new input, new values for all controls, or both, and a message."""

    picture: Picture | None = None
    controls: dict[str, Any] | None = None
    text: str = ""
    metadata: Mapping[str, Any] | None = None
    """Metadata of a video of img2vid, which may have the prompt of its picture."""
    more_pictures: tuple[Picture, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    """Names of the files that were left out, and the reasons."""

    @property
    def restores(self) -> bool:
        """True if there are settings or a prompt."""
        return self.controls is not None or self.metadata is not None


def take_uploads(files: Iterable[tuple[str, str, bytes]], limit: int, jobs: Iterable[Job]) -> Dropped:
    """Read uploaded files, each a name, a type and contents; a file that cannot be read leaves the others intact.

    All images are the input, and one file restores its settings: the first that is no image, else the first image with
    a workflow. limit: size above which the browser sends stand-ins, in bytes.
    """
    given = list(files)
    is_image = [picture_kind(data) in READ for _, _, data in given]
    pictures: dict[str, Picture] = {}
    restoring: list[tuple[bool, str, Dropped]] = []
    problems: list[tuple[str, str]] = []
    for image, (path, kind, data) in zip(is_image, given, strict=True):
        name = _file_name(path)
        try:
            if kind == TOO_LARGE:
                raise BadInput(_too_large(name, data, limit))
            if image and len(pictures) == MOST_PICTURES:
                raise BadInput(f"'{name}' exceeds the limit of {MOST_PICTURES} images; add it later")
            found = take_upload(data, path, jobs, image_given=any(is_image))
        except Img2VidError as error:
            problems.append((name, str(error)))
            continue
        if found.picture is not None and (image or not pictures):
            pictures.setdefault(found.picture.file, found.picture)
        if found.restores:
            restoring.append((image, name, found))
    restoring.sort(key=lambda one: one[0])
    unused = [name for image, name, _ in restoring[1:] if not image]
    problems += [(name, f"'{name}' restores settings too; add it on its own") for name in unused]
    first, *more = [*pictures.values()] or [None]
    found = restoring[0][2] if restoring else Dropped()
    return replace(found, picture=first, more_pictures=tuple(filter(None, more)), problems=tuple(problems))


def _too_large(name: str, data: bytes, limit: int) -> str:
    size = int(data) if re.fullmatch(rb"[0-9]{1,18}", data) else limit
    megabytes = math.ceil(size / 2**20)
    return f"'{name}' has {megabytes:,} MB, more than the limit of {limit // 2**20} MB; use a smaller file"


def _file_name(name: str) -> str:
    """Return the printable name without its folder; browsers on Windows may send full paths."""
    return shown(PureWindowsPath(name).name)


def take_upload(data: bytes, name: str, jobs: Iterable[Job], *, image_given: bool = False) -> Dropped:
    """Read an uploaded file by its contents; `jobs` are searched for the input image of a video.

    image_given: the input comes from elsewhere, so settings are restored without their image.

    Raise BadInput if the file is neither an image, nor made by img2vid, nor a ComfyUI workflow, MediaError if the image
    cannot be saved.
    """
    name = _file_name(name)
    if data.lstrip()[:1] == b"{":
        tree = _settings_file(data, name)
        if is_workflow(tree):
            return _from_workflow(read_workflow(tree, f"'{name}'"), name, None, image_given=image_given)
        return _restored(tree, name, jobs, None, image_given=image_given)
    if (tree := carried_workflow(data)) is not None:
        with suppress(BadInput):  # the workflow of a picture need not be of a known kind
            return _from_workflow(read_workflow(tree, f"'{name}'"), name, data, image_given=image_given)
    if is_video(data):
        return _from_video(data, name, jobs, image_given=image_given)
    return Dropped(picture=keep_picture(data, name))


def _from_workflow(workflow: Workflow, name: str, data: bytes | None, *, image_given: bool) -> Dropped:
    """Return the settings and the prompt of a workflow with the picture of the file that carries it.

    A video's picture is its first frame.
    """
    image, left_out = (None, []) if workflow.prompt is None else image_of_workflow(workflow.prompt)
    restored = " and ".join(filter(None, ("settings" if workflow.settings else "", "prompt" if image else "")))
    notice = left_out_sentence([*workflow.left_out, *left_out])
    texts = [f"Restored {restored} from the ComfyUI workflow {name}." if restored else "", notice]
    picture = None
    if image_given and (data is None or is_video(data)):
        pass
    elif data is None:
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


def _from_video(data: bytes, name: str, jobs: Iterable[Job], *, image_given: bool) -> Dropped:
    with _video_file(data) as video:
        try:
            metadata = read_metadata(video)
        except BadInput as error:
            raise BadInput(
                f"'{name}' is not a video made by img2vid; add an image, or save one of its frames as an image"
            ) from error
        return _restored(metadata, name, jobs, video, image_given=image_given)


def _settings_file(data: bytes, name: str) -> dict[str, Any]:
    try:
        metadata = parse_json(data, f"'{name}'")
    except BadInput as error:
        raise BadInput(f"{error}; add an image or a settings file made by img2vid") from error
    return cast("dict[str, Any]", metadata)


def _restored(
    metadata: Mapping[str, Any], name: str, jobs: Iterable[Job], video: Path | None, *, image_given: bool
) -> Dropped:
    values = read_settings(metadata, f"'{name}'")
    controls = find_version(values["version"]).settings(values).model_dump()
    if image_given:
        return Dropped(None, controls, f"Restored settings from {name}.", metadata)
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
