"""Growth of cost: seconds and memory of the native engine over frames, area, steps and jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from img2vid.bench.benchmark import facts_of, model_of, shape_of
from img2vid.bench.request import STAGES, Request
from img2vid.engine.bench.backends import Model, Shape
from img2vid.engine.bench.memory_probe import Cost, ProbeRequest, measure
from img2vid.engine.config import load_config

PARTS = (0.25, 0.5, 0.75, 1.0)
"""Fractions of the request's frames and area."""
STEPS = (1, 2, 4, 8)
JOBS = (1, 2, 4)
UNITS = {"frames": "frames", "area": "pixels of a frame", "steps": "steps", "jobs": "jobs with one loaded model"}


@dataclass(frozen=True)
class Point:
    """Cost at one value of an axis: seconds of each stage, total seconds, peak memory and its growth in bytes."""

    value: int
    seconds: dict[str, float]
    total: float
    peak: int | None
    growth: int | None


def measure_growth(
    request: Request,
    axes: Sequence[str],
    argv: list[str],
    say: Callable[[str], None],
    measure_cost: Callable[[ProbeRequest], Cost] = measure,
) -> dict[str, Any]:
    """Measure each axis and return the points in plain values. Each point runs in a separate process."""
    with model_of(request, say) as model:
        size_step = load_config(Path(model.config)).size_step
        facts = facts_of(request, model, argv)
        found = {
            axis: [vars(_point(axis, value, probe, say, measure_cost)) for value, probe in probes]
            for axis in axes
            for probes in [plan(axis, shape_of(request), model, request, size_step)]
        }
        return {**facts, "engines": ["native"], "growth": found}


def plan(axis: str, shape: Shape, model: Model, request: Request, size_step: int) -> list[tuple[int, ProbeRequest]]:
    """Return the values of an axis, each with its probe request."""
    probe = ProbeRequest("native", model, shape, STAGES, repetitions=max(request.repetitions, 1))
    if axis == "jobs":
        # Like a worker: one load, no warm-up.
        return [(n, replace(probe, jobs=n, warm_up=False, repetitions=0)) for n in JOBS]
    if axis == "steps":
        return [(n, replace(probe, shape=replace(shape, steps=n))) for n in STEPS]
    if axis == "frames":
        counts = dict.fromkeys(max(round(part * shape.num_frames), 1) for part in PARTS)
        return [
            (n, replace(probe, shape=replace(shape, num_frames=n, decode_t=min(shape.decode_t, n)))) for n in counts
        ]
    sizes = dict.fromkeys(
        tuple(max(round(part**0.5 * side / size_step), 1) * size_step for side in (shape.width, shape.height))
        for part in PARTS
    )
    return [(w * h, replace(probe, shape=replace(shape, width=w, height=h))) for w, h in sizes]


def _point(
    axis: str, value: int, probe: ProbeRequest, say: Callable[[str], None], measure_cost: Callable[[ProbeRequest], Cost]
) -> Point:
    say(f"{value} {UNITS[axis]}")
    cost = measure_cost(probe)
    if axis == "jobs":
        seconds = {"load": cost.load, "jobs": cost.jobs}
        return Point(value, seconds, cost.load + cost.jobs, cost.peak, cost.growth)
    return Point(value, cost.seconds, sum(cost.seconds.values()), cost.peak, cost.growth)
