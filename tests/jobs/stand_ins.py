"""Tasks for the workers of the tests' service: the real task, or a cheap stand-in chosen by the picture's name.

A stand-in's picture is the path of a file to which it appends its name when it starts. It may also wait for a file
beside that. Workers are other processes, so this module is on their path.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import img2vid
from img2vid import inference
from img2vid.errors import OutOfMemory
from img2vid.inference import LoadedModel
from img2vid.jobs import worker
from img2vid.jobs.worker import RenderRequest, RenderResult, WorkerInfo, WorkerRuntime
from img2vid.progress import Event, Result

STEPS = 3000
STEP_SECONDS = 0.1
# A separate device keeps the timings of stand-ins out of the estimates for real videos.
ENGINE = {"provider": "native", "device": "a stand-in", "precision": "fp32"}


def make(request: RenderRequest) -> RenderResult:
    """Run a request of the tests' service."""
    return KINDS.get(request.name.split("-")[0], worker.make_video)(request)


def get_worker_info() -> WorkerInfo:
    """Return the worker's identity without importing torch."""
    from distributed import get_worker

    return WorkerInfo(str(get_worker().name), "here", "CPU", img2vid.__version__)


def quick(request: RenderRequest) -> RenderResult:
    """Finish at once."""
    _start(request)
    return _done(request)


def gated(request: RenderRequest) -> RenderResult:
    """Run for minutes, step by step, or until the gate is opened."""
    return _run_steps(request, _start(request))


def held(request: RenderRequest) -> RenderResult:
    """Run for minutes with any picture. Only the tests' service knows this stand-in, others make the video."""
    return _run_steps(request, Path("no gate"))


def _run_steps(request: RenderRequest, gate: Path) -> RenderResult:
    report = worker.reporter(request.task, request.topic)

    def work() -> RenderResult:
        for step in range(STEPS):
            report(Event("sample", step, STEPS, step * STEP_SECONDS))
            if gate.exists():
                return _done(request)
            time.sleep(STEP_SECONDS)
        return _done(request)

    return WorkerRuntime()._run_safely(work)  # pyright: ignore[reportPrivateUsage]


def dying(request: RenderRequest) -> RenderResult:
    """Kill its process, as the system does when memory runs out."""
    _start(request)
    psutil.Process().kill()
    return _done(request)


def stingy(request: RenderRequest) -> RenderResult:
    """Make the real video on a device that can decode at most two frames at a time."""

    def load(*arguments: Any) -> LoadedModel:
        model = inference.load(*arguments)
        decode = model.engine.decode

        def decode_or_fail(latents: Any, decode_t: int, on_chunk: Any = None, on_notice: Any = None) -> Any:
            if decode_t > 2:
                raise MemoryError
            return decode(latents, decode_t, on_chunk, on_notice)

        model.engine.decode = decode_or_fail
        return model

    return WorkerRuntime(load).make(request, worker.reporter(request.task, request.topic))


def picky(request: RenderRequest) -> RenderResult:
    """Make the real video on a device with memory for three frames."""

    def work() -> RenderResult:
        raise OutOfMemory("memory ran out")

    if request.settings.num_frames > 3:
        return WorkerRuntime()._run_safely(work)  # pyright: ignore[reportPrivateUsage]
    return worker.make_video(request)


def broken(request: RenderRequest) -> RenderResult:
    """Raise an unexpected exception."""
    raise ZeroDivisionError("one by nothing")


def _start(request: RenderRequest) -> Path:
    path = Path(request.picture.decode())
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{request.name}\n")
    return path.with_suffix(".gate")


def _done(request: RenderRequest) -> RenderResult:
    files = {".mp4": b"video", ".png": b"still", ".json": b"{}"}
    if request.animation:
        files[f".{request.animation}"] = b"animation"
    seed = request.settings.seed
    video = Path(f"{request.name}_seed{seed}.mp4")
    made = Result(video, video, video, None, seed, 1.0, {**ENGINE, "seed": seed})
    return RenderResult(files, made, {"sample": 0.5})


KINDS: dict[str, Callable[[RenderRequest], RenderResult]] = {
    "quick": quick,
    "gated": gated,
    "held": held,
    "dying": dying,
    "stingy": stingy,
    "picky": picky,
    "broken": broken,
}
