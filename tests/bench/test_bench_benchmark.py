"""Comparison from request to report: real engines on a small clip, and missing engines or measurements."""

import json
from pathlib import Path
from typing import Any

import pytest

from img2vid.bench import benchmark
from img2vid.bench.benchmark import compare_engines, model_of
from img2vid.bench.report import as_json
from img2vid.bench.request import Request, choose_size
from img2vid.engine.bench import rates
from img2vid.engine.bench import session as session_module
from img2vid.engine.bench.backends import Backend, Model, load_backend
from img2vid.engine.bench.memory_probe import Cost, ProbeRequest
from img2vid.errors import EngineUnavailable, Img2VidError
from img2vid.options import NATIVE_ONLY, LoadOptions

SMALL = {"width": 64, "height": 64, "num_frames": 2}


def request(size: str = "tiny", **changes: Any) -> Request:
    version, settings = choose_size(size, None, SMALL)
    values: dict[str, Any] = {
        "size": size,
        "version": version,
        "settings": settings,
        "engines": ("native",),
        "stages": ("condition", "step", "decode"),
        "options": LoadOptions(device="cpu", **NATIVE_ONLY),
        "repetitions": 2,
    }
    return Request(**{**values, **changes})


@pytest.fixture(autouse=True)
def quick_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the rates quickly; their values do not matter here."""
    monkeypatch.setattr(rates, "SIDES", (64,))
    monkeypatch.setattr(rates, "COPIED", {"cpu": 1 << 16})
    monkeypatch.setattr(rates, "MEASURING", 0.0)


def cost(probe: ProbeRequest) -> Cost:
    return Cost(1000, 3000, 1.0, 1.0, {})


@pytest.fixture
def two_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace sgm by the native engine and make diffusers unavailable."""

    def load(name: str, model: Model) -> Backend:
        if name == "diffusers":
            raise EngineUnavailable("diffusers is not here")
        return load_backend("native", model)

    monkeypatch.setattr(session_module, "load_backend", load)


@pytest.mark.usefixtures("two_engines", "one_thread")
def test_a_comparison_has_all_its_figures() -> None:
    messages: list[str] = []
    engines = ("native", "sgm", "diffusers")
    argv = ["img2vid", "bench", "--json", "a file"]
    report = compare_engines(request(engines=engines, warm_up=2), argv, messages.append, cost)
    assert report.left_out == {"diffusers": "diffusers is not here"}
    assert [stage.name for stage in report.stages] == ["condition", "step", "decode"]
    for stage in report.stages:
        assert list(stage.engines) == ["native", "sgm"]
        assert all(len(measured.seconds) == 2 for measured in stage.engines.values())
        assert all((measured.peak, measured.growth) == (3000, 2000) for measured in stage.engines.values())
        assert stage.floor.counted_on == "sgm"
        assert stage.floor.seconds > 0
        assert stage.difference == 0
    values = json.loads(json.dumps(as_json(report)))
    assert values["command"] == "img2vid bench --json 'a file'"
    assert values["size"] | {"name": "tiny", "version": "svd_tiny", "num_frames": 2, "decode_t": 2} == values["size"]
    assert "decode: measuring native, sgm alternately" in messages


@pytest.mark.usefixtures("one_thread")
def test_a_failed_memory_probe_is_noted_and_keeps_the_other_figures() -> None:
    def killed(probe: ProbeRequest) -> Cost:
        raise Img2VidError("killed by signal 9")

    report = compare_engines(request(stages=("decode",)), [], lambda text: None, killed)
    assert report.notes == ["memory of native in stage decode is unknown: killed by signal 9"]
    (stage,) = report.stages
    assert stage.engines["native"].peak is None
    assert stage.floor.counted_on == "the plain modules"


@pytest.mark.usefixtures("one_thread")
def test_the_median_of_several_processes_is_reported() -> None:
    peaks = iter([5000, 2000, 9000])

    def next_cost(probe: ProbeRequest) -> Cost:
        return Cost(1000, next(peaks), 1.0, 1.0, {})

    report = compare_engines(request(stages=("condition",), peaks=3), [], lambda text: None, next_cost)
    measured = report.stages[0].engines["native"]
    assert (measured.peak, measured.growth) == (5000, 4000)


@pytest.mark.usefixtures("one_thread")
def test_without_peaks_no_process_is_started() -> None:
    def never(probe: ProbeRequest) -> Cost:
        pytest.fail("a process was started")

    report = compare_engines(request(stages=("condition",), peaks=0), [], lambda text: None, never)
    assert report.stages[0].engines["native"].growth is None


def test_no_available_engine_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, model: Model) -> Backend:
        raise EngineUnavailable(f"{name} is not here")

    monkeypatch.setattr(session_module, "load_backend", load)
    with pytest.raises(EngineUnavailable, match="no engine can be measured; sgm: sgm is not here"):
        compare_engines(request(engines=("sgm",)), [], lambda text: None, cost)


# Files


def test_the_tiny_size_uses_the_bundled_model() -> None:
    with model_of(request(), lambda text: None) as model:
        assert Path(model.checkpoint).name == "svd_tiny.safetensors"


def test_random_checkpoints_are_deleted_unless_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def write(config: Path, path: Path, seed: int, precision: str) -> Path:
        assert config.is_file()
        written.append(path)
        path.write_bytes(precision.encode())
        return path

    monkeypatch.setattr(benchmark, "write_random_checkpoint", write)
    with model_of(request("middle"), lambda text: None) as model:
        assert Path(model.checkpoint).read_bytes() == b"fp32"
        assert Path(model.config).parent == Path(model.checkpoint).parent
    assert not Path(model.checkpoint).parent.exists()
    for _ in range(2):
        with model_of(request("full", keep=tmp_path / "kept"), lambda text: None) as model:
            assert Path(model.checkpoint).read_bytes() == b"fp16"
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["svd_random.safetensors"]
    assert len(written) == 2, "the kept checkpoint is reused"


def test_incomplete_random_checkpoints_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(config: Path, path: Path, seed: int, precision: str) -> Path:
        path.write_bytes(b"half of")
        raise OSError("no space left")

    monkeypatch.setattr(benchmark, "write_random_checkpoint", write)
    with pytest.raises(OSError, match="no space"), model_of(request("full", keep=tmp_path), lambda text: None):
        pytest.fail("there is no model")
    assert list(tmp_path.iterdir()) == []
