"""Plain values that the store returns: jobs, results, progress and model status.

Values that come from rows are validated, because a row may be damaged or written by another version of the program.
Decoders raise ValueError or TypeError for text that they cannot read.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from img2vid.options import LoadOptions
from img2vid.progress import STRICT, Event, Result
from img2vid.settings import MAX_SEED, SampleSettings
from img2vid.text_to_image.settings import ImageSettings

Moment = Annotated[float, Field(ge=0, le=32_503_680_000)]
"""Seconds since 1970, before the year 3000, which is the latest that every system can format."""


class State(str, Enum):
    """State of a job. A job starts as WAITING; all states but WAITING and RUNNING are final."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The program that ran the job exited. `Store.resubmit` restarts it, `Store.requeue` resumes it."""

    @property
    def ended(self) -> bool:
        """True if the state is final."""
        return self not in (State.WAITING, State.RUNNING)


Kind = Literal["video", "image"]
"""Output of a job."""


@dataclass(frozen=True, config=STRICT)
class Job:
    """Request for one or more videos of a picture, or for pictures from a prompt. Times are seconds since 1970."""

    id: str
    state: State
    settings: SampleSettings
    """Settings of the videos; for pictures, those of the videos that they are meant for."""
    options: LoadOptions
    picture: Path
    """The stored input picture; for pictures, the folder of the inputs."""
    picture_name: str
    """Stem of the picture's original name; the videos' names start with it."""
    folder: Path
    """Output folder of the videos."""
    animation: str | None
    created: Moment
    started: Moment | None
    finished: Moment | None
    attempts: int
    """Number of times the job was assigned to a worker."""
    error: str
    """Error message of one sentence, or empty."""
    error_type: str
    """Class name of the error, such as "OutOfMemory", or empty."""
    details: str
    """Traceback of an unexpected error, or empty."""
    notice: str
    """Deviations from the request, such as a smaller decode_t, or empty."""
    worker: str
    """Name of the last worker the job was assigned to, or empty."""
    continues: str
    """Id of the job whose last frame, or first picture from a prompt, is the input, or empty.

    It continues that job's video with the seed before its own. `picture` exists from the start of the job.
    """
    imported: bool
    """True if the video was imported from disk."""
    made: int
    """Number of finished videos, including deleted ones."""
    results: tuple[Result, ...]
    """Finished videos that are not deleted."""
    kind: Kind = "video"
    image: ImageSettings | None = None
    """Settings of pictures, None for videos."""
    pictures: tuple[Path, ...] = ()
    """Finished pictures, in the order of their seeds."""

    @property
    def count(self) -> int:
        """Number of requested videos or pictures."""
        return self.settings.num_samples if self.image is None else self.image.candidates

    @property
    def done(self) -> int:
        """Number of finished videos or pictures, including deleted ones."""
        return self.made if self.image is None else len(self.pictures)

    @property
    def model(self) -> str:
        """Name of the model that it runs."""
        return self.settings.version if self.image is None else self.image.model

    @property
    def seed(self) -> int:
        """Seed of the first video or picture."""
        return self.settings.seed if self.image is None else self.image.seed

    def settings_of(self, index: int) -> SampleSettings:
        """Return the settings of the `index`-th video."""
        return one_video(self.settings, (self.settings.seed + index) % (MAX_SEED + 1))


ModelState = Literal["none", "loading", "ready", "failed"]


@dataclass(frozen=True, config=STRICT)
class ModelStatus:
    """Model in a worker's memory. done, total: bytes loaded so far and in all; memory: bytes in use at that time.

    advice: sentence about an option that slows the model down, or empty.

    wanted, wanted_version: True and the version if the user requested a model. A job that needs another model replaces
    it.
    """

    state: ModelState = "none"
    version: str = ""
    provider: str = ""
    device: str = ""
    precision: str = ""
    done: int = 0
    total: int = 0
    memory: int = 0
    error: str = ""
    advice: str = ""
    wanted: bool = False
    wanted_version: str = ""


@dataclass(frozen=True, config=STRICT)
class ModelRequest:
    """Request to load a model on idle workers. Version "" unloads the current model.

    Each request has a higher `number` than the one before it.
    """

    number: int
    version: str
    options: LoadOptions


