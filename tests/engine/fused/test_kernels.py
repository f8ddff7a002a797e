"""Element-wise work: every way to do it gives the same, and a way that fails gives way to the plain one."""

import logging
import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from img2vid import paths
from img2vid.engine.fused.kernels import Guarded, Kernels, PlainKernels, choose_kernels

IN_TRITONS_INTERPRETER = """
import torch
from img2vid.engine.fused.kernels import PlainKernels
from img2vid.engine.fused.triton_kernels import TritonKernels

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


def test_the_plain_way() -> None:
    check(PlainKernels())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_formats_are_rounded_once(dtype: torch.dtype) -> None:
    """A large shift takes nothing away from small differences."""
    x, scale, shift = draw(1, 50, 32).to(dtype), torch.full((1, 32), 1.0), torch.full((1, 32), 1e-4)
    found = PlainKernels().affine(x, 3000 * scale, -3000 * x[0, :1].float() + shift, silu=False)
    exact = 3000 * x.double() - 3000 * x[0, 0].double() + 1e-4
    torch.testing.assert_close(found.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-3)


def test_compiled_on_request() -> None:
    check(choose_kernels(torch.device("cpu"), compiled=True))


def test_what_fails_gives_way_to_the_plain_way_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def broken(*given: object) -> Tensor:
        calls.append(1)
        raise RuntimeError("no compiler\nwas found")

    kernels = Guarded(PlainKernels(broken, broken), "torch.compile")
    with caplog.at_level(logging.WARNING):
        check(kernels)
    assert len(calls) == 1
    assert [r.getMessage() for r in caplog.records] == [
        "torch.compile does not work here and is not used: no compiler was found"
    ]


def test_running_out_of_memory_is_no_reason_to_change_the_way() -> None:
    def full(*given: object) -> Tensor:
        raise torch.cuda.OutOfMemoryError("out of memory")

    kernels = Guarded(PlainKernels(full, full), "Triton")
    for _ in range(2):
        with pytest.raises(torch.cuda.OutOfMemoryError):
            kernels.gate(draw(2, 4))


@pytest.mark.skipif(sys.platform != "linux", reason="Triton is for Linux")
def test_tritons_kernels_in_its_interpreter() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(paths.PROJECT)}
    found = subprocess.run(
        [sys.executable, "-c", IN_TRITONS_INTERPRETER], env=environment, capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "equal", found.stderr
