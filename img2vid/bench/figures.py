"""Arithmetic of a comparison: medians, ratios, floors and alternating timed runs."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True)
class Part:
    """Part of a stage: operations, bytes to move, and the machine's rates for both, per second."""

    operations: float
    bytes: float
    product_rate: float
    copy_rate: float

    @property
    def seconds(self) -> float:
        """Minimum time; computing and moving data can overlap."""
        return max(self.operations / self.product_rate, self.bytes / self.copy_rate)


@dataclass(frozen=True)
class Floor:
    """Minimum time of a stage on this machine. counted_on: source of the operation count."""

    operations: float
    bytes: float
    seconds: float
    counted_on: str


def floor_of(parts: Sequence[Part], counted: float | None, counted_on: str) -> Floor:
    """Return the floor of a stage from its parts.

    counted: operations of the whole stage on the reference, or None; they are distributed over the parts.
    """
    planned = sum(part.operations for part in parts)
    share = 1.0 if counted is None or not planned else counted / planned
    scaled = [Part(share * p.operations, p.bytes, p.product_rate, p.copy_rate) for p in parts]
    operations, moved = sum(p.operations for p in scaled), sum(p.bytes for p in scaled)
    return Floor(operations, moved, sum(p.seconds for p in scaled), counted_on)


@dataclass(frozen=True)
class Measured:
    """Measurements of one engine in one stage: seconds of all runs, peak memory, and its growth during the stage."""

    seconds: tuple[float, ...]
    peak: int | None = None
    growth: int | None = None

    @property
    def median(self) -> float:
        """Median of the seconds."""
        return statistics.median(self.seconds)


def ratio(of: float | None, to: float | None) -> float | None:
    """Return `of` / `to`, or None if either is missing or `to` is not positive."""
    return None if of is None or to is None or to <= 0 else of / to


@dataclass(frozen=True)
class Against:
    """Ratios of the native engine to another engine; below 1, native is faster or needs less memory."""

    seconds: float | None
    peak: float | None
    growth: float | None


def compare(ours: Measured, theirs: Measured) -> Against:
    """Return the ratios of two engines in one stage."""
    return Against(ratio(ours.median, theirs.median), ratio(ours.peak, theirs.peak), ratio(ours.growth, theirs.growth))


def take_turns(
    runs: Mapping[str, Callable[[], object]],
    repetitions: int,
    synchronise: Callable[[], None],
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Time the engines alternately (A B C A B C ...), so that a slow machine affects all; return seconds by engine."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            synchronise()
            started = clock()
            run()
            synchronise()
            taken[name].append(clock() - started)
    return taken
