"""What the workers of the tests' service run: by the picture's name the real thing, or something cheap in its place.

The picture of a stand-in is no picture but the path of a file into which it writes its name when it begins; it may also
wait for a file beside that. Workers are other processes, so this module is on their path.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import img2vid
from img2vid import inference
from img2vid.errors import OutOfMemory
from img2vid.inference import LoadedModel
from img2vid.jobs import worker
from img2vid.jobs.worker import RenderRequest, RenderResult, WorkerInfo, WorkerRuntime
from img2vid.progress import Event

STEPS = 3000
STEP_SECONDS = 0.1
# A device of their own keeps the timings of stand-ins apart from those of real videos, by which real ones are judged.
ENGINE = {"provider": "native", "device": "a stand-in", "precision": "fp32"}


def make(request: RenderRequest) -> RenderResult:
    """The order of a service in the tests."""
    return KINDS.get(request.name.split("-")[0], worker.make_video)(request)


def get_worker_info() -> WorkerInfo:
    """Who the worker is, without importing torch for that."""
    from distributed import get_worker

    return WorkerInfo(str(get_worker().name), "here", "CPU", img2vid.__version__)


def quick(request: RenderRequest) -> RenderResult:
    """Is done at once."""
    _begin(request)
    return _done(request)


def gated(request: RenderRequest) -> RenderResult:
    """Goes on for minutes, step by step, or until the gate is opened."""
    return _go_on(request, _begin(request))


def held(request: RenderRequest) -> RenderResult:
    """Goes on for minutes, whatever the picture is; only a service of the tests knows it, others make the video."""
    return _go_on(request, Path("no gate"))


def _go_on(request: RenderRequest, gate: Path) -> RenderResult:
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
    """Ends its process, as the system does when memory runs out."""
    _begin(request)
    os.kill(os.getpid(), signal.SIGKILL)
    return _done(request)


def stingy(request: RenderRequest) -> RenderResult:
    """The real thing, on a card that can decode no more than two frames at a time."""

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
    """The real thing, on a card that has room for three frames."""

    def work() -> RenderResult:
        raise OutOfMemory("memory ran out")

    if request.settings.num_frames > 3:
        return WorkerRuntime()._run_safely(work)  # pyright: ignore[reportPrivateUsage]
    return worker.make_video(request)


def broken(request: RenderRequest) -> RenderResult:
    """Has a mistake in it."""
    raise ZeroDivisionError("one by nothing")


def _begin(request: RenderRequest) -> Path:
    path = Path(request.picture.decode())
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{request.name}\n")
    return path.with_suffix(".gate")


def _done(request: RenderRequest) -> RenderResult:
    files = {".mp4": b"video", ".png": b"still", ".json": b"{}"}
    if request.animation:
        files[f".{request.animation}"] = b"animation"
    seed = request.settings.seed
    return RenderResult(files, f"{request.name}_seed{seed}", seed, 1.0, {**ENGINE, "seed": seed}, {"sample": 0.5})


KINDS: dict[str, Callable[[RenderRequest], RenderResult]] = {
    "quick": quick,
    "gated": gated,
    "held": held,
    "dying": dying,
    "stingy": stingy,
    "picky": picky,
    "broken": broken,
}
