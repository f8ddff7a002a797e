"""Growth of cost: values of each axis, and their points and plots."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2vid.bench.growth import JOBS, STEPS, UNITS, measure_growth, plan
from img2vid.bench.request import AXES, Request, choose_size
from img2vid.engine.bench.backends import Model, Shape
from img2vid.engine.bench.memory_probe import Cost, ProbeRequest
from img2vid.options import NATIVE_ONLY, LoadOptions

CPU = LoadOptions(device="cpu", precision="fp32", **NATIVE_ONLY)
MODEL = Model("config.yaml", "checkpoint.safetensors", CPU)
SHAPE = Shape(width=512, height=256, num_frames=14, decode_t=14)


VERSION, SETTINGS = choose_size("tiny", None, {})


def request(**changes: Any) -> Request:
    return Request("tiny", VERSION, SETTINGS, ("native",), ("step",), options=CPU, **changes)


def values_of(axis: str, shape: Shape = SHAPE) -> list[int]:
    return [value for value, _ in plan(axis, shape, MODEL, request(), 64)]


def test_values_of_each_axis() -> None:
    assert values_of("frames") == [4, 7, 10, 14]
    assert values_of("area") == [256 * 128, 384 * 192, 448 * 192, 512 * 256]
    assert values_of("steps") == [*STEPS]
    assert values_of("jobs") == [*JOBS]


@given(
    st.integers(1, 128),
    st.integers(1, 128),
    st.integers(1, 32).map(lambda n: 64 * n),
    st.integers(1, 32).map(lambda n: 64 * n),
)
def test_the_model_can_make_every_value(frames: int, decode_t: int, width: int, height: int) -> None:
    shape = Shape(width, height, frames, decode_t)
    for axis in AXES:
        probes = plan(axis, shape, MODEL, request(), 64)
        assert len({value for value, _ in probes}) == len(probes)
        for _, probe in probes:
            assert probe.shape.width % 64 == probe.shape.height % 64 == 0
            assert min(probe.shape.width, probe.shape.height, probe.shape.num_frames, probe.shape.decode_t) >= 1
        assert axis in ("steps", "jobs") or probes[-1][1].shape == Shape(
            width, height, frames, probes[-1][1].shape.decode_t
        )


def test_jobs_share_one_loaded_model_and_are_not_warmed_up() -> None:
    for count, probe in plan("jobs", SHAPE, MODEL, request(), 64):
        assert (probe.jobs, probe.warm_up, probe.repetitions) == (count, False, 0)


def test_points_hold_seconds_and_memory(tmp_path: Path) -> None:
    def cost(probe: ProbeRequest) -> Cost:
        if probe.repetitions:
            return Cost(100, 100 + probe.shape.num_frames, 1.0, 9.0, {"condition": 1.0, "step": 2.0, "decode": 3.0})
        return Cost(None, None, load=1.0, jobs=2.0 * probe.jobs, seconds={})

    messages: list[str] = []
    found = measure_growth(request(repetitions=2), ("frames", "jobs"), ["img2vid", "bench"], messages.append, cost)
    frames, jobs = found["growth"]["frames"], found["growth"]["jobs"]
    assert frames[-1] == {
        "value": 14,
        "seconds": {"condition": 1.0, "step": 2.0, "decode": 3.0},
        "total": 6.0,
        "peak": 114,
        "growth": 14,
    }
    assert [point["total"] for point in jobs] == [3.0, 5.0, 9.0]
    assert jobs[0]["peak"] is None
    assert found["engines"] == ["native"]
    assert json.loads(json.dumps(found)) == found
    assert messages[0] == f"4 {UNITS['frames']}"


def test_each_axis_gets_a_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from img2vid.bench.plots import write_plots

    point = {"seconds": {"step": 1.0}, "total": 1.0, "peak": 5, "growth": 1}
    without = {**point, "peak": None, "growth": None}
    found = {
        "size": {"name": "tiny"},
        "precision": "fp32",
        "device_name": "a <processor>",
        "growth": {
            "frames": [{"value": 1, **point}, {"value": 2, **point}],
            "jobs": [{"value": 1, **without}],
        },
    }
    written = write_plots(found, UNITS, tmp_path / "plots")
    assert [path.name for path in written] == ["growth_frames.svg", "growth_jobs.svg"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["growth_frames.svg", "growth_jobs.svg"]
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert text.rstrip().endswith("</svg>")
        assert "a <processor>" not in text
