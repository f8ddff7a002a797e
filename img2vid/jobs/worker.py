"""Tasks that run on workers: they keep models loaded, render one video at a time and report progress.

Requests and results carry all data as bytes, so a worker needs the program and its checkpoints but no shared disk.
torch is imported only by the first task.
"""

import hashlib
import logging
import os
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import img2vid
from img2vid import inference, pipeline
from img2vid.errors import Cancelled, Img2VidError
from img2vid.inference import LoadedModel
from img2vid.jobs.latent_cache import pack, unpack
from img2vid.jobs.model_cache import CachedModel, ModelCache, one_sentence
from img2vid.media.pictures import load_picture
from img2vid.media.preview import preview_gif
from img2vid.options import LoadOptions
from img2vid.progress import Event, Result
from img2vid.settings import SampleSettings
from img2vid.text_to_image.pipeline import LoadedImageModel, load_image_model, make_picture, origin_of
from img2vid.text_to_image.settings import ImageSettings
from img2vid.text_to_image.versions import find_image_version
from img2vid.versions import find_version

EVENT_EVERY, PREVIEW_EVERY = 0.1, 0.25
"""Minimum seconds between two events of a stage, and between two previews. First and last events are always sent."""
PREVIEW_SHARE = 0.05
"""Maximum share of a worker's time for previews."""

logger = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]
Wanted = Callable[[], bool]


@dataclass(frozen=True)
class RenderRequest:
    """Request for one video, or for a picture from a prompt.

    `topic` is the Dask topic for events, `task` the id in each event.
    """

    task: str
    topic: str
    settings: SampleSettings
    options: LoadOptions
    picture: bytes
    name: str
    animation: str | None
    latents: bytes = b""
    """Blob of latents sampled by an earlier attempt, or empty."""
    image: ImageSettings | None = None
    """Settings of the picture to make instead of a video, or None."""


@dataclass(frozen=True)
class RenderResult:
    """Outcome of a request: a finished video or picture, or an error, or neither if it was cancelled.

    The video travels as bytes, because worker and service share no disk. files: contents by suffix. made: its paths are
    those on the worker. stages: seconds by stage.
    """

    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    made: Result | None = None
    stages: dict[str, float] = field(default_factory=dict[str, float])
    error: str = ""
    error_type: str = ""
    details: str = ""
    picture: bytes = b""
    """PNG file of a picture from a prompt, or empty."""


@dataclass(frozen=True)
class WorkerInfo:
    """Worker identity. `device` is the name of its GPU, or CPU; `speeds` see `inference.measure_speed`."""

    name: str
    host: str
    device: str
    version: str
    speeds: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])


class Reporter:
    """Sends the events of one request at a limited rate, and stops the run if the request was cancelled."""

    def __init__(self, task: str, report: Report, wanted: Wanted) -> None:
        self._task, self._report, self._wanted = task, report, wanted
        self._stage = ""
        self._sent = self._next_preview = float("-inf")
        self.device = "cpu"
        self.stages: dict[str, float] = {}
        self.memory = 0
        """Peak bytes in use."""

    def __call__(self, event: Event) -> None:
        """Handle an event of the pipeline. Raise Cancelled if the request was cancelled."""
        if not self._wanted():
            raise Cancelled("stopped")
        self.stages[event.stage] = event.elapsed
        now = time.monotonic()
        required = event.stage != self._stage or event.step == event.total or event.notice
        if not required and now - self._sent < EVENT_EVERY:
            return
        self._stage, self._sent = event.stage, now
        preview = b""
        if event.frames is not None and now >= self._next_preview:
            preview = preview_gif(event.frames)
            after = time.monotonic()
            self._next_preview = after + max(PREVIEW_EVERY, (after - now) / PREVIEW_SHARE)
        memory = inference.memory_in_use(self.device)
        self.memory = max(self.memory, memory)
        sent = replace(event, frames=None, preview=preview, memory=memory)
        self._report({"kind": "progress", "task": self._task, "event": asdict(sent)})

    def report_model(self, **status: Any) -> None:
        """Send the worker's model status as fields of ModelStatus."""
        self._report({"kind": "model", "task": self._task, "status": status})

    def report_latents(self, seed: int, blob: bytes) -> None:
        """Send sampled latents before they are decoded."""
        self._report({"kind": "latents", "task": self._task, "seed": seed, "blob": blob})

    def report_error(self, sentence: str) -> None:
        """Send the error that ends this worker."""
        self._report({"kind": "error", "task": self._task, "sentence": sentence})


class WorkerLatents:
    """`pipeline.LatentStore` that reads latents from the request and sends new ones as events."""

    def __init__(self, blob: bytes, model: LoadedModel, report: Reporter) -> None:
        self._blob, self._model, self._report = blob, model, report

    def recall(self, settings: SampleSettings) -> NDArray[np.float32] | None:
        """Return the latents of the request if the same model made them, else None."""
        return unpack(self._blob, inference.made_by(self._model))

    def keep(self, settings: SampleSettings, latents: NDArray[np.float32]) -> None:
        """Send the latents to the service."""
        self._report.report_latents(settings.seed, pack(latents, inference.made_by(self._model)))


