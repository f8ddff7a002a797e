"""Estimates of job times from earlier jobs."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from img2vid import paths
from img2vid.engine.config import load_config
from img2vid.engine.model import build_meta
from img2vid.engine.sampling.discretization import edm_sigmas
from img2vid.jobs.estimate import OUTER_SHARE, Expected, Timing, expected, network_runs, seconds_left
from img2vid.jobs.store import Store
from img2vid.jobs.workers import ActiveJob
from img2vid.options import LoadOptions
from img2vid.progress import LONGEST, Event
from img2vid.settings import SampleSettings
from img2vid.versions import find_version

ONE = Expected(sampling=20.0, decoding=4.0, rest=1.0)


def test_what_took_so_long_is_expected_to_take_so_long() -> None:
    settings = SampleSettings()
    found = expected(Timing.of(settings, sampling=20, decoding=4, whole=25), settings)
    assert (found.sampling, found.decoding, found.rest) == pytest.approx((20, 4, 1))
    assert found.whole == pytest.approx(25)


def test_fields_of_earlier_versions_are_ignored() -> None:
    text = '{"sampling": 1.0, "decoding": 2.0, "rest": 3.0, "model": 4.0, "memory": 5.0}'
    assert Timing.from_text(text) == Timing(1.0, 2.0, 3.0)


def test_the_usual_is_the_middle() -> None:
    timings = [Timing(sampling, 1.0, 0.0) for sampling in (1.0, 50.0, 2.0)]
    assert Timing.usual(timings) == Timing(2.0, 1.0, 0.0)
    assert Timing.usual([]) is None


@pytest.mark.parametrize(
    ("changed", "runs"),
    [
        ({}, 50),
        ({"guider": "IdentityGuider"}, 25),
        ({"sampler": "HeunEDMSampler"}, 100),
        ({"guidance_sigma_min": 699.0}, 26),
        ({"guidance_sigma_max": 0.001}, 25),
        ({"block_cache": 5}, 2 * 5 + 40 * OUTER_SHARE),
        ({"block_cache": 100}, 2 + 48 * OUTER_SHARE),
        ({"block_cache": 5, "guider": "IdentityGuider"}, 5 + 20 * OUTER_SHARE),
        ({"block_cache": 25, "guidance_sigma_min": 699.0}, 2 + 24 * OUTER_SHARE),
    ],
)
def test_approximations_count_with_the_work_that_they_leave(changed: dict[str, Any], runs: float) -> None:
    assert network_runs(SampleSettings(**changed)) == pytest.approx(runs)


def test_the_outermost_blocks_of_the_full_network_take_about_that_share_of_its_operations() -> None:
    model = build_meta(load_config(paths.CONFIGS / "svd.yaml"), paths.CONFIGS)
    network, frames = model.network, 14

    def nothing(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    counter = FlopCounterMode(display=False, depth=3)
    with counter, torch.inference_mode():
        told = {"context": nothing(frames, 1, 1024), "vector": nothing(frames, 768), "num_frames": frames}
        network(nothing(frames, 8, 72, 128), nothing(frames), **told)
    counts = {name: sum(found.values()) for name, found in counter.get_flop_counts().items()}
    outermost = (
        ".time_embed",
        ".label_emb",
        ".input_blocks.0",
        f".output_blocks.{len(network.output_blocks) - 1}",
        ".out",
    )
    share = sum(count for name, count in counts.items() if name.endswith(outermost)) / counts["Global"]
    assert share == pytest.approx(OUTER_SHARE, abs=0.02)


@given(st.integers(1, 60), st.floats(2, 20), st.floats(0, 700))
def test_guidance_in_an_interval_counts_as_often_as_the_engine_guides(num_steps: int, rho: float, low: float) -> None:
    settings = SampleSettings(num_steps=num_steps, rho=rho, guidance_sigma_min=low)
    sigmas = edm_sigmas(num_steps, **settings.params_of("EDMDiscretization"))[:-1]
    # In float32 a level close to a limit may fall on its other side.
    sure = [sum(float(sigma) >= edge for sigma in sigmas) for edge in (low * 1.001 + 1e-6, low * 0.999 - 1e-6)]
    assert num_steps + sure[0] <= network_runs(settings) <= num_steps + sure[1]


def test_scales_of_1_cost_as_little_as_no_guidance() -> None:
    unguided = SampleSettings(guider="IdentityGuider", num_steps=10)
    assert network_runs(unguided) == network_runs(SampleSettings(max_scale=1, min_scale=1, num_steps=10)) == 10
    assert network_runs(SampleSettings(max_scale=1.5, min_scale=1, num_steps=10)) == 20


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


@pytest.mark.parametrize(
    ("now", "elapsed", "left"), [(1000.0, 12.0, 45.0), (1010.0, 22.0, 35.0), (1090.0, 102.0, 0.0), (0.0, 12.0, 45.0)]
)
def test_the_times_of_an_event_go_on_until_the_next(now: float, elapsed: float, left: float) -> None:
    event = Event("sample", 1, 20, 12.0, 45.0, received=1000.0)
    assert event.by(now) == replace(event, elapsed=elapsed, seconds_left=left)
    assert event.by(1e300).elapsed == LONGEST
    assert replace(event, seconds_left=None).by(now).seconds_left is None
    assert replace(event, received=0.0).by(now) == replace(event, received=0.0), "written by an older version"


@pytest.mark.parametrize("jump", [86_400.0, -3600.0])
def test_a_jump_of_the_clock_does_not_change_the_times_of_a_job(
    jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Store(tmp_path / "img2vid.sqlite").add(find_version("svd_tiny").settings({}), LoadOptions(), b"x", "x", "")
    work = ActiveJob(job, None, started=time.monotonic())
    clock = time.time()
    monkeypatch.setattr(time, "time", lambda: clock + jump)
    event = work.progress(Event("sample", 1, 20, 12.0, 45.0)).by(clock + jump + 1)
    assert 1 <= event.elapsed < 60
    assert event.seconds_left == 44.0