def seed_before(seed: int) -> int:
    """Return the seed of the video that a video with this seed continues."""
    return (seed - 1) % (MAX_SEED + 1)


def one_video(settings: SampleSettings, seed: int) -> SampleSettings:
    """Return the settings of a single video with this seed."""
    return settings.model_copy(update={"seed": seed, "num_samples": 1})


def searched(picture_name: str, version: str, note: str, tags: Sequence[str]) -> str:
    """Return the text that the gallery's search matches."""
    return "\n".join((picture_name, version, note, *tags)).casefold()


def new_id() -> str:
    """Return a unique id for a job or a study."""
    return secrets.token_hex(8)


def path_in_text(path: Path) -> str:
    """Return a path as it is encoded in a result's JSON."""
    return json.dumps(str(path))


def settings_to_text(settings: SampleSettings) -> str:
    """Encode settings as JSON."""
    return json.dumps(settings.model_dump())


def settings_from_text(text: str) -> SampleSettings:
    """Decode settings from JSON, also if another version of the program wrote it, so that job lists stay readable.

    Numbers may be outside of the limits, which differ between versions.
    """
    values = {name: value for name, value in from_json(text).items() if name in SampleSettings.model_fields}
    try:
        return SampleSettings(**values)
    except ValidationError as error:
        outside = {str(problem["loc"][0]): problem["input"] for problem in error.errors() if problem["type"] in _LIMITS}
        if not outside or any(type(value) not in (int, float) for value in outside.values()):
            raise
        inside = SampleSettings(**{name: value for name, value in values.items() if name not in outside})
        return inside.model_copy(update=outside)


def image_to_text(image: ImageSettings | None) -> str:
    """Encode the settings of pictures as JSON, or None as ""."""
    return "" if image is None else json.dumps(image.model_dump())


def image_from_text(text: str) -> ImageSettings | None:
    """Decode the settings of pictures, without values that this version of the program does not know."""
    if not text:
        return None
    values = from_json(text)
    return ImageSettings(**{name: values[name] for name in ImageSettings.model_fields if name in values})


_LIMITS = ("greater_than_equal", "less_than_equal")


def options_to_text(options: LoadOptions) -> str:
    """Encode engine options as JSON."""
    return json.dumps(asdict(options))


def options_from_text(text: str) -> LoadOptions:
    """Decode engine options from JSON, also if another version of the program wrote it."""
    values = from_json(text)
    known = {field.name: values[field.name] for field in fields(LoadOptions) if field.name in values}
    options = LoadOptions(**known)
    if wrong := [name for name in known if type(known[name]) is not type(getattr(LoadOptions, name))]:
        raise TypeError(f"{wrong[0]} is {str(known[wrong[0]])[:40]!r}")
    return options


def result_to_text(result: Result) -> str:
    """Encode a result as JSON."""
    return json.dumps({name: str(value) if isinstance(value, Path) else value for name, value in vars(result).items()})


def result_from_text(text: str) -> Result:
    """Decode a result from JSON."""
    values = from_json(text)
    values |= {name: _path(values[name]) for name in ("video", "still", "sidecar")}
    values["animation"] = _path(values["animation"]) if values["animation"] else None
    return Result(**values)


def progress_from_row(event: str, preview: bytes) -> Event:
    """Decode the newest event of a job from JSON."""
    return Event(**from_json(event), preview=preview)


def model_from_text(text: str) -> ModelStatus:
    """Decode a model status from JSON."""
    return ModelStatus(**from_json(text))


def request_from_row(number: int, version: str, options: str) -> ModelRequest:
    """Return a model request."""
    return ModelRequest(number, version, options_from_text(options))


def _path(text: object) -> Path:
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"{str(text)[:40]!r} is not a path")
    return Path(text)


def from_json(text: str) -> dict[str, Any]:
    """Decode a JSON object. Raise ValueError if it is something else, or contains text that cannot be displayed."""
    values: object = json.loads(text)
    if not isinstance(values, Mapping):
        raise ValueError("a JSON object is expected")
    json.dumps(values, ensure_ascii=False).encode()  # lone surrogates raise UnicodeEncodeError
    return cast("dict[str, Any]", values)
