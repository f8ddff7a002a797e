"""The HTTP API: submit, list and cancel jobs, follow their progress, get their videos. See docs/http-api.md."""

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

import img2vid
from img2vid.errors import BadInput, EngineUnavailable, Img2VidError, UnreadableRow, shown
from img2vid.jobs.job import Job, State
from img2vid.jobs.service import JobService
from img2vid.media.picture_kinds import picture_kind
from img2vid.media.pictures import MOST_BYTES
from img2vid.options import OPTIONS, LoadOptions
from img2vid.settings import SampleSettings
from img2vid.settings_validation import requirement
from img2vid.text_to_image.settings import PARAMETERS, ImageSettings
from img2vid.text_to_image.versions import image_settings_for
from img2vid.versions import find_version
from img2vid.web.events import progress_events
from img2vid.web.messages import JOB_ID, JobView, NewJob, NewPrompt, Problem

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
EVENT: dict[str, Any] = {
    "schema": {
        "type": "object",
        "properties": {
            "event": {"enum": ["progress", "end", "problem"]},
            "data": {"type": "string", "description": "JSON of Progress, JobView or Problem"},
        },
        "required": ["event", "data"],
    }
}
FAILED: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem, "description": "A parameter is not valid"},
    500: {"model": Problem, "description": "The disk or the database failed"},
}
UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such job or file"}}
_PICTURE = {parameter: name for name, parameter in PARAMETERS.items()}

router = APIRouter(responses=FAILED)


async def _service(request: Request) -> JobService:  # a plain function would run in a thread of its own
    return request.app.state.service


Number = Annotated[int, PathParameter(ge=1, le=100, description="From 1 on")]
Service = Annotated[JobService, Depends(_service)]
JobId = Annotated[str, PathParameter(pattern=JOB_ID, description="The job's id")]


def create_app(service: JobService) -> FastAPI:
    """Return the application of a job service. It has no interactive page, which would load scripts from elsewhere."""
    app = FastAPI(title="img2vid", version=img2vid.__version__, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(router)

    @app.exception_handler(Img2VidError)
    def _failed(_: Request, error: Exception) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        refused = isinstance(error, (BadInput, EngineUnavailable)) and not isinstance(error, UnreadableRow)
        return _problem(400 if refused else 500, str(error))

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: Exception) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return _problem(422, _sentence(cast(RequestValidationError, error)))

    return app


@router.post(
    "/jobs",
    status_code=201,
    response_model=JobView,
    summary="Submit a picture",
    responses={400: {"model": Problem, "description": "The picture or the settings cannot be used"}},
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": BINARY}}},
)
async def submit(request: Request, service: Service, wanted: Annotated[NewJob, Query()]) -> Response:
    """Add a job for the picture in the body to the end of the queue; settings and options are query parameters."""
    picture = await _body(request)
    return _json(await run_in_threadpool(_submit, service, picture, wanted.model_dump(exclude_none=True)), 201)


def _submit(service: JobService, picture: bytes, values: dict[str, Any]) -> Job:
    name = values.pop("name")
    settings, options = _settings(values)
    suffix = f".{picture_kind(picture).lower()}" if picture else ""
    (job,) = service.submit([(settings, options)], picture, PurePath(name).stem or "picture", suffix)
    return job


@router.post(
    "/prompts",
    status_code=201,
    response_model=list[JobView],
    summary="Submit a prompt",
    responses={400: {"model": Problem, "description": "The settings cannot be used, or something is not installed"}},
)
def submit_prompt(service: Service, wanted: Annotated[NewPrompt, Query()]) -> Response:
    """Add a job that makes pictures of a prompt, and with `animate` one that makes a video of the first; return them.

    The settings of the video, which also give the pictures their size, and the options are query parameters too.
    """
    values = wanted.model_dump(exclude_none=True)
    animate = values.pop("animate")
    names = {"prompt": "prompt", **PARAMETERS}
    image = {name: values.pop(parameter) for name, parameter in names.items() if parameter in values}
    settings, options = _settings(values)
    return _json(service.submit_image(image_settings_for(settings, image), settings, options, animate=animate), 201)


