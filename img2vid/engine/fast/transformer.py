"""Transformer layers over space and over time, a few frames or a few pixels at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from img2vid.engine.fast.convolutions import Linear
from img2vid.engine.fast.norms import Norm
from img2vid.engine.fast.ops import attention, by_onednn, linear, linear_gelu, linear_plus, linear_times
from img2vid.engine.fast.tile_plan import TilePlan
from img2vid.engine.fast.weights import bias_of, expect, frozen, hold
from img2vid.engine.nets.attention import (
    GEGLU,
    Attention,
    FeedForward,
    SpatialBlock,
    SpatialVideoTransformer,
    TemporalBlock,
)
from img2vid.engine.nets.blocks import sinusoidal_embedding


@dataclass(frozen=True)
class Constants:
    """Values of a transformer that are constant for all steps of a clip.

    positions: (t, c), the embedding of each frame's index. spatial, temporal: (c,) for each block, the result of
    cross-attention to the image's single token plus the bias of the self-attention before it.
    """

    positions: Tensor
    spatial: list[Tensor]
    temporal: list[Tensor]


class Feed(nn.Module):
    """Layer normalization and gated feed-forward layer, added to a residual."""

    def __init__(self, norm: nn.LayerNorm, feed: FeedForward, budget: TilePlan, scale: Tensor | None = None) -> None:
        super().__init__()
        self.norm, self.budget = norm, budget
        gate, last = expect(GEGLU, feed.net[0]).proj, expect(nn.Linear, feed.net[2])
        self.gate_weight: Tensor
        self.weight: Tensor
        self.gate_bias = gate.bias
        hold(self, "gate_weight", [gate.weight], gate.bias)
        hold(self, "weight", [last.weight], last.bias, factor=scale)
        self.bias = frozen(last.bias if scale is None else last.bias * scale.to(last.bias.dtype))

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Add the layer's output for x to `residual` in place and return it. Both are (..., c) and contiguous.

        x and `residual` may be the same tensor. The inner layer is four times as wide, so it runs a few rows at a time.
        """
        (value, gate), (value_bias, gate_bias) = self.gate_weight.chunk(2), self.gate_bias.chunk(2)
        tokens, sums = x.view(-1, x.shape[-1]), residual.view(-1, x.shape[-1])
        for rows in self.budget.inner_spans(len(tokens), len(value) * x.element_size()):
            part = self.norm(tokens[rows])
            if by_onednn(part):
                gated = linear_times(part, value, value_bias, linear_gelu(part, gate, gate_bias))
            else:
                gated = self.budget.kernels.gate(linear(part, self.gate_weight, self.gate_bias))
            sums[rows] = linear_plus(gated, self.weight, self.bias, sums[rows])
        return residual


class SelfAttention(nn.Module):
    """Layer normalization and self-attention, added to the input together with cross-attention.

    Cross-attention attends to a single token, so its softmax is exactly 1 and its result is the same for every query.
    """

    def __init__(self, norm: nn.LayerNorm, attn: Attention, cross: Attention) -> None:
        super().__init__()
        self.norm, self.heads = norm, attn.heads
        self.qkv: Tensor
        hold(self, "qkv", [expect(nn.Linear, part).weight for part in (attn.to_q, attn.to_k, attn.to_v)], norm.weight)
        self.out = expect(nn.Linear, attn.to_out[0])
        self.cross_value, self.cross_out = cross.to_v, cross.to_out

    def constant(self, token: Tensor) -> Tensor:
        """Return the vector (c,) that is added to every pixel. token: (d,), the image embedding."""
        return self.cross_out(self.cross_value(token)) + bias_of(self.out)

    def forward(self, x: Tensor, constant: Tensor) -> Tensor:
        """Attend over s in x (n, s, c) and return a new tensor, or x."""
        attended = attention(linear(self.norm(x), self.qkv), self.heads)
        return linear_plus(attended, self.out.weight, constant, x)

    def over_time(self, x: Tensor, constant: Tensor) -> Tensor:
        """Attend over t in x (t, s, c) and return a new tensor, or x."""
        qkv = linear(self.norm(x), self.qkv)
        attended = attention(qkv.transpose(0, 1), self.heads).transpose(0, 1).contiguous()
        return linear_plus(attended, self.out.weight, constant, x)


