"""Requests and responses of the API."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from img2vid.control import about_of
from img2vid.jobs.job import Job, Kind, State
from img2vid.options import OPTIONS, LoadOptions
from img2vid.progress import Event
from img2vid.settings import SampleSettings
from img2vid.text_to_image.settings import LONGEST_PROMPT, PARAMETERS, ImageSettings

JOB_ID = "^[0-9a-f]{16}$"


class Problem(BaseModel):
    """Error."""

    detail: str
    """One sentence."""


class Video(BaseModel):
    """Finished video of a job; its number starts at 1."""

    number: int
    seed: int
    seconds: float
    path: str


class JobView(BaseModel):
    """Job. Times are seconds since 1970, settings those of the first video, error and notice sentences or empty.

    image: settings of pictures from a prompt, None for videos. continues: id of the job that makes the input, or empty.
    pictures: paths of the finished pictures.
    """

    id: str = Field(pattern=JOB_ID)
    kind: Kind
    state: State
    picture: str
    settings: dict[str, Any]
    image: dict[str, Any] | None
    options: dict[str, Any]
    continues: str
    created: float
    started: float | None
    finished: float | None
    error: str
    notice: str
    videos: list[Video]
    pictures: list[str]

    @classmethod
    def of(cls, job: Job) -> "JobView":
        """Return the view of a job."""
        videos = [
            Video(number=number, seed=result.seed, seconds=result.seconds, path=str(result.video))
            for number, result in enumerate(job.results, start=1)
        ]
        return cls(
            id=job.id,
            kind=job.kind,
            state=job.state,
            picture=job.picture_name,
            settings=job.settings.model_dump(),
            image=None if job.image is None else job.image.model_dump(),
            options=asdict(job.options),
            continues=job.continues,
            created=job.created,
            started=job.started,
            finished=job.finished,
            error=job.error,
            notice=job.notice,
            videos=videos,
            pictures=[str(path) for path in job.pictures],
        )


class Progress(BaseModel):
    """Progress of a job: `step` of `total` steps of a stage, and seconds since the start and to the end, if known."""

    state: State
    stage: str = ""
    step: int = 0
    total: int = 0
    elapsed: float = 0.0
    seconds_left: float | None = None
    video: int = 1
    videos: int = 1

    @classmethod
    def of(cls, job: Job, event: Event | None) -> "Progress":
        """Return the progress of a job with its newest event."""
        if event is None:
            return cls(state=job.state)
        names = cls.model_fields.keys() - {"state"}
        return cls(state=job.state, **{name: getattr(event, name) for name in names})


def _parameters(model: type[BaseModel], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a query parameter for each field; one that is not given has its usual value. names: by field."""
    found: dict[str, Any] = {}
    for name, parameter in names.items():
        field = model.model_fields[name]
        about = about_of(field)
        limits: dict[str, Any] = {} if about.highest == math.inf else {"ge": about.lowest, "le": about.highest}
        found[parameter] = (cast(Any, field.annotation) | None, Field(None, description=field.description, **limits))
    return found


def _settings() -> dict[str, Any]:
    """Return a query parameter for each setting of a video and each engine option."""
    kinds = get_type_hints(LoadOptions)
    options = {name: (kinds[name] | None, Field(None, description=about["help"])) for name, about in OPTIONS.items()}
    return {**_parameters(SampleSettings, {name: name for name in SampleSettings.model_fields}), **options}


class _NewJob(BaseModel):
    """Query of a new job, without settings and options."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("picture", max_length=200, description="Name of the picture; the videos' names start with it.")


class _NewPrompt(BaseModel):
    """Query of a new prompt, without the settings of picture and video and without options."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1, max_length=LONGEST_PROMPT, description="What the picture shows.")
    animate: bool = Field(False, description="Also make a video of the first picture.")


if TYPE_CHECKING:
    NewJob = _NewJob
    NewPrompt = _NewPrompt
else:  # built from the settings, so that a new one is a parameter too
    NewJob = create_model("NewJob", __base__=_NewJob, **_settings())
    NewPrompt = create_model("NewPrompt", __base__=_NewPrompt, **_parameters(ImageSettings, PARAMETERS), **_settings())
