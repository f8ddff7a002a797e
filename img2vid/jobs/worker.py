"""What runs on a worker: it keeps its loaded model, makes one video at a time, and tells how far it is.

Everything comes with the order and goes back with the outcome, as bytes: a worker needs the program and its
checkpoints, and no disk that it shares with others. torch is imported only when there is something to do.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import img2vid
from img2vid import inference, pipeline
from img2vid.errors import Cancelled, Img2VidError
from img2vid.inference import EngineChoice, LoadedModel
from img2vid.jobs.latent_cache import pack, unpack
from img2vid.jobs.model_cache import CachedModel, ModelCache, one_sentence
from img2vid.jobs.preview import preview_gif
from img2vid.media.pictures import load_picture
from img2vid.progress import Event
from img2vid.settings import SampleSettings
from img2vid.versions import find_version

EVENT_EVERY, PREVIEW_EVERY = 0.1, 0.25
"""Seconds between two events of one stage, and between two previews; a stage's first and last event always go."""
PREVIEW_SHARE = 0.05
"""Of its time, a worker spends no more than this on previews."""

logger = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]
Wanted = Callable[[], bool]


@dataclass(frozen=True)
class RenderRequest:
    """One video to make. `topic` is where events go, `task` what they are marked with."""

    task: str
    topic: str
    settings: SampleSettings
    choice: EngineChoice
    picture: bytes
    name: str
    animation: str | None
    latents: bytes = b""
    """What an earlier try has sampled, as a blob, or nothing."""


@dataclass(frozen=True)
class RenderResult:
    """What became of an order: files by suffix, or an error, or, with neither, that it was cancelled.

    stages: seconds by stage; seconds: all of them together, without loading the model. model_memory, memory: bytes in
    use when the model was loaded, and at most.
    """

    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    stem: str = ""
    seed: int = 0
    seconds: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    stages: dict[str, float] = field(default_factory=dict[str, float])
    model_memory: int = 0
    memory: int = 0
    notice: str = ""
    error: str = ""
    error_type: str = ""
    details: str = ""


@dataclass(frozen=True)
class WorkerInfo:
    """Who a worker is. `device` is the name of its graphics card, or CPU."""

    name: str
    host: str
    device: str
    version: str


class Reporter:
    """Sends the events of one order, no more than are of use, and stops the run when nobody wants it any more."""

    def __init__(self, task: str, report: Report, wanted: Wanted) -> None:
        self._task, self._report, self._wanted = task, report, wanted
        self._stage = ""
        self._sent = self._next_preview = float("-inf")
        self.device = "cpu"
        self.stages: dict[str, float] = {}
        self.memory = 0
        """The most bytes that were seen in use."""

    def __call__(self, event: Event) -> None:
        """Takes an event of the pipeline; raises Cancelled where the order was withdrawn."""
        if not self._wanted():
            raise Cancelled("stopped")
        self.stages[event.stage] = event.elapsed
        now = time.monotonic()
        of_use = event.stage != self._stage or event.step == event.total or event.notice
        if not of_use and now - self._sent < EVENT_EVERY:
            return
        self._stage, self._sent = event.stage, now
        preview = b""
        if event.preview is not None and now >= self._next_preview:
            preview = preview_gif(event.preview)
            after = time.monotonic()
            self._next_preview = after + max(PREVIEW_EVERY, (after - now) / PREVIEW_SHARE)
        memory = inference.memory_in_use(self.device)
        self.memory = max(self.memory, memory)
        self._report(
            {
                "kind": "progress",
                "task": self._task,
                "stage": event.stage,
                "step": event.step,
                "total": event.total,
                "sigma": event.sigma,
                "left": event.seconds_left,
                "memory": memory,
                "preview": preview,
                "notice": event.notice,
            }
        )

    def report_model(self, **status: Any) -> None:
        """Sends what the worker's memory holds; the names are those of ModelStatus."""
        self._report({"kind": "model", "task": self._task, "status": status})

    def report_latents(self, seed: int, blob: bytes) -> None:
        """Sends what was sampled, before it is decoded."""
        self._report({"kind": "latents", "task": self._task, "seed": seed, "packet": blob})

    def report_error(self, sentence: str) -> None:
        """Sends the last words of a worker."""
        self._report({"kind": "trouble", "task": self._task, "sentence": sentence})


class WorkerLatents:
    """Latents come with an order and go with an event, as all else that a worker needs and makes."""

    def __init__(self, blob: bytes, model: LoadedModel, report: Reporter) -> None:
        self._blob, self._model, self._report = blob, model, report

    def recall(self, settings: SampleSettings) -> NDArray[np.float32] | None:
        """What came with the order, if this very model made it."""
        return unpack(self._blob, inference.made_by(self._model))

    def keep(self, settings: SampleSettings, latents: NDArray[np.float32]) -> None:
        """Sends the latents to the service."""
        self._report.report_latents(settings.seed, pack(latents, inference.made_by(self._model)))


