"""Element-wise operations between matrix products and convolutions, with the fastest kernels available.

The plain kernels always work. Triton kernels read and write every number once; Triton exists on Linux with an NVIDIA
GPU. On request, `torch.compile` builds similar kernels from the plain functions.
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
from img2vid.errors import is_out_of_memory


class Kernels(Protocol):
    """Element-wise operations on tokens or feature maps, channels last."""

    def affine(self, x: Tensor, scale: Tensor, shift: Tensor, *, silu: bool) -> Tensor:
        """Return x * scale + shift, followed by SiLU if `silu`: contiguous, of the shape of x, (n, ..., c).

        scale, shift: (n, c) or (1, c) in float32. The computation is in float32.
        """
        ...

    def gate(self, both: Tensor) -> Tensor:
        """Return value * GELU(gate), (rows, m), from values and gates side by side, (rows, 2 m)."""
        ...


def plain_affine(x: Tensor, scale: Tensor, shift: Tensor, silu: bool) -> Tensor:
    """Implement `Kernels.affine`; scale and shift broadcast to x."""
    y = torch.addcmul(shift, x, scale) if x.dtype == torch.float32 else x.float().mul_(scale).add_(shift)
    return (F.silu(y, inplace=True) if silu else y).to(x.dtype)


def plain_gate(both: Tensor) -> Tensor:
    """Implement `Kernels.gate`."""
    value, gate = both.chunk(2, dim=-1)
    return F.gelu(gate).mul_(value)


class PlainKernels:
    """Kernels from torch operations, or from given replacements such as their compiled form."""

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
    """Fast kernels for the number formats in which they pass their trial, with plain kernels as the fallback.

    Kernels that fail after their trial are disabled, unless the error is out of memory.
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

    def _run(self, x: Tensor, operation: Callable[[Kernels], Tensor]) -> Tensor:
        if not trials.usable(self.name, self.attempt, x.device, x.dtype):
            return operation(self._plain)
        try:
            return operation(self._fast)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            trials.disable(self.name, x.device, x.dtype, error)
        return operation(self._plain)

    def attempt(self, device: torch.device, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """See `trials.Attempt`."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(2, 3, 4, 64, generator=generator).to(device, dtype)
        both = torch.randn(6, 80, generator=generator).to(device, dtype)
        scale, shift = torch.randn(2, 2, 64, generator=generator).to(device)
        operations: list[Callable[[Kernels], Tensor]] = [
            lambda kernels: kernels.affine(x, scale, shift, silu=False),
            lambda kernels: kernels.affine(x, scale, shift, silu=True),
            lambda kernels: kernels.gate(both),
        ]
        return [(operation(self._fast), operation(self._plain)) for operation in operations]


def choose_kernels(device: torch.device, *, compiled: bool) -> Kernels:
    """Return compiled kernels on request, else Triton kernels on a GPU if Triton is installed, else plain kernels."""
    if compiled:
        return TriedKernels(_compiled_kernels(), "torch.compile")
    if device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        from img2vid.engine.fast.triton_kernels import TritonKernels

        return TriedKernels(TritonKernels(), "Triton")
    return PlainKernels()


def try_fast_paths(device: torch.device) -> list[trials.Trial]:
    """Try a device's fast paths in all number formats and return the outcomes; compiled kernels are not tried."""
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
    """Return the compiled kernels, which all models of the process share."""
    compile_function = cast(Any, torch.compile)
    return PlainKernels(*(compile_function(function, dynamic=True) for function in (plain_affine, plain_gate)))
