"""Element-wise kernels in Triton: each number is read and written once, and computed in float32."""

# pyright: basic
# Triton compiles these functions instead of running them as Python; its API is untyped.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS = 32, 128
"""Size of a block: tokens and channels."""


@triton.jit
def _affine(
    x,
    scale,
    shift,
    out,
    inner,
    channels,
    x_outer,
    x_inner,
    coefficients,
    SILU: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    blocks = tl.cdiv(inner, R)
    outer, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    rows = block * R + tl.arange(0, R)
    columns = tl.program_id(1) * C + tl.arange(0, C)
    inside = columns < channels
    both = (rows < inner)[:, None] & inside[None, :]
    offsets = outer.to(tl.int64) * x_outer + rows.to(tl.int64)[:, None] * x_inner + columns[None, :]
    a = tl.load(scale + outer * coefficients + columns, inside, 0.0)
    b = tl.load(shift + outer * coefficients + columns, inside, 0.0)
    y = tl.load(x + offsets, both, 0.0).to(tl.float32) * a[None, :] + b[None, :]
    if SILU:
        y = y / (1 + tl.exp(-y))
    written = (outer.to(tl.int64) * inner + rows.to(tl.int64))[:, None] * channels + columns[None, :]
    tl.store(out + written, y.to(out.dtype.element_ty), both)


@triton.jit
def _gate(both, out, rows, width, R: tl.constexpr, C: tl.constexpr):
    row = (tl.program_id(0) * R + tl.arange(0, R)).to(tl.int64)[:, None]
    column = (tl.program_id(1) * C + tl.arange(0, C))[None, :]
    inside = (row < rows) & (column < width)
    value = tl.load(both + row * 2 * width + column, inside, 0.0).to(tl.float32)
    gate = tl.load(both + row * 2 * width + width + column, inside, 0.0).to(tl.float32)
    gated = value * gate * 0.5 * (1 + tl.erf(gate * 0.7071067811865476))
    tl.store(out + row * width + column, gated.to(out.dtype.element_ty), inside)


class TritonKernels:
    """Triton implementation of `img2vid.engine.fast.kernels.Kernels`."""

    def affine(self, x: Tensor, scale: Tensor, shift: Tensor, *, silu: bool) -> Tensor:
        """See `Kernels`; a strided x is read without a copy if two strides describe its rows."""
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        channels = x.shape[-1]
        rows = x.flatten(1, -2) if x.ndim > 2 else x[:, None]
        if rows.stride(-1) != 1:
            rows = rows.contiguous()
        outer, inner = rows.shape[:2]
        grid = (outer * triton.cdiv(inner, ROWS), triton.cdiv(channels, COLUMNS))
        per_outer = channels if len(scale) > 1 else 0
        strides = (rows.stride(0), rows.stride(1))
        run: Any = _affine[grid]
        run(
            rows, scale.contiguous(), shift.contiguous(), out, inner, channels, *strides, per_outer, silu, ROWS, COLUMNS
        )
        return out

    def gate(self, both: Tensor) -> Tensor:
        """See `Kernels`."""
        rows, width = both.shape[0], both.shape[1] // 2
        out = torch.empty(rows, width, dtype=both.dtype, device=both.device)
        run: Any = _gate[(triton.cdiv(rows, ROWS), triton.cdiv(width, COLUMNS))]
        run(both.contiguous(), out, rows, width, ROWS, COLUMNS)
        return out
