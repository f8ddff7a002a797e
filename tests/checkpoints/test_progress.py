"""Download speed and time left: recent values, at a limited rate."""

import pytest

from img2vid.checkpoints.progress import INTERVAL, WINDOW, Meter, Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_and_the_last_bytes_are_reported_and_few_between() -> None:
    clock, seen = Clock(), list[Progress]()
    meter = Meter("check", seen.append, clock)
    for done in range(101):
        meter(done, 100)
        clock.now += INTERVAL / 10
    assert (seen[0].done, seen[-1].done) == (0, 100)
    assert 10 <= len(seen) <= 13


def test_the_speed_is_that_of_the_last_seconds() -> None:
    clock, seen = Clock(), list[Progress]()
    meter = Meter("download", seen.append, clock)
    done = 0
    for speed in (1000, 10):
        for _ in range(int(3 * WINDOW)):
            clock.now += 1
            done += speed
            meter(done, 1_000_000)
    assert seen[-1].speed == pytest.approx(10)
    assert seen[-1].seconds_left == pytest.approx((1_000_000 - done) / 10)


def test_what_had_arrived_before_is_no_speed() -> None:
    clock, seen = Clock(), list[Progress]()
    meter = Meter("download", seen.append, clock)
    meter(5_000_000, 9_000_000)
    clock.now += 1
    meter(5_000_100, 9_000_000)
    assert seen[-1].speed == pytest.approx(100)


def test_without_a_total_or_a_speed_there_is_no_estimate() -> None:
    assert Progress("download", 5, 0, 10.0).seconds_left is None
    assert Progress("download", 5, 10).seconds_left is None
