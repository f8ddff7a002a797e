"""Low-memory version of the decoder's residual blocks: the same function in about a third of the memory.

A clip is a list of frames (1, h, w, c), so that each frame is freed after use. Frames are updated in place. The
intermediate result between the two convolutions over time is not stored but computed twice, the first time only for its
moments, which adds a twelfth to the work. Sums are taken in another order, so the last digits may differ.
"""

import torch
from torch import Tensor

from img2vid.engine.fast.convolutions import UpsampleConv
from img2vid.engine.fast.norms import Moments
from img2vid.engine.fast.residual import FrameResidual, TimeResidual
from img2vid.engine.fast.row_tiles import norm_silu_conv, rows_of
from img2vid.engine.fast.tile_plan import TilePlan


def frames_of(clip: Tensor) -> list[Tensor]:
    """Return the frames (1, h, w, c) of a clip (t, h, w, c) as views."""
    return [clip[index : index + 1] for index in range(len(clip))]


def frames_residual(
    block: FrameResidual, clip: list[Tensor], upsample: UpsampleConv | None, budget: TilePlan
) -> tuple[list[Tensor], Moments]:
    """Return the block's output frames and their moments; `clip` is empty afterwards."""
    results: list[Tensor] = []
    moments: list[Moments] = []
    while clip:
        frame = clip.pop(0)
        if upsample is not None:
            frame = _upsampled(upsample, frame, budget)
        results.append(_frame_residual(block, frame, budget))
        del frame
        moments.append(Moments.of_clip(results[-1]))
    return results, Moments.joined(moments)


def _upsampled(upsample: UpsampleConv, x: Tensor, budget: TilePlan) -> Tensor:
    """Upsample (1, h, w, c) to (1, 2 h, 2 w, m), a few rows at a time."""
    _, height, width, channels = x.shape
    y = x.new_empty(1, 2 * height, 2 * width, len(upsample.bias))
    for rows in budget.spans(height, 4 * width * max(channels, y.shape[-1]) * x.element_size()):
        above, below = max(rows.start - 1, 0), min(rows.stop + 1, height)
        first = 2 * (rows.start - above)  # skip rows that come only from the neighbor row
        part = upsample(x[:, above:below])
        y[:, 2 * rows.start : 2 * rows.stop] = part[:, first : first + 2 * (rows.stop - rows.start)]
    return y


def _frame_residual(block: FrameResidual, x: Tensor, budget: TilePlan) -> Tensor:
    """Map a frame (1, h, w, c) to (1, h, w, m); may overwrite x."""
    h = x.new_empty(*x.shape[:-1], block.conv1.weight.shape[0])
    norm_silu_conv(x, block.norm1, block.conv1, h, budget)
    y = _skip_branch(block, x, h, budget)
    del x
    norm_silu_conv(h, block.norm2, block.conv2, y, budget, add=True)
    del h
    return y if y.untyped_storage().nbytes() == y.numel() * y.element_size() else y.clone()


def _skip_branch(block: FrameResidual, x: Tensor, like: Tensor, budget: TilePlan) -> Tensor:
    """Return x or its 1 x 1 convolution, to which the main branch is added; reuse the memory of x if it fits."""
    if block.skip is None:
        return x
    if like.shape[-1] > x.shape[-1]:
        return block.skip(x)
    y = x.view(-1)[: like.numel()].view(like.shape)
    for rows in rows_of(x, budget):  # ascending order: rows of y end before the rows of x that are still needed
        y[:, rows] = block.skip(x[:, rows])
    return y


def time_residual(block: TimeResidual, clip: list[Tensor], moments: Moments, budget: TilePlan) -> None:
    """Apply the block in place to the frames of a clip with the given moments."""
    pixels = [frame.view(-1, frame.shape[-1]) for frame in clip]
    total, channels = pixels[0].shape
    spans = list(budget.spans(total, len(clip) * channels * pixels[0].element_size()))
    coefficients1 = block.norm1.coefficients(moments)

    def between(span: slice) -> Tensor:
        part = torch.stack([frame[span] for frame in pixels])[:, None]
        return block.conv1(block.norm1.silu_with(part, coefficients1))

    joined = Moments.joined(budget.each(lambda span: Moments.of_clip(between(span)), spans))
    coefficients2 = block.norm2.coefficients(joined)

    def work(span: slice) -> None:
        part = block.conv2(block.norm2.silu_with(between(span), coefficients2))
        for frame, added in zip(pixels, part, strict=True):
            frame[span] += added[0]

    budget.each(work, spans)
