"""What happens element by element between matrix products and convolutions, by the best way that there is.

The plain way always works. Triton's kernels read and write every number once, and are used where Triton exists, which
it does on Linux with an NVIDIA card. `torch.compile` builds such kernels of the plain functions, on request.
"""

import importlib.util
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

logger = logging.getLogger(__name__)


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


class Guarded:
    """Uses `fast` until it fails for the first time, then the plain way; running out of memory is no such failure."""

    def __init__(self, fast: Kernels, name: str) -> None:
        self._fast, self._plain = fast, PlainKernels()
        self._name = name
        self._failed = False

    def affine(self, x: Tensor, scale: Tensor, shift: Tensor, *, silu: bool) -> Tensor:
        """See `Kernels`."""
        return self._try(lambda kernels: kernels.affine(x, scale, shift, silu=silu))

    def gate(self, both: Tensor) -> Tensor:
        """See `Kernels`."""
        return self._try(lambda kernels: kernels.gate(both))

    def _try(self, work: Callable[[Kernels], Tensor]) -> Tensor:
        if self._failed:
            return work(self._plain)
        try:
            return work(self._fast)
        except (torch.cuda.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # a compiler that is missing or broken fails in any way it likes
            reason = " ".join(str(error).split())[:300]
            logger.warning("%s does not work here and is not used: %s", self._name, reason, exc_info=True)
            self._failed = True
        return work(self._plain)


def choose_kernels(device: torch.device, *, compiled: bool) -> Kernels:
    """Compiled ones where they are asked for, else Triton's on a card where it is installed, else the plain ones."""
    if compiled:
        compile_function = cast(Any, torch.compile)
        built = (compile_function(function, dynamic=True) for function in (plain_affine, plain_gate))
        return Guarded(PlainKernels(*built), "torch.compile")
    if device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        from img2vid.engine.fused.triton_kernels import TritonKernels

        return Guarded(TritonKernels(), "Triton")
    return PlainKernels()
