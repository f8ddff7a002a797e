"""Convolutions over the pixels of a frame and over the frames of a clip."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.fast import ops
from img2vid.engine.fast.tile_plan import TilePlan
from img2vid.engine.fast.weights import bias_of, frozen, hold


class Conv(nn.Module):
    """Convolution of feature maps (n, h, w, c) that keeps their size, or halves it with a stride of 2."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias = bias_of(conv)
        hold(self, "weight", [conv.weight], self.bias, ops.channels_last)
        self.padding, self.stride = (conv.kernel_size[0] // 2, conv.kernel_size[1] // 2), conv.stride[0]

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Convolve (n, h, w, c) to (n, h', w', m). bias: (m,) or (n, m), replaces the layer's own."""
        return ops.conv(x, self.weight, self.bias if bias is None else bias, self.padding, self.stride)

    def row_tile(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Convolve a row tile (1, rows + 2, w, c), which includes one neighbor row above and one below."""
        return ops.conv(x, self.weight, self.bias if bias is None else bias, (0, self.padding[1]))


class Linear(nn.Module):
    """Linear layer over the channels of feature maps or tokens; also replaces 1 x 1 convolutions."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias = bias_of(layer)
        hold(self, "weight", [layer.weight], self.bias, lambda weight: weight.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., c) to (..., m)."""
        return ops.linear(x, self.weight, self.bias)

    def plus(self, x: Tensor, summand: Tensor) -> Tensor:
        """Return the layer's output plus `summand` (..., m), which may be overwritten."""
        return ops.linear_plus(x, self.weight, self.bias, summand)


class TimeConv(nn.Module):
    """Convolution over the frames of a clip, usually one pixel wide.

    scale: factor of the result, folded into the weights.
    """

    def __init__(self, conv: nn.Conv3d, scale: Tensor | None = None) -> None:
        super().__init__()
        bias = bias_of(conv)
        self.pointwise = conv.kernel_size[1:] == (1, 1)
        """True if the kernel is one pixel wide and high."""
        self.weight: Tensor
        hold(self, "weight", [conv.weight], bias, self._arrange, scale)
        self.bias = frozen(bias if scale is None else bias * scale.to(bias.dtype))
        self.padding = [size // 2 for size in conv.kernel_size]

    def _arrange(self, weight: Tensor) -> Tensor:
        return ops.channels_last(weight[..., 0]) if self.pointwise else weight

    def forward(self, clip: Tensor, bias: Tensor | None = None) -> Tensor:
        """Convolve (t, h, w, c) to (t, h, w, m). If pointwise, h may be 1 and w any number of pixels.

        bias: (m,) or (t, m), replaces the layer's own.
        """
        if ops.is_per_frame(bias):
            return self(clip, torch.zeros_like(self.bias)).add_(bias[:, None, None])
        bias = self.bias if bias is None else bias
        if self.pointwise:
            t, h, w, c = clip.shape
            return ops.conv(clip.view(1, t, h * w, c), self.weight, bias, (self.padding[0], 0)).view(t, h, w, -1)
        y = F.conv3d(clip.permute(3, 0, 1, 2)[None], self.weight, bias, padding=self.padding)
        return y[0].permute(1, 2, 3, 0).contiguous()


class UpsampleConv(nn.Module):
    """Nearest-neighbor 2x upsampling and the 3 x 3 convolution after it, as four 2 x 2 convolutions of the small map.

    Two of three adjacent rows of the upsampled map are equal, so the kernel rows that they meet are added in advance.
    The same holds for columns. This takes 16 multiplications instead of 36 for four pixels.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias = bias_of(conv)
        hold(self, "weight", [conv.weight], self.bias, finish=_phases)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample and convolve (n, h, w, c) to (n, 2 h, 2 w, m)."""
        n, h, w, _ = x.shape
        padded = F.pad(x, (0, 0, 1, 1, 1, 1))
        y = x.new_empty(n, h, 2, w, 2, self.weight.shape[1])
        for phase in range(4):
            row, column = divmod(phase, 2)
            window = padded[:, row : row + h + 1, column : column + w + 1]
            y[:, :, row, :, column] = ops.conv(window, self.weight[phase], self.bias, (0, 0))
        return y.view(n, 2 * h, 2 * w, -1)


def by_frames(layer: Callable[[Tensor], Tensor], x: Tensor, budget: TilePlan) -> Tensor:
    """Apply `layer` to frames (t, h, w, c), a few at a time."""
    spans = budget.spans(len(x), x[0].numel() * x.element_size())
    if len(spans) == 1:
        return layer(x)
    out: list[Tensor] = []
    lock = threading.Lock()

    def work(span: slice) -> None:
        y = layer(x[span])
        with lock:  # the output shape is known when the first span is done
            if not out:
                out.append(y.new_empty(len(x), *y.shape[1:]))
        out[0][span] = y

    budget.each(work, spans)
    return out[0]


def _phases(weight: Tensor) -> Tensor:
    """Return the four 2 x 2 kernels (4, m, c, 2, 2) of a 3 x 3 kernel (m, c, 3, 3)."""
    kernel = weight.float()
    phases = [_pairs(_pairs(kernel, 2, row), 3, column) for row in (0, 1) for column in (0, 1)]
    return torch.stack([ops.channels_last(phase.to(weight.dtype)) for phase in phases])


def _pairs(kernel: Tensor, axis: int, phase: int) -> Tensor:
    """Add the two of three taps along an axis that meet the same pixel: the last two in phase 0, else the first two."""
    first, second, third = kernel.unbind(axis)
    return torch.stack([first, second + third] if phase == 0 else [first + second, third], axis)
