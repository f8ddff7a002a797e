"""What the store tells: a job and its results, how far it is, and which model is loaded. Plain values, no behaviour."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from img2vid.inference import EngineChoice
from img2vid.settings import MAX_SEED, PARAMS, SampleSettings


class State(str, Enum):
    """Where a job is. A job begins WAITING; all but WAITING and RUNNING are ends."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The program that ran it went away; `Store.again` runs it anew, `Store.put_back` lets it go on."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self not in (State.WAITING, State.RUNNING)


@dataclass(frozen=True)
class StoredResult:
    """One video of a job, as it lies on disk; `seconds` is how long it took without loading the model, 0 if unknown."""

    video: Path
    still: Path
    sidecar: Path
    animation: Path | None
    seed: int
    seconds: float
    metadata: dict[str, Any]
    memory: int = 0
    """The most bytes that were seen in use while it was made; 0 where that is not known."""


@dataclass(frozen=True)
class Job:
    """A picture that becomes one video or several. Times are seconds since 1970."""

    id: str
    state: State
    settings: SampleSettings
    choice: EngineChoice
    picture: Path
    """The input, kept by the store."""
    picture_name: str
    """The stem of the name under which it was given; the videos begin with it."""
    folder: Path
    """Where the videos go."""
    animation: str | None
    created: float
    started: float | None
    finished: float | None
    attempts: int
    """How often it was given to a worker."""
    error: str
    """One sentence, or nothing."""
    error_type: str
    """The name of the error's class, such as "OutOfMemory", or nothing."""
    details: str
    """The traceback of an error that was not foreseen, or nothing."""
    notice: str
    """What went otherwise than asked for, such as a smaller decode_t, or nothing."""
    worker: str
    """The name of the worker that it was given to last, or nothing."""
    imported: bool
    """Whether its video was found on disk, made by somebody else's img2vid."""
    made: int
    """How many of its videos are finished, those among them that were deleted since."""
    results: tuple[StoredResult, ...]
    """The videos that are finished and not deleted."""

    def settings_of(self, index: int) -> SampleSettings:
        """The settings of its `index`-th video alone."""
        return one_video(self.settings, (self.settings.seed + index) % (MAX_SEED + 1))


@dataclass(frozen=True)
class JobProgress:
    """The newest event of a running job.

    stage: load, condition, sample, decode or write; `step` of `total` of it are done. elapsed: seconds since the job
    started. seconds_left: until its end, where past runs tell, else until the end of the stage; None until it can be
    told. memory: bytes in use, on the graphics card where there is one, else by the worker. preview: an animated GIF
    of all frames at the latents' size, or nothing. It is the `video`-th of `videos`.
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
    """The model in a worker's memory. done, total: bytes loaded so far and in all; memory: bytes in use by then.

    advice: a sentence about a choice that makes the model slower than it has to be, or empty.

    wanted: whether the user asked for a model to be loaded, and `wanted_version` for which; a job that needs another
    one loads that in its place.
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
    """Which model workers shall load when they have nothing else to do; version "" lets go of what is loaded.

    Each wish has a higher `number` than the one before it.
    """

    number: int
    version: str
    choice: EngineChoice


def one_video(settings: SampleSettings, seed: int) -> SampleSettings:
    """The settings of that one of several videos which has the seed."""
    return settings.model_copy(update={"seed": seed, "num_samples": 1})


def searched(picture_name: str, version: str, note: str, tags: Sequence[str]) -> str:
    """What a search for words in the gallery looks at."""
    return "\n".join((picture_name, version, note, *tags)).casefold()


def new_id() -> str:
    """A name for a job or a study that no other has."""
    return secrets.token_hex(8)


def path_in_text(path: Path) -> str:
    """A path as it stands in a result's JSON."""
    return json.dumps(str(path))


def settings_to_text(settings: SampleSettings) -> str:
    """Settings as JSON."""
    return json.dumps(settings.model_dump())


def settings_from_text(text: str) -> SampleSettings:
    """Settings from JSON, also from that of an older or newer version of the program: a list of jobs stays readable."""
    values = {name: value for name, value in json.loads(text).items() if name in SampleSettings.model_fields}
    try:
        return SampleSettings(**values)
    except ValidationError:
        return SampleSettings.model_construct(**values)


def likeness(settings: SampleSettings, choice: EngineChoice, picture: str) -> str:
    """What one video depends on, as a checksum: videos that have it in common are the same.

    picture: the file's name among the store's inputs, which is its contents' checksum. Settings that rest do not count,
    neither do memory plans, threads, compiled kernels and how often the same was asked for.
    """
    resting = {name for choice, names in PARAMS.items() if choice not in _chosen(settings) for name in names}
    resting -= {name for choice in _chosen(settings) for name in PARAMS[choice]}
    counted = settings.model_dump(exclude={*resting, "num_samples", "saving_fps"})
    engine = (choice.provider, choice.device, choice.precision, choice.decoder_precision)
    facts = [counted, settings.file_fps, engine, picture.partition(".")[0]]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _chosen(settings: SampleSettings) -> tuple[str, str, str]:
    return settings.sampler, settings.discretization, settings.guider


def choice_to_text(choice: EngineChoice) -> str:
    """An engine's choice as JSON."""
    return json.dumps(asdict(choice))


def choice_from_text(text: str) -> EngineChoice:
    """The reverse of `choice_to_text`, also for a text of an older or newer version of the program."""
    known = {field.name for field in fields(EngineChoice)}
    return EngineChoice(**{name: value for name, value in json.loads(text).items() if name in known})


def result_to_text(result: StoredResult) -> str:
    """A result as JSON."""
    return json.dumps({name: str(value) if isinstance(value, Path) else value for name, value in vars(result).items()})


def result_from_text(text: str) -> StoredResult:
    """The reverse of `result_to_text`."""
    values = json.loads(text)
    files: dict[str, Any] = {name: Path(values[name]) for name in ("video", "still", "sidecar")}
    animation = Path(values["animation"]) if values["animation"] else None
    return replace(StoredResult(**values), **files, animation=animation)