def _settings(values: dict[str, Any]) -> tuple[SampleSettings, LoadOptions]:
    """Return the settings of a video and the options, given by name."""
    options = LoadOptions(**{key: values.pop(key) for key in OPTIONS if key in values})
    version = find_version(values.get("version", SampleSettings.model_fields["version"].default))
    return version.settings(values), options


@router.get("/jobs", summary="List jobs", response_model=list[JobView])
def jobs(
    service: Service,
    state: Annotated[list[State] | None, Query(description="Only jobs in one of these states")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """Return the newest jobs, newest first."""
    return _json(service.store.jobs(limit, state))


@router.get("/jobs/{job_id}", summary="Get a job", response_model=JobView, responses=UNKNOWN)
def job(service: Service, job_id: JobId) -> Response:
    """Return a job with its finished videos."""
    return _json(_job(service, job_id))


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={**UNKNOWN, 200: {"content": {"text/event-stream": EVENT}}},
)
def events(service: Service, job_id: JobId) -> StreamingResponse:
    """Return the job's progress as server-sent events: "progress" at each change, at last "end" with the job."""
    _job(service, job_id)
    stream = progress_events(service.store, job_id)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.post("/jobs/{job_id}/cancel", summary="Cancel a job", response_model=JobView, responses=UNKNOWN)
def cancel(service: Service, job_id: JobId) -> Response:
    """Cancel a job; a running one stops after its current step. A job that has ended stays as it is."""
    _job(service, job_id)
    service.cancel(job_id)
    return _json(_job(service, job_id))


@router.get(
    "/jobs/{job_id}/videos/{number}",
    summary="Get a video",
    response_class=FileResponse,
    responses={**UNKNOWN, 200: {"content": {"video/mp4": BINARY}}},
)
def video(service: Service, job_id: JobId, number: Number) -> FileResponse:
    """Return a finished video of a job as MP4, with its settings as metadata."""
    made = [result.video for result in _job(service, job_id).results]
    return _file(made, number, "video/mp4", f"the job {job_id} has no video {number}")


@router.get(
    "/jobs/{job_id}/pictures/{number}",
    summary="Get a picture",
    response_class=FileResponse,
    responses={**UNKNOWN, 200: {"content": {"image/png": BINARY}}},
)
def picture(service: Service, job_id: JobId, number: Number) -> FileResponse:
    """Return a picture that a job has made from a prompt as PNG, with its settings as metadata."""
    made = _job(service, job_id).pictures
    return _file(made, number, "image/png", f"the job {job_id} has no picture {number}")


def _file(made: Sequence[Path], number: int, kind: str, problem: str) -> FileResponse:
    if number > len(made) or not made[number - 1].is_file():
        raise HTTPException(404, problem)
    path = made[number - 1]
    return FileResponse(path, media_type=kind, filename=path.name)


def _job(service: JobService, job_id: str) -> Job:
    try:
        return service.store.job(job_id)
    except UnreadableRow:
        raise
    except BadInput as error:
        raise HTTPException(404, str(error)) from error


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise BadInput(f"the picture must have at most {MOST_BYTES // 2**20} MB; send a smaller one")
        parts.append(part)
    return b"".join(parts)


def _json(found: Job | Sequence[Job], status: int = 200) -> Response:
    """Return jobs as JSON. FastAPI would validate and convert the finished views once more."""
    if isinstance(found, Job):
        text = JobView.of(found).model_dump_json()
    else:
        text = f"[{','.join(JobView.of(one).model_dump_json() for one in found)}]"
    return Response(text, status, media_type="application/json")


def _problem(status: int, text: str) -> JSONResponse:
    return JSONResponse(Problem(detail=text).model_dump(), status)


def _sentence(error: RequestValidationError) -> str:
    """Return the first invalid parameter as a sentence."""
    first = error.errors()[0]
    name = str(first["loc"][-1])
    if first["type"] == "extra_forbidden":
        return f"there is no parameter {shown(repr(name))}"
    if first["type"] == "missing":
        return f"the parameter {name} is missing"
    fields = {**dict.fromkeys(SampleSettings.model_fields, SampleSettings), **dict.fromkeys(_PICTURE, ImageSettings)}
    if name in fields:
        return (
            f"{name} must be {requirement(_PICTURE.get(name, name), fields[name])}, got {shown(repr(first['input']))}"
        )
    return f"{shown(name)}: {first['msg']}, got {shown(repr(first['input']))}"
