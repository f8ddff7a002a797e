"""Convolutions over the places of a frame and over the frames of a place."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.fast import ops
from img2vid.engine.fast.tile_plan import TilePlan
from img2vid.engine.fast.weights import bias_of, frozen


class Conv(nn.Module):
    """A convolution of maps (n, h, w, c) that keeps their size, or halves it with a stride of 2."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = frozen(ops.channels_last(conv.weight)), bias_of(conv)
        self.padding, self.stride = (conv.kernel_size[0] // 2, conv.kernel_size[1] // 2), conv.stride[0]

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(n, h, w, c) -> (n, h', w', m); `bias` (m,) takes the place of the layer's own."""
        return ops.conv(x, self.weight, self.bias if bias is None else bias, self.padding, self.stride)

    def row_tile(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """The same for rows (1, rows + 2, w, c) that bring the neighbours above and below with them."""
        return ops.conv(x, self.weight, self.bias if bias is None else bias, (0, self.padding[1]))


class Linear(nn.Module):
    """A matrix product over the channels of maps or tokens; a 1 x 1 convolution is one too."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = frozen(layer.weight.flatten(1)), bias_of(layer)

    def forward(self, x: Tensor) -> Tensor:
        """(..., c) -> (..., m)."""
        return ops.linear(x, self.weight, self.bias)

    def plus(self, x: Tensor, summand: Tensor) -> Tensor:
        """The same, added to `summand` (..., m), which may be overwritten."""
        return ops.linear_plus(x, self.weight, self.bias, summand)


class TimeConv(nn.Module):
    """A convolution over the frames of a clip, mostly of one place at a time.

    scale: what its result is multiplied with, folded into the weights.
    """

    def __init__(self, conv: nn.Conv3d, scale: Tensor | None = None) -> None:
        super().__init__()
        weight, bias = conv.weight, bias_of(conv)
        if scale is not None:
            weight, bias = weight * scale.to(weight.dtype), bias * scale.to(bias.dtype)
        self.pointwise = conv.kernel_size[1:] == (1, 1)
        """Whether places do not see each other."""
        self.weight = frozen(ops.channels_last(weight[..., 0]) if self.pointwise else weight)
        self.bias = frozen(bias)
        self.padding = [size // 2 for size in conv.kernel_size]

    def forward(self, clip: Tensor, bias: Tensor | None = None) -> Tensor:
        """(t, h, w, c) -> (t, h, w, m), where for a pointwise one h may be 1 and w a few of the places."""
        bias = self.bias if bias is None else bias
        if self.pointwise:
            t, h, w, c = clip.shape
            return ops.conv(clip.view(1, t, h * w, c), self.weight, bias, (self.padding[0], 0)).view(t, h, w, -1)
        y = F.conv3d(clip.permute(3, 0, 1, 2)[None], self.weight, bias, padding=self.padding)
        return y[0].permute(1, 2, 3, 0).contiguous()


class UpsampleConv(nn.Module):
    """Nearest-neighbour doubling and the 3 x 3 convolution behind it, as four 2 x 2 convolutions of the small map.

    Of three neighbouring rows of the doubled map two are equal, so the rows of the kernel that meet them can be added
    beforehand; the same with columns. 16 multiplications instead of 36 for four pixels.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        kernel = conv.weight.float()
        self.bias = bias_of(conv)
        phases = [_pairs(_pairs(kernel, 2, row), 3, column) for row in (0, 1) for column in (0, 1)]
        self.weight = frozen(torch.stack([ops.channels_last(phase.to(conv.weight.dtype)) for phase in phases]))

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, 2 h, 2 w, m)."""
        n, h, w, _ = x.shape
        padded = F.pad(x, (0, 0, 1, 1, 1, 1))
        y = x.new_empty(n, h, 2, w, 2, self.weight.shape[1])
        for phase in range(4):
            row, column = divmod(phase, 2)
            seen = padded[:, row : row + h + 1, column : column + w + 1]
            y[:, :, row, :, column] = ops.conv(seen, self.weight[phase], self.bias, (0, 0))
        return y.view(n, 2 * h, 2 * w, -1)


def by_frames(layer: Callable[[Tensor], Tensor], x: Tensor, budget: TilePlan) -> Tensor:
    """What `layer` makes of frames (t, h, w, c), a few at a time."""
    spans = budget.spans(len(x), x[0].numel() * x.element_size())
    if len(spans) == 1:
        return layer(x)
    out: list[Tensor] = []
    lock = threading.Lock()

    def work(span: slice) -> None:
        y = layer(x[span])
        with lock:  # the first that is done knows the shape
            if not out:
                out.append(y.new_empty(len(x), *y.shape[1:]))
        out[0][span] = y

    budget.each(work, spans)
    return out[0]


def _pairs(kernel: Tensor, axis: int, phase: int) -> Tensor:
    """Adds the two of three taps along an axis that meet one pixel: the last two in phase 0, else the first two."""
    first, second, third = kernel.unbind(axis)
    return torch.stack([first, second + third] if phase == 0 else [first + second, third], axis)
