"""Fixtures of both engines with the small models, and a summary of the errors against the reference."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from golden_models import CPU, NAMES, GoldenModel, golden_model, relative_error
from torch import Tensor

from img2vid.engine import Engine, load_engine
from img2vid.engine.backends.native import NativeEngine

SGM = pytest.param(
    "sgm",
    marks=[
        pytest.mark.sgm,
        pytest.mark.skipif(importlib.util.find_spec("sgm") is None, reason="the package sgm is not installed"),
    ],
)
WORST = pytest.StashKey[dict[str, tuple[float, str]]]()


@pytest.fixture(scope="session", params=NAMES)
def golden(request: pytest.FixtureRequest) -> GoldenModel:
    return golden_model(request.param)


@pytest.fixture(scope="session", params=["native", SGM])
def engine(request: pytest.FixtureRequest, golden: GoldenModel) -> Engine:
    """Return each engine with each small model."""
    return load_engine(golden.config, golden.checkpoint, replace(CPU, provider=request.param))


@pytest.fixture(scope="session")
def small_engine() -> NativeEngine:
    """Return the native engine with the small model that has a temporal decoder."""
    model = golden_model("tiny_svd")
    loaded = load_engine(model.config, model.checkpoint, CPU)
    assert isinstance(loaded, NativeEngine)
    return loaded


@pytest.fixture
def assert_golden(request: pytest.FixtureRequest, golden: GoldenModel) -> Callable[..., None]:
    """Return a function that compares a tensor with the recorded one and records the largest error for the summary."""
    provider = "sgm" if request.node.get_closest_marker("sgm") else "native"

    def compare(name: str, computed: Tensor, expected: Tensor | None = None) -> None:
        error = relative_error(computed, golden.recorded[name] if expected is None else expected)
        worst = request.config.stash.setdefault(WORST, {})
        worst[provider] = max(worst.get(provider, (0.0, "")), (error, f"{golden.name}: {name}"))
        assert error <= 1e-4, f"{name} differs from the reference by {error:.1e} of its norm"

    return compare


@pytest.fixture(autouse=True)
def _same_global_generator() -> None:
    """Seed torch's global generator, so that code that wrongly depends on it fails reproducibly."""
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for provider, (error, name) in config.stash.get(WORST, {}).items():
        terminalreporter.write_line(f"farthest from the reference, {provider} engine: {error:.1e}, {name}")