class WorkerRuntime:
    """Where a worker's models stand, and where one order is worked at a time.

    `load` and `run` are the pipeline's.
    """

    def __init__(
        self,
        load: Callable[..., LoadedModel] = inference.load,
        run: Callable[..., Iterator[pipeline.Result]] = pipeline.run,
    ) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._models = ModelCache(load)

    def make(self, request: RenderRequest, report: Reporter, scratch: str | None = None) -> RenderResult:
        """Makes a video, with the model that it needs; `scratch` is a folder for temporary files."""
        with self._lock:
            return self._run_safely(lambda: self._make(request, report, scratch))

    def load(self, version: str, choice: EngineChoice, report: Reporter) -> RenderResult:
        """Loads a model, by default in place of the one that is there."""
        with self._lock:
            return self._run_safely(lambda: self._prepare(version, choice, report) and RenderResult())

    def release(self) -> None:
        """Lets go of the models and their memory."""
        self._models.release()

    def _make(self, request: RenderRequest, report: Reporter, scratch: str | None) -> RenderResult:
        held = self._prepare(request.settings.version, request.choice, report)
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
                keeping=WorkerLatents(request.latents, held.model, report),
                on_event=report,
            )
            written = [result.video, result.still, result.sidecar, *filter(None, [result.animation])]
            files = {path.suffix: path.read_bytes() for path in written}
        return RenderResult(
            files,
            result.video.stem,
            result.seed,
            result.seconds,
            result.metadata,
            dict(report.stages),
            held.memory,
            report.memory,
            result.notice,
        )

    def _prepare(self, version: str, choice: EngineChoice, report: Reporter) -> CachedModel:
        resolved = inference.resolve(choice)
        report.device = resolved.device
        return self._models.get(find_version(version), resolved, report, report.report_model)

    def _run_safely(self, work: Callable[[], RenderResult]) -> RenderResult:
        """The outcome of some work, whatever happens in it."""
        try:
            return work()
        except Cancelled:
            return RenderResult()
        except Img2VidError as error:
            failed = RenderResult(error=str(error), error_type=type(error).__name__)
        except Exception as error:  # the outermost place on a worker: what failed is told, and the worker lives on
            logger.exception("an order failed")
            details = "".join(traceback.format_exception(error))
            failed = RenderResult(error=one_sentence(error), error_type=type(error).__name__, details=details)
        # Only here, after the error is gone, nothing refers to what it had in memory.
        inference.release_memory()
        return failed


# What is submitted to Dask

RUNTIME = WorkerRuntime()
"""The one of this process."""


def worker_info() -> WorkerInfo:
    """Says who this worker is; by then it has imported torch, so that the first order does not wait for that."""
    worker = _dask_worker()
    return WorkerInfo(str(worker.name), socket.gethostname(), inference.device_name("auto"), img2vid.__version__)


def barrier() -> None:
    """Does nothing; when it has, the worker had left what it did before."""


def make_video(request: RenderRequest) -> RenderResult:
    """Makes a video on this worker."""
    report = reporter(request.task, request.topic)
    return _exit_if_broken(RUNTIME.make(request, report, _dask_worker().local_directory), report)


def load_model(task: str, topic: str, version: str, choice: EngineChoice) -> RenderResult:
    """Loads a model on this worker."""
    report = reporter(task, topic)
    return _exit_if_broken(RUNTIME.load(version, choice, report), report)


def release_model(task: str, topic: str) -> RenderResult:
    """Frees this worker's memory."""
    RUNTIME.release()
    reporter(task, topic).report_model(state="none")
    return RenderResult()


def _exit_if_broken(outcome: RenderResult, report: Reporter) -> RenderResult:
    """After some faults a card refuses everything that this process asks: then it ends, and Dask starts another."""
    if outcome.details and not inference.device_works(report.device):
        report.report_error(outcome.error)
        time.sleep(1)  # Dask sends events in batches
        os._exit(1)
    return outcome


def reporter(task: str, topic: str) -> Reporter:
    """A reporter of the Dask task that runs in this thread; the run is stopped when Dask has no use for it any more.

    That is so when the task was cancelled, and when the service that asked for it is gone.
    """
    worker = _dask_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        state = worker.state.tasks.get(key)
        return state is not None and state.state == "executing"

    return Reporter(task, lambda event: worker.log_event(topic, event), wanted)


def _dask_worker() -> Any:
    """Dask's worker, to which this thread belongs."""
    from distributed import get_worker

    return get_worker()
