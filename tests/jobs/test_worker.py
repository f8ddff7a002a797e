"""Worker tasks without a cluster: model cache, rate of events, and results of all exceptions."""

import gc
import io
import json
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from job_client import CPU, PHOTO, small
from PIL import Image

from img2vid import inference
from img2vid.errors import Cancelled, OutOfMemory
from img2vid.inference import LoadedModel
from img2vid.jobs import worker
from img2vid.jobs.worker import RenderRequest, RenderResult, Reporter, WorkerRuntime
from img2vid.options import LoadOptions
from img2vid.progress import Event, Result
from img2vid.versions import find_version

Sent = list[dict[str, Any]]


class Model(SimpleNamespace):
    """Stand-in for a loaded model that records its deletion and shares no modules."""

    parts: ClassVar[dict[str, Any]] = {}
    advice = ""


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """Exempt all earlier objects from garbage collection, which walks them at each load: 0.2 s with torch imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def sent() -> Sent:
    return []


@pytest.fixture
def reporter(sent: Sent) -> Reporter:
    return Reporter("job", sent.append, lambda: True)


def request(**changes: Any) -> RenderRequest:
    return RenderRequest("job", "topic", small(**changes), CPU, PHOTO.read_bytes(), "photo", None)


def states(sent: Sent) -> list[tuple[str, str]]:
    return [
        (event["status"]["state"], event["status"].get("version", "")) for event in sent if event["kind"] == "model"
    ]


def any_model(*arguments: Any) -> Any:
    return Model()


def no_videos(*arguments: Any, **more: Any) -> Iterator[Result]:
    raise OutOfMemory("there is no more")


# Models


def test_the_old_model_is_released_before_the_new_one_is_loaded(reporter: Reporter, sent: Sent) -> None:
    """Regression: two models at once do not fit a GPU."""
    loaded: list[weakref.ref[Model]] = []

    def load(*arguments: Any) -> Any:
        gc.collect()
        assert [model() for model in loaded] == [None] * len(loaded)
        model = Model()
        loaded.append(weakref.ref(model))
        return model

    runtime = WorkerRuntime(load)
    for version in ("svd_tiny", "svd_tiny_xt", "svd_tiny"):
        assert runtime.load(version, CPU, reporter) == RenderResult()
    assert len(loaded) == 3
    assert loaded[2]() is not None
    assert states(sent) == [
        (state, version) for version in ("svd_tiny", "svd_tiny_xt", "svd_tiny") for state in ("loading", "ready")
    ]
    runtime.release()
    gc.collect()
    assert loaded[2]() is None


def test_a_model_is_kept_as_long_as_it_is_the_one_that_is_needed(
    reporter: Reporter, tmp_path: Path, random_checkpoint: Path, configs: Callable[..., Path]
) -> None:
    checkpoint = tmp_path / "own.safetensors"
    shutil.copy(random_checkpoint, checkpoint)
    row = {**find_version("svd_tiny").model_dump(exclude={"name"}), "checkpoint": str(checkpoint)}
    configs(json.dumps({"own": row}))
    loads: list[LoadOptions] = []

    def load(version: Any, options: LoadOptions, *more: Any) -> Any:
        loads.append(options)
        return Model()

    runtime = WorkerRuntime(load)
    resolved = inference.resolve(CPU)
    for options in (CPU, CPU, resolved):
        runtime.load("own", options, reporter)
    assert loads == [resolved]
    runtime.load("own", LoadOptions(device="cpu", precision="bf16"), reporter)
    assert len(loads) == 2
    shutil.copy(random_checkpoint, checkpoint)
    os.utime(checkpoint, (1, 1))
    runtime.load("own", LoadOptions(device="cpu", precision="bf16"), reporter)
    assert len(loads) == 3, "the file is another one now"


def test_advice_about_a_model_is_sent_with_its_status(reporter: Reporter, sent: Sent) -> None:
    WorkerRuntime(lambda *arguments: Model(advice="bf16 is slow here")).load("svd_tiny", CPU, reporter)  # type: ignore[arg-type]
    assert [event["status"].get("advice") for event in sent] == [None, "bf16 is slow here"]


def test_another_number_of_threads_acts_at_once_and_loads_nothing(
    reporter: Reporter, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[LoadOptions] = []

    def load(version: Any, options: LoadOptions, *more: Any) -> Any:
        loads.append(options)
        return Model()

    runtime = WorkerRuntime(load)

    def computing_with(threads: int) -> int:
        assert runtime.load("svd_tiny", replace(CPU, threads=threads), reporter) == RenderResult()
        return torch.get_num_threads()

    assert [computing_with(threads) for threads in (0, 3, 2, 0)] == [1, 3, 2, 1]
    monkeypatch.setenv("IMG2VID_THREADS", "2")
    assert [computing_with(threads) for threads in (0, 3)] == [2, 3]
    monkeypatch.setenv("IMG2VID_THREADS", "two")
    outcome = runtime.load("svd_tiny", CPU, reporter)
    assert outcome.error == "IMG2VID_THREADS must be a whole number from 0 to 1024, got 'two'"
    assert len(loads) == 1


def test_with_room_for_two_models_the_one_that_was_used_longest_ago_goes(
    reporter: Reporter, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMG2VID_MODELS_IN_MEMORY", "2")
    loads: list[str] = []

    def load(version: Any, options: LoadOptions, *more: Any) -> Any:
        loads.append(f"{version.name} {options.precision}")
        return Model()

    runtime = WorkerRuntime(load)
    bf16 = LoadOptions(device="cpu", precision="bf16")
    for version, options in (
        ("svd_tiny", CPU),
        ("svd_tiny_xt", CPU),
        ("svd_tiny", CPU),
        ("svd_tiny_xt", bf16),
        ("svd_tiny", CPU),
        ("svd_tiny_xt", CPU),
    ):
        runtime.load(version, options, reporter)
    assert loads == ["svd_tiny fp32", "svd_tiny_xt fp32", "svd_tiny_xt bf16", "svd_tiny_xt fp32"]
    ready = [version for state, version in states(sent) if state == "ready"]
    assert ready == ["svd_tiny", "svd_tiny_xt", "svd_tiny", "svd_tiny_xt", "svd_tiny", "svd_tiny_xt"]


def test_where_two_models_do_not_fit_after_all_the_first_one_goes(
    reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMG2VID_MODELS_IN_MEMORY", "2")
    loaded: list[weakref.ref[Model]] = []

    def load(*arguments: Any) -> Any:
        gc.collect()
        if any(model() for model in loaded):
            raise OutOfMemory("memory ran out")
        model = Model()
        loaded.append(weakref.ref(model))
        return model

    runtime = WorkerRuntime(load)
    for version in ("svd_tiny", "svd_tiny_xt"):
        assert runtime.load(version, CPU, reporter) == RenderResult()
    assert [model() is not None for model in loaded] == [False, True]


def test_on_a_switch_the_old_model_hands_over_its_parts_and_goes(reporter: Reporter) -> None:
    spares: list[Any] = []
    loaded: list[weakref.ref[Model]] = []

    def load(version: Any, options: LoadOptions, report: Any, spare: Any) -> Any:
        gc.collect()
        assert [model() for model in loaded] == [None] * len(loaded)
        spares.append(spare)
        model = Model(parts={"of": version.name})
        loaded.append(weakref.ref(model))
        return model

    runtime = WorkerRuntime(load)
    for version in ("svd_tiny", "svd_tiny_xt", "svd_tiny"):
        assert runtime.load(version, CPU, reporter) == RenderResult()
    runtime.release()
    assert runtime.load("svd_tiny", CPU, reporter) == RenderResult()
    assert spares == [{}, {"of": "svd_tiny"}, {"of": "svd_tiny_xt"}, {}]


def test_where_the_new_model_does_not_fit_beside_the_parts_they_go_too(reporter: Reporter) -> None:
    spares: list[Any] = []

    def load(version: Any, options: LoadOptions, report: Any, spare: Any) -> Any:
        spares.append(spare)
        if spare:
            raise OutOfMemory("memory ran out")
        return Model(parts={"of": version.name})

    runtime = WorkerRuntime(load)
    for version in ("svd_tiny", "svd_tiny_xt"):
        assert runtime.load(version, CPU, reporter) == RenderResult()
    assert spares == [{}, {"of": "svd_tiny"}, {}]


@pytest.mark.parametrize("text", ["0", "two", "-1", "17", "1.5"])
def test_an_invalid_number_of_models_is_reported(
    reporter: Reporter, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("IMG2VID_MODELS_IN_MEMORY", text)
    outcome = WorkerRuntime(any_model).load("svd_tiny", CPU, reporter)
    assert outcome.error == f"IMG2VID_MODELS_IN_MEMORY must be a whole number from 1 to 16, got '{text}'"


def test_a_model_that_does_not_load_is_reported_and_the_next_one_loads(reporter: Reporter, sent: Sent) -> None:
    def load(version: Any, *arguments: Any) -> Any:
        if version.name == "svd_tiny":
            raise OutOfMemory("memory ran out")
        return Model()

    runtime = WorkerRuntime(load)
    failed = runtime.load("svd_tiny", CPU, reporter)
    assert (failed.error, failed.error_type, failed.details) == ("memory ran out", "OutOfMemory", "")
    assert sent[-1]["status"]["error"] == "memory ran out"
    assert runtime.load("svd_tiny_xt", CPU, reporter) == RenderResult()
    assert states(sent)[-3:] == [("failed", "svd_tiny"), ("loading", "svd_tiny_xt"), ("ready", "svd_tiny_xt")]


def test_loading_can_be_cancelled_and_leaves_no_model(sent: Sent) -> None:
    wanted = [True]

    def load(version: Any, options: Any, report: Reporter, spare: Any) -> Any:
        report(Event("load", 1, 2, 0.1))
        wanted[0] = False
        report(Event("load", 2, 2, 0.2))
        return Model()

    outcome = WorkerRuntime(load).load("svd_tiny", CPU, Reporter("job", sent.append, lambda: wanted[0]))
    assert outcome == RenderResult()
    assert states(sent) == [("loading", "svd_tiny"), ("none", "")]


# Results


def test_a_video_comes_back_as_bytes_and_nothing_stays(reporter: Reporter, sent: Sent, tmp_path: Path) -> None:
    outcome = WorkerRuntime().make(request(), reporter, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert sorted(outcome.files) == [".json", ".mp4", ".png"]
    assert outcome.error == ""
    assert outcome.made is not None
    assert (outcome.made.video.stem, outcome.made.seed) == ("photo_svd_tiny_seed23", 23)
    assert outcome.stages.keys() == {"load", "condition", "sample", "decode", "write"}
    assert outcome.made.seconds >= outcome.stages["sample"] > 0
    stages = list(dict.fromkeys(event["event"]["stage"] for event in sent if event["kind"] == "progress"))
    assert stages == ["load", "condition", "sample", "decode", "write"]


def test_errors_are_outcomes(reporter: Reporter) -> None:
    def mistake(*arguments: Any, **more: Any) -> Iterator[Result]:
        raise ZeroDivisionError("one by nothing")

    known = WorkerRuntime(any_model, no_videos).make(request(), reporter)
    assert (known.error, known.error_type, known.details) == ("there is no more", "OutOfMemory", "")
    unknown = WorkerRuntime(any_model, mistake).make(request(), reporter)
    assert (unknown.error, unknown.error_type) == ("failed with ZeroDivisionError: one by nothing", "ZeroDivisionError")
    assert unknown.details.startswith("Traceback")
    assert "in mistake" in unknown.details


@pytest.mark.parametrize("works", [True, False])
def test_a_worker_whose_card_is_broken_ends_after_its_last_words(
    reporter: Reporter, sent: Sent, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    class Ended(BaseException):
        pass

    def end(code: int) -> None:
        raise Ended

    monkeypatch.setattr(inference, "device_works", lambda device: works)
    monkeypatch.setattr(worker.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(os, "_exit", end)
    for harmless in (RenderResult(), RenderResult(error="bad input", error_type="BadInput")):
        assert worker._exit_if_broken(harmless, reporter) is harmless
    fault = RenderResult(
        error="failed with AcceleratorError: CUDA error", error_type="AcceleratorError", details="Traceback"
    )
    if works:
        assert worker._exit_if_broken(fault, reporter) is fault
        assert sent == []
        return
    with pytest.raises(Ended):
        worker._exit_if_broken(fault, reporter)
    assert sent == [{"kind": "error", "task": "job", "sentence": "failed with AcceleratorError: CUDA error"}]


# Events


def test_an_order_that_is_withdrawn_stops_at_the_next_event(sent: Sent) -> None:
    steps: list[int] = []

    def run(model: LoadedModel, *arguments: Any, on_event: Callable[[Event], None], **more: Any) -> Any:
        for step in range(100):
            steps.append(step)
            on_event(Event("sample", step, 100, 0.0))
        yield None

    outcome = WorkerRuntime(any_model, run).make(request(), Reporter("job", sent.append, lambda: len(steps) < 8))
    assert outcome == RenderResult()
    assert len(steps) == 8


def test_events_of_a_fast_stage_are_thinned_out_but_not_its_ends(
    reporter: Reporter, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    for step in range(101):
        reporter(Event("sample", step, 100, 0.0))
        now[0] += worker.EVENT_EVERY / 10
    reporter(Event("decode", 0, 3, 0.0))
    reporter(Event("decode", 0, 3, 0.0, notice="once more"))
    steps = [(event["event"]["stage"], event["event"]["step"]) for event in sent]
    assert steps[0] == ("sample", 0)
    assert ("sample", 100) in steps
    assert len(steps) < 16
    assert steps[-2:] == [("decode", 0), ("decode", 0)]
    assert sent[-1]["event"]["notice"] == "once more"


def test_previews_are_small_animations_and_come_not_too_often(
    reporter: Reporter, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    rise = np.linspace(0, 255, 5 * 12 * 20 * 3).astype(np.uint8)
    frames = rise.reshape(3, 5, 12, 20).transpose(1, 2, 3, 0).copy()
    for step in range(3):
        reporter(Event("sample", step, 25, 0.0, frames=frames))
        now[0] += worker.PREVIEW_EVERY * 0.6
    shown = [event["event"]["preview"] for event in sent]
    assert [bool(preview) for preview in shown] == [True, False, True]
    with Image.open(io.BytesIO(shown[0])) as image:
        assert (image.format, image.size, getattr(image, "n_frames", 1)) == ("GIF", (20, 12), 5)
        assert image.info["loop"] == 0
        close = np.abs(np.asarray(image.convert("RGB")).astype(int) - frames[0]).mean()
        assert close < 8


def test_previews_that_take_long_come_seldom(reporter: Reporter, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a fast GPU, a preview at every step would take a third of the time."""
    now = [100.0]

    def slow(frames: Any) -> bytes:
        now[0] += 1.0
        return b"GIF"

    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(worker, "preview_gif", slow)
    for step in range(60):
        reporter(Event("sample", step, 100, 0.0, frames=np.zeros((1, 2, 2, 3), np.uint8)))
        now[0] += 1.0
    assert len(sent) == 60
    assert [bool(event["event"]["preview"]) for event in sent].count(True) == 3


def test_events_hold_nothing_that_dask_cannot_send(reporter: Reporter, sent: Sent) -> None:
    import msgpack

    WorkerRuntime().make(request(), reporter)
    assert find_version("svd_tiny").name in str(msgpack.unpackb(msgpack.packb(sent)))


def test_cancelled_is_the_only_way_in_which_an_event_stops_a_run(sent: Sent) -> None:
    with pytest.raises(Cancelled):
        Reporter("job", sent.append, lambda: False)(Event("sample", 1, 2, 0.0))
    assert sent == []
