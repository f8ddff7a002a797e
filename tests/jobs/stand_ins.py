"""What the workers of the tests' desk run: by the picture's name the real thing, or something cheap in its place.

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
from img2vid.jobs.worker import Bench, Hello, Order, Outcome
from img2vid.progress import Event

STEPS = 3000
STEP_SECONDS = 0.1
# A device of their own keeps the timings of stand-ins apart from those of real videos, by which real ones are judged.
ENGINE = {"provider": "native", "device": "a stand-in", "precision": "fp32"}


def make(order: Order) -> Outcome:
    """The order of a desk in the tests."""
    return KINDS.get(order.name.split("-")[0], worker.make_video)(order)


def greet() -> Hello:
    """Who the worker is, without importing torch for that."""
    from distributed import get_worker

    return Hello(str(get_worker().name), "here", "CPU", img2vid.__version__)


def quick(order: Order) -> Outcome:
    """Is done at once."""
    _begin(order)
    return _done(order)


def gated(order: Order) -> Outcome:
    """Goes on for minutes, step by step, or until the gate is opened."""
    return _go_on(order, _begin(order))


def held(order: Order) -> Outcome:
    """Goes on for minutes, whatever the picture is; only a desk of the tests knows it, others make the video."""
    return _go_on(order, Path("no gate"))


def _go_on(order: Order, gate: Path) -> Outcome:
    report = worker.reporter(order.task, order.topic)

    def work() -> Outcome:
        for step in range(STEPS):
            report(Event("sample", step, STEPS, step * STEP_SECONDS))
            if gate.exists():
                return _done(order)
            time.sleep(STEP_SECONDS)
        return _done(order)

    return Bench()._settle(work)  # pyright: ignore[reportPrivateUsage]


def dying(order: Order) -> Outcome:
    """Ends its process, as the system does when memory runs out."""
    _begin(order)
    os.kill(os.getpid(), signal.SIGKILL)
    return _done(order)


def stingy(order: Order) -> Outcome:
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

    return Bench(load).make(order, worker.reporter(order.task, order.topic))


def picky(order: Order) -> Outcome:
    """The real thing, on a card that has room for three frames."""

    def work() -> Outcome:
        raise OutOfMemory("memory ran out")

    if order.settings.num_frames > 3:
        return Bench()._settle(work)  # pyright: ignore[reportPrivateUsage]
    return worker.make_video(order)


def broken(order: Order) -> Outcome:
    """Has a mistake in it."""
    raise ZeroDivisionError("one by nothing")


def _begin(order: Order) -> Path:
    path = Path(order.picture.decode())
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{order.name}\n")
    return path.with_suffix(".gate")


def _done(order: Order) -> Outcome:
    files = {".mp4": b"video", ".png": b"still", ".json": b"{}"}
    if order.animation:
        files[f".{order.animation}"] = b"animation"
    seed = order.settings.seed
    return Outcome(files, f"{order.name}_seed{seed}", seed, 1.0, {**ENGINE, "seed": seed}, {"sample": 0.5})


KINDS: dict[str, Callable[[Order], Outcome]] = {
    "quick": quick,
    "gated": gated,
    "held": held,
    "dying": dying,
    "stingy": stingy,
    "picky": picky,
    "broken": broken,
}
