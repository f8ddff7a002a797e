"""Memory and seconds from a process of its own: the meters, what an order runs, and what a failure says."""

import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from golden_models import golden_model
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
    read_order,
    run_probe,
)
from img2vid.errors import Img2VidError

GOLDEN = golden_model("tiny_svd")
MODEL = Model(str(GOLDEN.config), str(GOLDEN.checkpoint), "cpu", "fp32")
REQUEST = ProbeRequest("native", MODEL, Shape(64, 64, 2, 2), ("decode",))
MEGABYTE = 1 << 20


def hold(megabytes: int) -> bytearray:
    """That much memory, every page of it written to."""
    return bytearray(b"1" * (megabytes * MEGABYTE))


@pytest.mark.parametrize("meter", [lambda: make_meter("cpu"), PollingMeter], ids=["of the system", "polling"])
def test_a_peak_that_is_over_is_still_seen(meter: Callable[[], memory_probe.Meter]) -> None:
    watching = meter()
    before = watching.start()
    held = hold(200)
    time.sleep(10 * memory_probe.POLLING)
    del held
    peak = watching.stop()
    assert before is not None
    assert peak is not None
    assert 150 * MEGABYTE < peak - before < 600 * MEGABYTE


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")
def test_a_peak_from_before_the_start_is_forgotten() -> None:
    held = hold(300)
    del held
    watching = make_meter("cpu")
    before = watching.start()
    peak = watching.stop()
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


def test_where_nobody_tells_the_memory_there_is_none() -> None:
    meter = make_meter("mps")
    assert isinstance(meter, NoMeter)
    assert Cost(meter.start(), meter.stop(), 0.0, 0.0, {}).growth is None


def test_memory_that_shrinks_is_no_growth() -> None:
    assert Cost(before=10, peak=7, load=0.0, jobs=0.0, seconds={}).growth == 0
    assert Cost(before=10, peak=17, load=0.0, jobs=0.0, seconds={}).growth == 7


class Recorder:
    """A subject that remembers what it was asked to run."""

    size_step = 64

    def __init__(self) -> None:
        self.asked: list[tuple[str, Shape, int]] = []

    def prepare(self, stage: str, shape: Shape, seed: int = 0) -> Callable[[], list[Tensor]]:
        def run() -> list[Tensor]:
            self.asked.append((stage, shape, seed))
            return []

        return run


def asked_for(monkeypatch: pytest.MonkeyPatch, request: ProbeRequest) -> tuple[Sequence[tuple[str, Shape, int]], Cost]:
    recorder = Recorder()
    monkeypatch.setattr(memory_probe, "load_backend", lambda name, model: recorder)
    cost = run_probe(request)
    return recorder.asked, cost


def test_one_small_run_comes_before_the_one_that_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(REQUEST, shape=Shape(512, 256, 14, 7))
    asked, cost = asked_for(monkeypatch, request)
    assert asked == [("decode", Shape(64, 64, 2, 2), 0), ("decode", request.shape, 0)]
    assert cost.seconds == {}


def test_every_job_has_a_picture_of_its_own_and_nothing_comes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(REQUEST, stages=("condition", "step"), jobs=2, warm_up=False)
    asked, _ = asked_for(monkeypatch, request)
    assert [(stage, seed) for stage, _, seed in asked] == [("condition", 0), ("step", 0), ("condition", 1), ("step", 1)]


def test_repetitions_give_the_seconds_of_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(REQUEST, stages=("step", "decode"), repetitions=3, warm_up=False)
    asked, cost = asked_for(monkeypatch, request)
    assert [stage for stage, _, _ in asked] == ["step", "decode"] * 4
    assert set(cost.seconds) == {"step", "decode"}


def test_the_number_of_threads_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    asked_for(monkeypatch, replace(REQUEST, threads=3))
    asked_for(monkeypatch, REQUEST)
    assert asked == [3]


def test_an_order_arrives_as_it_was_sent() -> None:
    request = replace(REQUEST, model=replace(MODEL, options={"memory": "blocks"}), threads=2)
    assert read_order(json.dumps(asdict(request))) == replace(request, stages=["decode"])


def test_a_new_process_measures_a_real_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # it has to find the project from anywhere
    cost = measure(replace(REQUEST, threads=1, repetitions=1))
    assert cost.peak is not None
    assert cost.before is not None
    assert cost.peak >= cost.before > 10 * MEGABYTE
    assert cost.load > 0
    assert set(cost.seconds) == {"decode"}
    assert list(tmp_path.iterdir()) == []


def test_an_order_that_fails_is_answered_with_one_sentence(
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


def test_the_last_words_of_a_process_that_fails_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_probe, "MODULE", "img2vid.no_such_module")
    with pytest.raises(Img2VidError, match=r"measuring native in a process of its own failed: .*no_such_module"):
        measure(REQUEST)