class FrameBlock(nn.Module):
    """Attention over the pixels of a frame, then feed-forward."""

    def __init__(self, block: SpatialBlock, budget: TilePlan) -> None:
        super().__init__()
        self.attention = SelfAttention(block.norm1, block.attn1, block.attn2)
        self.feed = Feed(block.norm3, block.ff, budget)

    def forward(self, x: Tensor, constant: Tensor) -> Tensor:
        """Process some frames (f, s, c)."""
        x = self.attention(x, constant)
        return self.feed(x, x)


class TimeBlock(nn.Module):
    """Attention over the frames of a pixel, then feed-forward; the blend weight is folded into the last layer."""

    def __init__(self, block: TemporalBlock, alpha: Tensor, budget: TilePlan) -> None:
        super().__init__()
        self.alpha = frozen(alpha)
        self.feed_in = Feed(block.norm_in, block.ff_in, budget)
        self.attention = SelfAttention(block.norm1, block.attn1, block.attn2)
        self.feed = Feed(block.norm3, block.ff, budget, 1 - alpha)
        self.budget = budget

    def forward(self, x: Tensor, positions: Tensor, constant: Tensor) -> None:
        """Blend a clip (t, s, c) with the block's output in place. positions: (t, c)."""
        t, pixels, channels = x.shape

        def work(span: slice) -> None:
            part = x[:, span]
            y = part + positions[:, None]
            y = self.feed_in(y, y)
            y = self.attention.over_time(y, constant)
            x[:, span] = self.feed(y, torch.lerp(y, part, self.alpha))

        self.budget.each(work, self.budget.spans(pixels, 4 * t * channels * x.element_size()))


class Transformer(nn.Module):
    """Alternating blocks over space and over time, with a residual connection."""

    def __init__(self, transformer: SpatialVideoTransformer, budget: TilePlan) -> None:
        super().__init__()
        self.norm = Norm(transformer.norm, budget)
        self.proj_in, self.proj_out = Linear(transformer.proj_in), Linear(transformer.proj_out)
        alpha = transformer.time_mixer.alpha().to(self.proj_in.bias.dtype)
        self.frame_blocks = [
            FrameBlock(expect(SpatialBlock, block), budget) for block in transformer.transformer_blocks
        ]
        self.time_blocks = [TimeBlock(expect(TemporalBlock, block), alpha, budget) for block in transformer.time_stack]
        self.blocks = nn.ModuleList([*self.frame_blocks, *self.time_blocks])
        self.positions = transformer.time_pos_embed
        self.channels, self.max_period = transformer.channels, transformer.max_period
        self.budget = budget

    @property
    def constant_layers(self) -> list[nn.Module]:
        """Layers that `precompute` runs."""
        attentions = [one for one in self.modules() if isinstance(one, SelfAttention)]
        return [self.positions, *(layer for one in attentions for layer in (one.cross_value, one.cross_out))]

    def precompute(self, token: Tensor, num_frames: int) -> Constants:
        """Compute the values that are constant for all steps. token: (d,), the image embedding."""
        index = torch.arange(num_frames, device=token.device)
        embedded = sinusoidal_embedding(index, self.channels, self.max_period).to(token.dtype)
        return Constants(
            self.positions(embedded),
            [block.attention.constant(token) for block in self.frame_blocks],
            [block.attention.constant(token) for block in self.time_blocks],
        )

    def forward(self, x: Tensor, constants: Constants) -> Tensor:
        """Update a clip (t, h, w, c) in place and return it."""
        t, height, width, channels = x.shape
        spans = self.budget.spans(t, height * width * channels * x.element_size())
        h = x.new_empty(t, height * width, len(self.proj_in.bias))

        def begin(span: slice) -> None:
            h[span] = self.proj_in(self.norm(x[span]).flatten(1, 2))

        self.budget.each(begin, spans)
        flat = x.view(t, height * width, channels)
        for index, (frame_block, time_block) in enumerate(zip(self.frame_blocks, self.time_blocks, strict=True)):
            constant = constants.spatial[index]

            def work(span: slice, block: FrameBlock = frame_block, constant: Tensor = constant) -> None:
                h[span] = block(h[span], constant)

            self.budget.each(work, spans)
            time_block(h, constants.positions, constants.temporal[index])

        def close(span: slice) -> None:
            flat[span] = self.proj_out.plus(h[span], flat[span])

        self.budget.each(close, spans)
        return x
