"""Memory probe: meters, the runs of a request, and errors of the separate process."""

import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from golden_models import CPU, golden_model
from torch import Tensor

from img2vid.engine.bench import memory_probe
from img2vid.engine.bench.backends import Model, Shape
from img2vid.engine.bench.memory_probe import (
    Cost,
    NoMeter,
    PollingMeter,
    ProbeRequest,
    make_meter,
    measure,
    read_request,
    run_probe,
)
from img2vid.errors import Img2VidError
from img2vid.options import LoadOptions

GOLDEN = golden_model("tiny_svd")
MODEL = Model(str(GOLDEN.config), str(GOLDEN.checkpoint), CPU)
REQUEST = ProbeRequest("native", MODEL, Shape(64, 64, 2, 2), ("decode",))
MEGABYTE = 1 << 20


def hold(megabytes: int) -> bytearray:
    """Allocate memory and write to every page."""
    return bytearray(b"1" * (megabytes * MEGABYTE))


@pytest.mark.parametrize("meter", [lambda: make_meter("cpu"), PollingMeter], ids=["of the system", "polling"])
def test_a_past_peak_is_reported(meter: Callable[[], memory_probe.Meter]) -> None:
    active_meter = meter()
    before = active_meter.start()
    held = hold(200)
    time.sleep(10 * memory_probe.POLLING)
    del held
    peak = active_meter.stop()
    assert before is not None
    assert peak is not None
    assert 150 * MEGABYTE < peak - before < 600 * MEGABYTE


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="requires Linux")
def test_a_peak_before_the_start_is_ignored() -> None:
    held = hold(300)
    del held
    active_meter = make_meter("cpu")
    before = active_meter.start()
    peak = active_meter.stop()
    assert before is not None
    assert peak is not None
    assert peak - before < 100 * MEGABYTE


def test_the_polling_meter_keeps_the_largest() -> None:
    values = iter([5, 7, 90, 6])
    last = [5]

    def resident() -> int:
        last[0] = next(values, 3)
        return last[0]

    meter = PollingMeter(resident)
    assert meter.start() == 5
    deadline = time.monotonic() + 30
    while last[0] != 3 and time.monotonic() < deadline:
        time.sleep(memory_probe.POLLING)
    assert meter.stop() == 90


def test_unmeasurable_memory_has_no_value() -> None:
    meter = make_meter("mps")
    assert isinstance(meter, NoMeter)
    assert Cost(meter.start(), meter.stop(), 0.0, 0.0, {}).growth is None


def test_shrinking_memory_is_zero_growth() -> None:
    assert Cost(before=10, peak=7, load=0.0, jobs=0.0, seconds={}).growth == 0
    assert Cost(before=10, peak=17, load=0.0, jobs=0.0, seconds={}).growth == 7


class Recorder:
    """Backend that records the requested runs."""

    size_step = 64

    def __init__(self) -> None:
        self.requested: list[tuple[str, Shape, int]] = []

    def prepare(self, stage: str, shape: Shape, seed: int = 0) -> Callable[[], list[Tensor]]:
        def run() -> list[Tensor]:
            self.requested.append((stage, shape, seed))
            return []

        return run


def run_recorded(
    monkeypatch: pytest.MonkeyPatch, request: ProbeRequest
) -> tuple[Sequence[tuple[str, Shape, int]], Cost]:
    recorder = Recorder()
    monkeypatch.setattr(memory_probe, "load_backend", lambda name, model: recorder)
    cost = run_probe(request)
    return recorder.requested, cost


def test_a_small_warm_up_run_comes_before_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(REQUEST, shape=Shape(512, 256, 14, 7))
    requested, cost = run_recorded(monkeypatch, request)
    assert requested == [("decode", Shape(64, 64, 2, 2), 0), ("decode", request.shape, 0)]
    assert cost.seconds == {}


def test_every_job_has_its_own_image_and_no_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(REQUEST, stages=("condition", "step"), jobs=2, warm_up=False)
    requested, _ = run_recorded(monkeypatch, request)
    assert [(stage, seed) for stage, _, seed in requested] == [
        ("condition", 0),
        ("step", 0),
        ("condition", 1),
        ("step", 1),
    ]


def test_repetitions_give_the_seconds_of_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(REQUEST, stages=("step", "decode"), repetitions=3, warm_up=False)
    requested, cost = run_recorded(monkeypatch, request)
    assert [stage for stage, _, _ in requested] == ["step", "decode"] * 4
    assert set(cost.seconds) == {"step", "decode"}


def test_the_number_of_threads_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", requested.append)
    run_recorded(monkeypatch, replace(REQUEST, model=replace(MODEL, options=replace(CPU, threads=3))))
    assert requested == [3]


def test_a_request_is_parsed_as_it_was_sent() -> None:
    request = replace(REQUEST, model=replace(MODEL, options=LoadOptions(memory="blocks", threads=2)))
    assert read_request(json.dumps(asdict(request))) == replace(request, stages=["decode"])


def test_a_new_process_measures_a_real_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the new process must find the project from any folder
    cost = measure(replace(REQUEST, model=replace(MODEL, options=replace(CPU, threads=1)), repetitions=1))
    assert cost.peak is not None
    assert cost.before is not None
    assert cost.peak >= cost.before > 10 * MEGABYTE
    assert cost.load > 0
    assert set(cost.seconds) == {"decode"}
    assert list(tmp_path.iterdir()) == []


def test_a_failed_request_prints_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = replace(REQUEST, model=replace(MODEL, checkpoint=str(tmp_path / "nothing.safetensors")))
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asdict(missing))))
    with pytest.raises(SystemExit, match="1"):
        memory_probe.main()
    out, err = capsys.readouterr()
    assert out == ""
    assert "nothing.safetensors" in err
    assert err.count("\n") == 1


def test_the_last_line_of_a_failed_process_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_probe, "MODULE", "img2vid.no_such_module")
    with pytest.raises(Img2VidError, match=r"measuring native in a separate process failed: .*no_such_module"):
        measure(REQUEST)
