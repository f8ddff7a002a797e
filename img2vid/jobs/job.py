"""Plain values that the store returns: jobs, results, progress and model status."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from img2vid.inference import EngineChoice
from img2vid.settings import MAX_SEED, SampleSettings


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


@dataclass(frozen=True)
class StoredResult:
    """One video of a job on disk. `seconds` excludes loading the model and is 0 if unknown."""

    video: Path
    still: Path
    sidecar: Path
    animation: Path | None
    seed: int
    seconds: float
    metadata: dict[str, Any]
    memory: int = 0
    """Peak bytes in use while it was made; 0 if unknown."""


@dataclass(frozen=True)
class Job:
    """Request for one or more videos of a picture. Times are seconds since 1970."""

    id: str
    state: State
    settings: SampleSettings
    choice: EngineChoice
    picture: Path
    """The stored input picture."""
    picture_name: str
    """Stem of the picture's original name; the videos' names start with it."""
    folder: Path
    """Output folder of the videos."""
    animation: str | None
    created: float
    started: float | None
    finished: float | None
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
    imported: bool
    """True if the video was imported from disk."""
    made: int
    """Number of finished videos, including deleted ones."""
    results: tuple[StoredResult, ...]
    """Finished videos that are not deleted."""

    def settings_of(self, index: int) -> SampleSettings:
        """Return the settings of the `index`-th video."""
        return one_video(self.settings, (self.settings.seed + index) % (MAX_SEED + 1))


@dataclass(frozen=True)
class JobProgress:
    """The newest event of a running job.

    stage: load, condition, sample, decode or write; `step` of `total` steps are done. elapsed: seconds since the job
    started. seconds_left: until the end of the job if earlier runs allow an estimate, else of the stage; None until
    known. memory: bytes in use on the GPU, or by the worker if it has none. preview: animated GIF of all frames at the
    latents' size, or empty. The current video is number `video` of `videos`.
    """

    stage: str
    step: int
    total: int
    sigma: float | None
    elapsed: float
    seconds_left: float | None
    memory: int
    preview: bytes = b""
    video: int = 1
    videos: int = 1


ModelState = Literal["none", "loading", "ready", "failed"]


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class ModelRequest:
    """Request to load a model on idle workers. Version "" unloads the current model.

    Each request has a higher `number` than the one before it.
    """

    number: int
    version: str
    choice: EngineChoice


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
    """Decode settings from JSON, also if another version of the program wrote it, so that job lists stay readable."""
    values = {name: value for name, value in json.loads(text).items() if name in SampleSettings.model_fields}
    try:
        return SampleSettings(**values)
    except ValidationError:
        return SampleSettings.model_construct(**values)


def choice_to_text(choice: EngineChoice) -> str:
    """Encode engine options as JSON."""
    return json.dumps(asdict(choice))


def choice_from_text(text: str) -> EngineChoice:
    """Decode engine options from JSON, also if another version of the program wrote it."""
    known = {field.name for field in fields(EngineChoice)}
    return EngineChoice(**{name: value for name, value in json.loads(text).items() if name in known})


def result_to_text(result: StoredResult) -> str:
    """Encode a result as JSON."""
    return json.dumps({name: str(value) if isinstance(value, Path) else value for name, value in vars(result).items()})


def result_from_text(text: str) -> StoredResult:
    """Decode a result from JSON."""
    values = json.loads(text)
    files: dict[str, Any] = {name: Path(values[name]) for name in ("video", "still", "sidecar")}
    animation = Path(values["animation"]) if values["animation"] else None
    return replace(StoredResult(**values), **files, animation=animation)
