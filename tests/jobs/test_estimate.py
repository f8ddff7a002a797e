"""How long jobs take, judged by past ones."""

import pytest

from img2vid.jobs.estimate import Expected, Timing, expected, seconds_left
from img2vid.settings import SampleSettings

ONE = Expected(sampling=20.0, decoding=4.0, rest=1.0)


def test_what_took_so_long_is_expected_to_take_so_long() -> None:
    settings = SampleSettings()
    found = expected(Timing.of(settings, sampling=20, decoding=4, whole=25), settings)
    assert (found.sampling, found.decoding, found.rest) == pytest.approx((20, 4, 1))
    assert found.whole == pytest.approx(25)


def test_memory_beyond_the_models_grows_with_the_pixels() -> None:
    timing = Timing.of(SampleSettings(), 20, 4, 25, model=1000, memory=1600)
    assert expected(timing, SampleSettings()).memory == 1600
    assert expected(timing, SampleSettings(num_frames=28)).memory == 2200
    assert expected(Timing.of(SampleSettings(), 1, 1, 2, model=1000, memory=900), SampleSettings()).memory == 1000


def test_the_usual_is_the_middle() -> None:
    timings = [Timing(sampling, 1.0, 0.0) for sampling in (1.0, 50.0, 2.0)]
    assert Timing.usual(timings) == Timing(2.0, 1.0, 0.0)
    assert Timing.usual([]) is None


@pytest.mark.parametrize(
    ("stage", "of_stage", "seconds"),
    [
        ("load", None, 25.0),
        ("load", 3.0, 28.0),
        ("condition", None, 25.0),
        ("sample", None, 24.0),
        ("sample", 12.0, 16.0),
        ("decode", None, 4.0),
        ("decode", 1.5, 1.5),
        ("write", None, 0.0),
    ],
)
def test_what_is_left_of_a_job(stage: str, of_stage: float | None, seconds: float) -> None:
    assert seconds_left(stage, of_stage, ONE, 0) == pytest.approx(seconds)
    assert seconds_left(stage, of_stage, ONE, 2) == pytest.approx(seconds + 50)
    assert seconds_left(stage, of_stage, None, 2) == of_stage
