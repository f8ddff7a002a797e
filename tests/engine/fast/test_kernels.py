"""Element-wise kernels: all implementations match, and failing kernels fall back to the plain ones."""

import importlib.metadata
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from img2vid import paths
from img2vid.engine.fast.kernels import Kernels, PlainKernels, TriedKernels, plain_gate

IN_TRITONS_INTERPRETER = """
import torch
from img2vid.engine.fast.kernels import PlainKernels
from img2vid.engine.fast.triton_kernels import TritonKernels

plain, fast = PlainKernels(), TritonKernels()
torch.manual_seed(0)
for dtype, tolerance in ((torch.float32, 1e-6), (torch.float16, 1e-3), (torch.bfloat16, 1e-2)):
    for shape, rows in (((2, 5, 7, 40), 2), ((3, 1, 50, 160), 1), ((1, 4, 9, 64), 1)):
        whole = torch.randn(shape).to(dtype)
        scale, shift = torch.randn(2, rows, shape[-1])
        for x in (whole, whole[:, :, 2:6]):
            for silu in (False, True):
                found, expected = (k.affine(x, scale, shift, silu=silu) for k in (fast, plain))
                assert found.dtype == dtype and found.is_contiguous() and found.shape == x.shape
                torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    both = torch.randn(45, 300).to(dtype)
    torch.testing.assert_close(fast.gate(both), plain.gate(both), rtol=2 * tolerance, atol=2 * tolerance)
print("equal")
"""


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def check(kernels: Kernels) -> None:
    x, scale, shift, both = draw(2, 3, 4, 32), draw(2, 32, seed=1), draw(2, 32, seed=2), draw(6, 20, seed=3)
    linear = x * scale[:, None, None] + shift[:, None, None]
    torch.testing.assert_close(kernels.affine(x, scale, shift, silu=False), linear)
    torch.testing.assert_close(kernels.affine(x, scale, shift, silu=True), F.silu(linear))
    one = kernels.affine(x, scale[:1], shift[:1], silu=True)
    torch.testing.assert_close(one, F.silu(x * scale[0] + shift[0]))
    torch.testing.assert_close(kernels.gate(both), both[:, :10] * F.gelu(both[:, 10:]))


def test_plain_kernels() -> None:
    check(PlainKernels())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_formats_are_rounded_once(dtype: torch.dtype) -> None:
    """A large shift does not cancel small differences."""
    x, scale, shift = draw(1, 50, 32).to(dtype), torch.full((1, 32), 1.0), torch.full((1, 32), 1e-4)
    found = PlainKernels().affine(x, 3000 * scale, -3000 * x[0, :1].float() + shift, silu=False)
    exact = 3000 * x.double() - 3000 * x[0, 0].double() + 1e-4
    torch.testing.assert_close(found.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-3)


COMPILED = """
import torch
from test_kernels import check
from img2vid.engine.fast import trials
from img2vid.engine.fast.kernels import choose_kernels

check(choose_kernels(torch.device("cpu"), compiled=True))
print([trial.fault for trial in trials.outcomes()])
"""


@pytest.mark.skipif(os.name == "nt" and shutil.which("cl") is None, reason="needs a C++ compiler")
def test_compiled_on_request() -> None:
    """Run in a separate process: the compiler fails if other tests have imported distutils."""
    search_path = os.pathsep.join([str(paths.PROJECT), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": search_path}
    found = subprocess.run(
        [sys.executable, "-c", COMPILED], env=environment, capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "['']", found.stderr


def broken(*given: object) -> Tensor:
    raise RuntimeError("no compiler\nwas found")


def test_failing_kernels_fall_back_to_plain_ones_and_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    kernels = TriedKernels(PlainKernels(broken, broken), "a broken compiler")
    with caplog.at_level(logging.WARNING):
        check(kernels)
    assert [r.getMessage() for r in caplog.records] == [
        "a broken compiler not used on cpu in float32: RuntimeError: no compiler was found"
    ]


def test_kernels_with_wrong_results_are_not_used() -> None:
    check(TriedKernels(PlainKernels(gate=lambda both: both.chunk(2, -1)[0]), "a wrong kernel"))


def test_kernels_that_fail_after_their_trial_are_disabled(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def fails_at_large(both: Tensor) -> Tensor:
        calls.append(len(both))
        return plain_gate(both) if len(both) < 100 else broken()

    kernels = TriedKernels(PlainKernels(gate=fails_at_large), "a small kernel")
    large = draw(100, 20)
    for _ in range(2):
        torch.testing.assert_close(kernels.gate(large), plain_gate(large))
    assert calls.count(100) == 1
    assert len(caplog.records) == 1


def test_running_out_of_memory_does_not_disable_kernels() -> None:
    def full(both: Tensor) -> Tensor:
        if len(both) < 100:
            return plain_gate(both)
        raise torch.cuda.OutOfMemoryError("out of memory")

    kernels = TriedKernels(PlainKernels(gate=full), "a hungry kernel")
    for _ in range(2):
        with pytest.raises(torch.cuda.OutOfMemoryError):
            kernels.gate(draw(100, 4))


@pytest.mark.skipif(sys.platform != "linux", reason="Triton requires Linux")
def test_tritons_kernels_in_its_interpreter() -> None:
    if importlib.metadata.version("triton").startswith("3.0."):
        pytest.skip("the interpreter of Triton 3.0 computes NaN; on a GPU the trial decides")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(paths.PROJECT)}
    found = subprocess.run(
        [sys.executable, "-c", IN_TRITONS_INTERPRETER], env=environment, capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "equal", found.stderr