class WorkerRuntime:
    """Model cache and executor of a worker. It handles one request at a time.

    `load`, `run` and `load_image` are `inference.load`, `pipeline.run` and `load_image_model`, or stand-ins in tests.
    """

    def __init__(
        self,
        load: Callable[..., LoadedModel] = inference.load,
        run: Callable[..., Iterator[Result]] = pipeline.run,
        load_image: Callable[..., LoadedImageModel] = load_image_model,
    ) -> None:
        self._load, self._run, self._load_image = load, run, load_image
        self._lock = threading.Lock()
        self._models = ModelCache()

    def make(self, request: RenderRequest, report: Reporter, scratch: str | None = None) -> RenderResult:
        """Render a video, loading its model if needed. `scratch` is a folder for temporary files."""
        with self._lock:
            return self._run_safely(lambda: self._make(request, report, scratch))

    def load(self, version: str, options: LoadOptions, report: Reporter) -> RenderResult:
        """Load a model, replacing the current one by default."""
        with self._lock:
            return self._run_safely(lambda: self._prepare(version, options, report) and RenderResult())

    def release(self) -> None:
        """Drop all models and free their memory."""
        self._models.release()

    def _make(self, request: RenderRequest, report: Reporter, scratch: str | None) -> RenderResult:
        if request.image is not None:
            return self._make_picture(request.image, request.options, report)
        held = self._prepare(request.settings.version, request.options, report)
        picture = load_picture(request.picture, name=request.name)
        with tempfile.TemporaryDirectory(prefix="img2vid-", dir=scratch, ignore_cleanup_errors=True) as folder:
            (result,) = self._run(
                held.model,
                picture,
                request.settings,
                Path(folder),
                name=request.name,
                animation=request.animation,
                picture_sha256=hashlib.sha256(request.picture).hexdigest(),
                image=origin_of(request.picture),
                latent_store=WorkerLatents(request.latents, held.model, report),
                on_event=report,
            )
            written = [result.video, result.still, result.sidecar, *filter(None, [result.animation])]
            files = {path.suffix: path.read_bytes() for path in written}
        return RenderResult(files, replace(result, memory=report.memory), dict(report.stages))

    def _make_picture(self, image: ImageSettings, options: LoadOptions, report: Reporter) -> RenderResult:
        version, resolved = find_image_version(image.model), inference.resolve(options)
        report.device = resolved.device
        held = self._models.get(version, resolved, self._load_image, report, report.report_model)
        return RenderResult(picture=make_picture(held.model, image, report))

    def _prepare(self, version: str, options: LoadOptions, report: Reporter) -> CachedModel[LoadedModel]:
        resolved = inference.resolve(options)
        report.device = resolved.device
        return self._models.get(find_version(version), resolved, self._load, report, report.report_model)

    def _run_safely(self, work: Callable[[], RenderResult]) -> RenderResult:
        """Run a task and return its result. Exceptions become failed results."""
        try:
            return work()
        except Cancelled:
            return RenderResult()
        except Img2VidError as error:
            failed = RenderResult(error=str(error), error_type=type(error).__name__)
        except Exception as error:  # top level: report the error and keep the worker alive
            logger.exception("a request failed")
            details = "".join(traceback.format_exception(error))
            failed = RenderResult(error=one_sentence(error), error_type=type(error).__name__, details=details)
        # Outside of the except block, because the error refers to the memory of the failed task.
        inference.release_memory()
        return failed


# Dask tasks

RUNTIME = WorkerRuntime()
"""Runtime of this process."""


def worker_info() -> WorkerInfo:
    """Return the worker's identity. Also imports torch, so that the first request does not wait for it."""
    worker = _dask_worker()
    name, host, device = str(worker.name), socket.gethostname(), inference.device_name("auto")
    return WorkerInfo(name, host, device, img2vid.__version__, inference.measure_speed("auto"))


def barrier() -> None:
    """No-op task that runs after the previous task has exited."""


def make_video(request: RenderRequest) -> RenderResult:
    """Render a video on this worker."""
    report = reporter(request.task, request.topic)
    return _exit_if_broken(RUNTIME.make(request, report, _dask_worker().local_directory), report)


def load_model(task: str, topic: str, version: str, options: LoadOptions) -> RenderResult:
    """Load a model on this worker."""
    report = reporter(task, topic)
    return _exit_if_broken(RUNTIME.load(version, options, report), report)


def release_model(task: str, topic: str) -> RenderResult:
    """Unload all models of this worker."""
    RUNTIME.release()
    reporter(task, topic).report_model(state="none")
    return RenderResult()


def _exit_if_broken(result: RenderResult, report: Reporter) -> RenderResult:
    """Exit if a fault left the GPU unusable for this process. Dask then starts a new worker."""
    if result.details and not inference.device_works(report.device):
        report.report_error(result.error)
        time.sleep(1)  # Dask sends events in batches
        os._exit(1)
    return result


def reporter(task: str, topic: str) -> Reporter:
    """Return a reporter for the Dask task of this thread.

    It stops the run if the task was cancelled or the service that submitted it is gone.
    """
    worker = _dask_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        state = worker.state.tasks.get(key)
        return state is not None and state.state == "executing"

    return Reporter(task, lambda event: worker.log_event(topic, event), wanted)


def _dask_worker() -> Any:
    """Return the Dask worker of this thread."""
    from distributed import get_worker

    return get_worker()
