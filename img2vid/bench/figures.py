"""The arithmetic of a comparison: medians, ratios, floors, turns."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True)
class Part:
    """A part of a stage: its operations, the bytes that it must move, and the machine's rates at either, a second."""

    operations: float
    bytes: float
    product_rate: float
    copy_rate: float

    @property
    def seconds(self) -> float:
        """The least that it can take: computing and moving can go on at once."""
        return max(self.operations / self.product_rate, self.bytes / self.copy_rate)


@dataclass(frozen=True)
class Floor:
    """The least time for a stage on this machine. counted_on: where its operations were counted."""

    operations: float
    bytes: float
    seconds: float
    counted_on: str


def floor_of(parts: Sequence[Part], counted: float | None, counted_on: str) -> Floor:
    """The floor of a stage from its parts.

    counted: the operations of the whole stage where the reference itself was counted; they are shared among the parts.
    """
    planned = sum(part.operations for part in parts)
    share = 1.0 if counted is None or not planned else counted / planned
    scaled = [Part(share * p.operations, p.bytes, p.product_rate, p.copy_rate) for p in parts]
    operations, moved = sum(p.operations for p in scaled), sum(p.bytes for p in scaled)
    return Floor(operations, moved, sum(p.seconds for p in scaled), counted_on)


@dataclass(frozen=True)
class Measured:
    """One engine in one stage: all its times in seconds, the peak of its memory and how much of it is the stage's."""

    seconds: tuple[float, ...]
    peak: int | None = None
    growth: int | None = None

    @property
    def median(self) -> float:
        """The middle of the times."""
        return statistics.median(self.seconds)


def ratio(of: float | None, to: float | None) -> float | None:
    """One over the other; None where either is missing or there is nothing to compare with."""
    return None if of is None or to is None or to <= 0 else of / to


@dataclass(frozen=True)
class Against:
    """The native engine over a peer: below 1 it is faster, or needs less."""

    seconds: float | None
    peak: float | None
    growth: float | None


def compare(ours: Measured, theirs: Measured) -> Against:
    """The ratios of two engines in one stage."""
    return Against(ratio(ours.median, theirs.median), ratio(ours.peak, theirs.peak), ratio(ours.growth, theirs.growth))


def take_turns(
    runs: Mapping[str, Callable[[], object]],
    repetitions: int,
    synchronise: Callable[[], None],
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each engine's runs: A B C A B C ..., so that a machine that slows down slows all of them."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            synchronise()
            started = clock()
            run()
            synchronise()
            taken[name].append(clock() - started)
    return taken
