"""What happens element by element between matrix products and convolutions, by the best way that there is.

The plain way always works. Triton's kernels read and write every number once, and are used where Triton exists, which
it does on Linux with an NVIDIA card. `torch.compile` builds such kernels of the plain functions, on request.
"""

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from img2vid.engine.fast import trials
from img2vid.engine.fast.ops import ONEDNN, try_onednn
from img2vid.engine.interface import DTYPES


class Kernels(Protocol):
    """Element-wise work on tokens or maps, channels last."""

    def affine(self, x: Tensor, scale: Tensor, shift: Tensor, *, silu: bool) -> Tensor:
        """x * scale + shift, with SiLU behind it or not: (n, ..., c) -> the same shape, contiguous.

        scale, shift: (n, c) or (1, c) in float32, in which all is computed.
        """
        ...

    def gate(self, both: Tensor) -> Tensor:
        """value * GELU(gate): (rows, 2 m), values and gates side by side -> (rows, m)."""
        ...


def plain_affine(x: Tensor, scale: Tensor, shift: Tensor, silu: bool) -> Tensor:
    """See `Kernels.affine`; scale and shift broadcast to x."""
    y = torch.addcmul(shift, x, scale) if x.dtype == torch.float32 else x.float().mul_(scale).add_(shift)
    return (F.silu(y, inplace=True) if silu else y).to(x.dtype)


def plain_gate(both: Tensor) -> Tensor:
    """See `Kernels.gate`."""
    value, gate = both.chunk(2, dim=-1)
    return F.gelu(gate).mul_(value)


class PlainKernels:
    """torch's own operations, or what somebody made of them."""

    def __init__(
        self,
        affine: Callable[[Tensor, Tensor, Tensor, bool], Tensor] = plain_affine,
        gate: Callable[[Tensor], Tensor] = plain_gate,
    ) -> None:
        self._affine, self._gate = affine, gate

    def affine(self, x: Tensor, scale: Tensor, shift: Tensor, *, silu: bool) -> Tensor:
        """See `Kernels`."""
        ones = [1] * (x.ndim - 2)
        rows = [part.view(len(part), *ones, -1) for part in (scale, shift)]
        return self._affine(x, rows[0], rows[1], silu)

    def gate(self, both: Tensor) -> Tensor:
        """See `Kernels`."""
        return self._gate(both)


class TriedKernels:
    """Fast kernels in the number formats in which they pass their trial, the plain ones in all others.

    Kernels that fail later are left out from then on, unless what they ran out of is memory.
    """

    def __init__(self, fast: Kernels, name: str) -> None:
        self._fast, self._plain = fast, PlainKernels()
        self.name = name

    def affine(self, x: Tensor, scale: Tensor, shift: Tensor, *, silu: bool) -> Tensor:
        """See `Kernels`."""
        return self._run(x, lambda kernels: kernels.affine(x, scale, shift, silu=silu))

    def gate(self, both: Tensor) -> Tensor:
        """See `Kernels`."""
        return self._run(both, lambda kernels: kernels.gate(both))

    def _run(self, x: Tensor, work: Callable[[Kernels], Tensor]) -> Tensor:
        if not trials.usable(self.name, self.attempt, x.device, x.dtype):
            return work(self._plain)
        try:
            return work(self._fast)
        except Exception as error:
            if trials.out_of_memory(error):
                raise
            trials.disable(self.name, x.device, x.dtype, error)
        return work(self._plain)

    def attempt(self, device: torch.device, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """See `trials.Attempt`."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(2, 3, 4, 64, generator=generator).to(device, dtype)
        both = torch.randn(6, 80, generator=generator).to(device, dtype)
        scale, shift = torch.randn(2, 2, 64, generator=generator).to(device)
        works: list[Callable[[Kernels], Tensor]] = [
            lambda kernels: kernels.affine(x, scale, shift, silu=False),
            lambda kernels: kernels.affine(x, scale, shift, silu=True),
            lambda kernels: kernels.gate(both),
        ]
        return [(work(self._fast), work(self._plain)) for work in works]


def choose_kernels(device: torch.device, *, compiled: bool) -> Kernels:
    """Return compiled kernels on request, else Triton's on a card if it is installed, else the plain ones."""
    if compiled:
        return TriedKernels(_compiled_kernels(), "torch.compile")
    if device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        from img2vid.engine.fast.triton_kernels import TritonKernels

        return TriedKernels(TritonKernels(), "Triton")
    return PlainKernels()


def try_fast_paths(device: torch.device) -> list[trials.Trial]:
    """Try the fast paths of a device in all number formats and return the outcomes; those made on request are not."""
    paths: dict[str, trials.Attempt] = {}
    kernels = choose_kernels(device, compiled=False)
    if isinstance(kernels, TriedKernels):
        paths[kernels.name] = kernels.attempt
    if device.type == "cpu":
        paths[ONEDNN] = try_onednn
    for path, attempt in paths.items():
        for dtype in DTYPES.values():
            trials.usable(path, attempt, device, dtype)
    return [trial for trial in trials.outcomes() if trial.device == device.type and trial.path in paths]


@cache
def _compiled_kernels() -> PlainKernels:
    """Compile once per process: all models share the kernels."""
    compile_function = cast(Any, torch.compile)
    return PlainKernels(*(compile_function(function, dynamic=True) for function in (plain_affine, plain_gate)))
