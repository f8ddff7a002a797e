"""Arithmetic of a comparison: medians, ratios, floors and alternating timed runs."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2vid.bench.figures import Measured, Part, compare, floor_of, ratio, take_turns

POSITIVE = st.floats(min_value=1e-6, max_value=1e6)


def test_the_median_is_not_the_mean() -> None:
    assert Measured((1.0, 9.0, 2.0)).median == 2.0
    assert Measured((1.0, 3.0)).median == 2.0


@given(st.lists(POSITIVE, min_size=1, max_size=9), POSITIVE)
def test_ratios_do_not_depend_on_the_speed_of_the_machine(seconds: list[float], slower: float) -> None:
    ours, theirs = Measured(tuple(seconds)), Measured(tuple(2 * value for value in seconds))
    assert compare(ours, theirs).seconds == pytest.approx(0.5)
    slow = [Measured(tuple(slower * value for value in measured.seconds)) for measured in (ours, theirs)]
    assert compare(*slow).seconds == pytest.approx(0.5)


def test_the_ratios_are_native_over_the_other_engine() -> None:
    against = compare(Measured((3.0,), peak=600, growth=100), Measured((4.0,), peak=800, growth=400))
    assert (against.seconds, against.peak, against.growth) == (0.75, 0.75, 0.25)


@pytest.mark.parametrize(("of", "to"), [(None, 1.0), (1.0, None), (1.0, 0.0)])
def test_missing_values_have_no_ratio(of: float | None, to: float | None) -> None:
    assert ratio(of, to) is None


def test_a_part_takes_the_longer_of_computing_and_moving() -> None:
    assert Part(operations=100, bytes=10, product_rate=50, copy_rate=10).seconds == 2
    assert Part(operations=100, bytes=60, product_rate=50, copy_rate=10).seconds == 6


def test_the_floor_adds_up_parts_of_different_rates() -> None:
    parts = [Part(100, 1, 50, 10), Part(300, 1, 100, 10)]
    floor = floor_of(parts, None, "the plain modules")
    assert (floor.operations, floor.bytes, floor.seconds) == (400, 2, 5)
    assert floor.counted_on == "the plain modules"


def test_operations_of_the_reference_are_distributed_over_the_parts() -> None:
    floor = floor_of([Part(100, 1, 50, 10), Part(300, 1, 100, 10)], 800, "sgm")
    assert (floor.operations, floor.seconds, floor.counted_on) == (800, 10, "sgm")


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=4), POSITIVE, POSITIVE)
def test_a_faster_machine_has_a_lower_floor(work: list[tuple[float, float]], product: float, copy: float) -> None:
    def seconds(faster: float) -> float:
        return floor_of([Part(o, b, faster * product, faster * copy) for o, b in work], None, "").seconds

    assert seconds(2.0) == pytest.approx(seconds(1.0) / 2)


def test_engines_take_turns_and_only_their_own_run_is_timed() -> None:
    """With all runs of one engine in sequence, a busy minute would slow only that engine."""
    log: list[str] = []
    now = [0.0]

    def run(name: str, seconds: float) -> Callable[[], None]:
        def work() -> None:
            log.append(name)
            now[0] += seconds

        return work

    def synchronise() -> None:
        log.append("wait")

    taken = take_turns({"native": run("A", 1.0), "sgm": run("B", 3.0)}, 2, synchronise, lambda: now[0])
    assert taken == {"native": [1.0, 1.0], "sgm": [3.0, 3.0]}
    assert log == ["wait", "A", "wait", "wait", "B", "wait"] * 2


def test_the_time_includes_queued_gpu_work() -> None:
    now = [0.0]
    queued = [0.0]

    def start() -> None:
        queued[0] += 5.0

    def synchronise() -> None:
        now[0] += queued[0]
        queued[0] = 0.0

    assert take_turns({"native": start}, 2, synchronise, lambda: now[0]) == {"native": [5.0, 5.0]}
