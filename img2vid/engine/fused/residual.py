"""Residual blocks of a clip: one over the places of each frame, then one over the frames of each place."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.fused.budget import Budget
from img2vid.engine.fused.convs import Conv, Linear, TimeConv
from img2vid.engine.fused.norms import Moments, Norm
from img2vid.engine.fused.strips import norm_silu_conv, rows_of
from img2vid.engine.fused.weights import expect

Frames = Callable[[slice], Tensor]
"""Gives some of a clip's frames, (f, h, w, c)."""


class FrameResidual(nn.Module):
    """Two convolutions around a residual; frames do not see each other."""

    def __init__(
        self, norms: tuple[nn.Module, nn.Module], convs: tuple[nn.Module, nn.Module], skip: nn.Module, budget: Budget
    ) -> None:
        super().__init__()
        (norm1, norm2), (conv1, conv2) = norms, convs
        self.norm1, self.norm2 = Norm(expect(nn.GroupNorm, norm1)), Norm(expect(nn.GroupNorm, norm2))
        self.conv1, self.conv2 = Conv(expect(nn.Conv2d, conv1)), Conv(expect(nn.Conv2d, conv2))
        self.skip = Linear(skip) if isinstance(skip, nn.Conv2d) else None
        self.budget = budget

    def forward(self, frames: Frames, num_frames: int, shift: Tensor | None, moments: Moments) -> Tensor:
        """(t, h, w, m) from `num_frames` frames (t, h, w, c), which are asked for a few at a time.

        shift: (m,) is added behind the first convolution. `moments` hears of the result.
        """
        bias = None if shift is None else shift + self.conv1.bias
        x: Tensor | None = frames(slice(0, 1))
        size = x[..., 0].numel() * max(x.shape[-1], len(self.conv1.bias)) * x.element_size()
        whole: Tensor | None = None
        for span in self.budget.spans(num_frames, size):
            if x is None or span != slice(0, 1):
                x = frames(span)
            y = self._in_strips(x, bias) if size > 4 * self.budget.bytes else self._at_once(x, bias)
            x = None  # a large frame is not kept while the next one is made
            moments.add_frames(y)
            if len(y) == num_frames:
                return y
            whole = y.new_empty(num_frames, *y.shape[1:]) if whole is None else whole
            whole[span] = y
        assert whole is not None
        return whole

    def _at_once(self, x: Tensor, bias: Tensor | None) -> Tensor:
        h = self.conv1(self.norm1.silu(x), bias)
        h = self.conv2(self.norm2.silu(h))
        return h.add_(x) if self.skip is None else self.skip.plus(x, h)

    def _in_strips(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """The same for one large frame, a few rows at a time."""
        h = x.new_empty(*x.shape[:-1], self.conv1.weight.shape[0])
        norm_silu_conv(x, self.norm1, self.conv1, h, self.budget, bias=bias)
        y = torch.empty_like(h)
        for rows in rows_of(x, self.budget):
            y[:, rows] = x[:, rows] if self.skip is None else self.skip(x[:, rows])
        norm_silu_conv(h, self.norm2, self.conv2, y, self.budget, add=True)
        return y


class TimeResidual(nn.Module):
    """Two convolutions along time around a residual, whose share in the result is folded into the second one."""

    def __init__(self, norms: tuple[nn.Module, nn.Module], convs: tuple[TimeConv, TimeConv], budget: Budget) -> None:
        super().__init__()
        norm1, norm2 = norms
        self.norm1, self.norm2 = Norm(expect(nn.GroupNorm, norm1)), Norm(expect(nn.GroupNorm, norm2))
        self.conv1, self.conv2 = convs
        self.budget = budget

    def forward(self, x: Tensor, shift: Tensor | None, moments: Moments) -> Tensor:
        """Changes a clip (t, h, w, c) of the given moments in its place and returns it. shift: as above."""
        if not self.conv1.pointwise:
            return self._at_once(x, shift, moments)
        t, height, width, channels = x.shape
        places = x.view(t, 1, height * width, channels)
        spans = list(self.budget.spans(height * width, t * channels * x.element_size()))
        bias = None if shift is None else shift + self.conv1.bias
        h = torch.empty_like(places)
        scale, offset = self.norm1.coefficients(moments)
        moments = Moments()
        for span in spans:
            part = F.silu(torch.addcmul(offset, places[:, :, span], scale), inplace=True)
            part = self.conv1(part, bias)
            moments.add_frames(part)
            h[:, :, span] = part
        scale, offset = self.norm2.coefficients(moments)
        for span in spans:
            part = F.silu(torch.addcmul(offset, h[:, :, span], scale), inplace=True)
            places[:, :, span] += self.conv2(part)
        return x

    def _at_once(self, x: Tensor, shift: Tensor | None, moments: Moments) -> Tensor:
        scale, offset = self.norm1.coefficients(moments)
        h = self.conv1(F.silu(torch.addcmul(offset, x, scale)), None if shift is None else shift + self.conv1.bias)
        moments = Moments()
        moments.add_frames(h)
        scale, offset = self.norm2.coefficients(moments)
        return x.add_(self.conv2(F.silu(torch.addcmul(offset, h, scale))))
