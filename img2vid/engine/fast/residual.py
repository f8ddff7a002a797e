"""Residual blocks of a clip: one over the pixels of each frame, then one over the frames of each pixel."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from img2vid.engine.fast.convolutions import Conv, Linear, TimeConv
from img2vid.engine.fast.norms import Moments, Norm
from img2vid.engine.fast.ops import is_per_frame
from img2vid.engine.fast.row_tiles import norm_silu_conv, rows_of
from img2vid.engine.fast.tile_plan import TilePlan
from img2vid.engine.fast.weights import expect
from img2vid.engine.nets.blocks import ResBlock


@dataclass(frozen=True)
class Frames:
    """Frames of a clip (t, h, w, c), computed a few at a time on demand.

    into: optional clip of the same shape to write results to; its frames are not needed after they are taken.
    """

    shape: tuple[int, int, int, int]
    dtype: torch.dtype
    take: Callable[[slice], Tensor]
    into: Tensor | None = None

    @property
    def frame_bytes(self) -> int:
        """Size of one frame in bytes."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


class FrameResidual(nn.Module):
    """Residual block of two convolutions that do not mix frames."""

    def __init__(
        self, norms: tuple[nn.Module, nn.Module], convs: tuple[nn.Module, nn.Module], skip: nn.Module, budget: TilePlan
    ) -> None:
        super().__init__()
        (norm1, norm2), (conv1, conv2) = norms, convs
        self.norm1, self.norm2 = Norm(expect(nn.GroupNorm, norm1), budget), Norm(expect(nn.GroupNorm, norm2), budget)
        self.conv1, self.conv2 = Conv(expect(nn.Conv2d, conv1)), Conv(expect(nn.Conv2d, conv2))
        self.skip = Linear(skip) if isinstance(skip, nn.Conv2d) else None
        self.budget = budget

    def forward(self, frames: Frames, shift: Tensor | None) -> tuple[Tensor, Moments]:
        """Return (t, h, w, m) and its moments. shift: (m,) or (t, m), added after the first convolution."""
        bias = None if shift is None else shift + self.conv1.bias
        t, height, width, channels = frames.shape
        widest = frames.frame_bytes * max(channels, len(self.conv1.bias)) // channels
        spans = self.budget.spans(t, widest)
        step = self._by_row_tiles if widest > 4 * self.budget.bytes else self._at_once
        into = None if self.skip is not None else frames.into
        if into is None and len(spans) == 1:
            y = step(frames.take(spans[0]), bias)
            return y, Moments.of_clip(y)
        y = self.conv1.bias.new_empty(t, height, width, len(self.conv1.bias)) if into is None else into

        def work(span: slice) -> Moments:
            y[span] = step(frames.take(span), bias[span] if is_per_frame(bias) else bias)
            return Moments.of_clip(y[span])

        return y, Moments.joined(self.budget.each(work, spans))

    def _at_once(self, x: Tensor, bias: Tensor | None) -> Tensor:
        h = self.conv1(self.norm1.silu(x), bias)
        h = self.conv2(self.norm2.silu(h))
        return h.add_(x) if self.skip is None else self.skip.plus(x, h)

    def _by_row_tiles(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Process one large frame, a few rows at a time."""
        h = x.new_empty(*x.shape[:-1], self.conv1.weight.shape[0])
        norm_silu_conv(x, self.norm1, self.conv1, h, self.budget, bias=bias)
        y = torch.empty_like(h)

        def skip_branch(rows: slice) -> None:
            y[:, rows] = x[:, rows] if self.skip is None else self.skip(x[:, rows])

        self.budget.each(skip_branch, rows_of(x, self.budget))
        norm_silu_conv(h, self.norm2, self.conv2, y, self.budget, add=True)
        return y


class TimeResidual(nn.Module):
    """Residual block of two convolutions over time; its blend weight `share` is folded into the second one."""

    def __init__(self, block: ResBlock, share: Tensor, budget: TilePlan) -> None:
        super().__init__()
        self.norm1 = Norm(expect(nn.GroupNorm, block.in_layers[0]), budget)
        self.norm2 = Norm(expect(nn.GroupNorm, block.out_layers[0]), budget)
        self.conv1 = TimeConv(expect(nn.Conv3d, block.in_layers[2]))
        self.conv2 = TimeConv(expect(nn.Conv3d, block.out_layers[3]), share)
        self.budget = budget

    def forward(self, x: Tensor, shift: Tensor | None, moments: Moments) -> Tensor:
        """Update a clip (t, h, w, c) with the given moments in place and return it. shift: as in `FrameResidual`."""
        if not self.conv1.pointwise:
            return self._at_once(x, shift, moments)
        t, height, width, channels = x.shape
        pixels = x.view(t, 1, height * width, channels)
        spans = self.budget.spans(height * width, t * channels * x.element_size())
        bias = None if shift is None else shift + self.conv1.bias
        h = self.budget.buffer_like(pixels)
        coefficients1 = self.norm1.coefficients(moments)

        def first(span: slice) -> Moments:
            part = self.conv1(self.norm1.silu_with(pixels[:, :, span], coefficients1), bias)
            h[:, :, span] = part
            return Moments.of_clip(part)

        coefficients2 = self.norm2.coefficients(Moments.joined(self.budget.each(first, spans)))

        def second(span: slice) -> None:
            pixels[:, :, span] += self.conv2(self.norm2.silu_with(h[:, :, span], coefficients2))

        self.budget.each(second, spans)
        return x

    def _at_once(self, x: Tensor, shift: Tensor | None, moments: Moments) -> Tensor:
        h = self.norm1.silu_with(x, self.norm1.coefficients(moments))
        h = self.conv1(h, None if shift is None else shift + self.conv1.bias)
        return x.add_(self.conv2(self.norm2.silu_with(h, self.norm2.coefficients(Moments.of_clip(h)))))
