"""Benchmark session: available engines, differences, and the description of the machine."""

import importlib.metadata
from collections.abc import Callable, Mapping

import pytest
import torch
from golden_models import CPU, golden_model
from torch import Tensor

from img2vid.engine.bench import session as session_module
from img2vid.engine.bench.backends import Model, Shape
from img2vid.engine.bench.session import Session, describe_machine, relative_difference
from img2vid.errors import EngineUnavailable

GOLDEN = golden_model("tiny_svd")
MODEL = Model(str(GOLDEN.config), str(GOLDEN.checkpoint), CPU)
SHAPE = Shape(64, 64, 2, 2)
A, B = torch.ones(4, 4), torch.full((4, 4), 2.0)


class FakeBackend:
    """Backend whose every stage is one matrix product."""

    size_step = 64
    lacks: Mapping[str, str] = {}

    def __init__(self, scale: float = 1.0, fails: BaseException | None = None) -> None:
        self.scale = scale
        self.fails = fails
        self.runs = 0

    def prepare(self, stage: str, shape: Shape, seed: int = 0) -> Callable[[], list[Tensor]]:
        def run() -> list[Tensor]:
            self.runs += 1
            if self.fails is not None:
                raise self.fails
            return [self.scale * (A @ B)]

        return run


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeBackend]:
    """Return the backends that `load_backend` finds by name; missing ones raise EngineUnavailable."""
    found: dict[str, FakeBackend] = {}

    def load(name: str, model: Model) -> FakeBackend:
        if name not in found:
            raise EngineUnavailable(f"{name} is not installed")
        return found[name]

    monkeypatch.setattr(session_module, "load_backend", load)
    return found


def test_an_engine_that_cannot_run_is_left_out(fakes: dict[str, FakeBackend]) -> None:
    fakes.update(native=FakeBackend())
    session = Session(("native", "sgm", "diffusers"), MODEL, SHAPE)
    assert list(session.backends) == ["native"]
    assert session.left_out == {"sgm": "sgm is not installed", "diffusers": "diffusers is not installed"}


def test_an_engine_takes_part_in_the_stages_that_it_has(fakes: dict[str, FakeBackend]) -> None:
    fakes.update(native=FakeBackend(), comfyui=FakeBackend())
    fakes["comfyui"].lacks = {"condition": "it has no CLIP"}
    session = Session(("native", "comfyui"), MODEL, SHAPE)
    assert [*session.warm_up("condition", 1).runs] == ["native"]
    assert [*session.warm_up("step", 1).runs] == ["native", "comfyui"]
    assert session.left_out == {"comfyui (condition)": "it has no CLIP"}


def test_native_is_compared_only_with_the_reference(fakes: dict[str, FakeBackend]) -> None:
    fakes.update(native=FakeBackend(1.5), sgm=FakeBackend(), diffusers=FakeBackend(7.0))
    session = Session(("native", "sgm", "diffusers"), MODEL, SHAPE)
    warm = session.warm_up("step", 1)
    assert warm.difference == pytest.approx(0.5)
    assert warm.operations == 2 * 4**3
    del fakes["sgm"]
    alone = Session(("native", "sgm", "diffusers"), MODEL, SHAPE).warm_up("step", 1)
    assert (alone.difference, alone.operations) == (None, None)


def test_every_engine_is_warmed_up_equally(fakes: dict[str, FakeBackend]) -> None:
    fakes.update(native=FakeBackend(), sgm=FakeBackend())
    Session(("native", "sgm"), MODEL, SHAPE).warm_up("step", 3)
    assert [backend.runs for backend in fakes.values()] == [3, 3 + 1], "the reference is counted in an extra run"


def test_other_engines_continue_if_one_runs_out_of_memory(fakes: dict[str, FakeBackend]) -> None:
    fakes.update(native=FakeBackend(), sgm=FakeBackend(fails=torch.cuda.OutOfMemoryError("CUDA out of memory")))
    session = Session(("native", "sgm"), MODEL, SHAPE)
    assert list(session.warm_up("decode", 1).runs) == ["native"]
    assert session.left_out["sgm"].startswith("out of memory in stage 'decode'")
    assert list(session.backends) == ["native"]


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 4.0], [0.0, 0.0], float("inf")),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([6.0, 8.0], [3.0, 4.0], 1.0),
    ],
)
def test_the_difference_is_relative_to_the_reference(ours: list[float], theirs: list[float], difference: float) -> None:
    assert relative_difference(torch.tensor(ours), torch.tensor(theirs)) == difference


def test_the_machine_is_described_in_plain_values() -> None:
    facts = describe_machine("cpu")
    assert facts["device"] == "cpu"
    assert facts["device_name"] not in ("", "CPU")
    assert facts["threads"] == torch.get_num_threads()
    assert facts["versions"]["torch"] == importlib.metadata.version("torch")
    assert set(facts["versions"]) >= {"python", "torch", "diffusers", "sgm"}


@pytest.mark.sgm
@pytest.mark.parametrize("stage", ["condition", "step", "decode"])
def test_the_engines_really_agree(stage: str) -> None:
    pytest.importorskip("sgm")
    difference = Session(("native", "sgm"), MODEL, SHAPE).warm_up(stage, 1).difference
    assert difference is not None
    assert difference < 1e-4
