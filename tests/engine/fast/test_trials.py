"""Fast paths are used only if their trial passes."""

import logging
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from img2vid.engine.fast import ops, trials

CPU = torch.device("cpu")
PAIR = torch.tensor([3.0, 4.0])


@pytest.fixture(autouse=True)
def _no_earlier_trials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(trials, "_outcomes", {})
    yield


def attempt(found: Tensor, calls: list[torch.dtype] | None = None) -> trials.Attempt:
    def run(device: torch.device, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        if calls is not None:
            calls.append(dtype)
        return [(PAIR.to(dtype), PAIR.to(dtype)), (found.to(dtype), PAIR.to(dtype))]

    return run


def fail(error: Exception) -> trials.Attempt:
    def run(device: torch.device, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        raise error

    return run


def test_a_matching_path_is_used_and_tried_once_per_format() -> None:
    calls: list[torch.dtype] = []
    for _ in range(3):
        for dtype in (torch.float32, torch.bfloat16):
            assert trials.usable("fast", attempt(PAIR, calls), CPU, dtype)
    assert calls == [torch.float32, torch.bfloat16]
    assert [(trial.path, trial.device, trial.fault) for trial in trials.outcomes()] == [("fast", "cpu", "")] * 2


@pytest.mark.parametrize(
    ("dtype", "within", "beyond"),
    [(torch.float32, 4e-6, 4e-5), (torch.float16, 1e-3, 1e-2), (torch.bfloat16, 0.01, 0.1)],
)
def test_only_errors_beyond_rounding_are_faults(dtype: torch.dtype, within: float, beyond: float) -> None:
    assert trials.usable("near", attempt(PAIR * (1 + within)), CPU, dtype)
    assert not trials.usable("far", attempt(PAIR * (1 + beyond)), CPU, dtype)
    assert "results differ by" in trials.outcomes()[-1].fault


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (torch.tensor([3.0, torch.nan]), "results differ by nan from PyTorch's own"),
        (torch.zeros(3), "ValueError: got (3,) torch.float32, expected (2,) torch.float32"),
    ],
)
def test_wrong_results_are_detected_and_logged(found: Tensor, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert not trials.usable("odd", attempt(found), CPU, torch.float32)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"odd not used on cpu in float32: {fault}"
    ]


def test_an_operator_without_instructions_is_disabled_in_that_format_only() -> None:
    error = RuntimeError("could not create a primitive descriptor\nfor the inner product forward propagation primitive")
    assert not trials.usable("op", fail(error), CPU, torch.bfloat16)
    assert trials.usable("op", attempt(PAIR), CPU, torch.float32)
    assert [trial.fault for trial in trials.outcomes()] == [
        "RuntimeError: could not create a primitive descriptor for the inner product forward propagation primitive",
        "",
    ]


def test_a_trial_that_runs_out_of_memory_decides_nothing() -> None:
    with pytest.raises(MemoryError):
        trials.usable("op", fail(MemoryError()), CPU, torch.float32)
    assert trials.usable("op", attempt(PAIR), CPU, torch.float32)


def test_a_path_that_fails_later_is_disabled(caplog: pytest.LogCaptureFixture) -> None:
    assert trials.usable("op", attempt(PAIR), CPU, torch.float32)
    for _ in range(2):
        trials.disable("op", CPU, torch.float32, RuntimeError("no\nmore"))
    assert not trials.usable("op", attempt(PAIR), CPU, torch.float32)
    assert [record.getMessage() for record in caplog.records] == [
        "op not used on cpu in float32: RuntimeError: no more"
    ]


def test_concurrent_threads_wait_for_one_trial() -> None:
    calls: list[torch.dtype] = []
    entered, go_on = threading.Event(), threading.Event()

    def slow(device: torch.device, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        calls.append(dtype)
        entered.set()
        assert go_on.wait(30)
        return [(PAIR, PAIR)]

    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(trials.usable("op", slow, CPU, torch.float32))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert entered.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert (found, calls) == ([True] * 4, [torch.float32])


def test_a_missing_requirement_is_logged_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    lacking = fail(trials.Unsupported("this processor lacks instructions for this number format"))
    with caplog.at_level(logging.INFO):
        assert not trials.usable("op", lacking, CPU, torch.float16)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.INFO, "op not used on cpu in float16: this processor lacks instructions for this number format")
    ]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (
            RuntimeError("could not create a primitive descriptor"),
            "this processor lacks instructions for this number format",
        ),
        (
            RuntimeError("mkldnn: bf16 path needs the cpu support avx512"),
            "this processor lacks instructions for this number format",
        ),
        (AttributeError("'_OpNamespace' 'mkldnn' has no attribute"), "this PyTorch version lacks the operators"),
        (RuntimeError("something else"), "RuntimeError: something else"),
    ],
)
def test_products_work_without_onednns_operators(error: Exception, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Operators:
        def __getattr__(self, name: str) -> object:
            raise error

    monkeypatch.setattr(ops, "_onednn", Operators())
    generator = torch.Generator().manual_seed(0)
    x, weight, summand = (torch.randn(5, 5, generator=generator) for _ in range(3))
    assert not ops.by_onednn(x)
    assert trials.outcomes()[-1].fault == fault
    torch.testing.assert_close(ops.linear(x, weight), x @ weight.T)
    torch.testing.assert_close(
        ops.linear_plus(x, weight, weight[0], summand.clone()), x @ weight.T + weight[0] + summand
    )
