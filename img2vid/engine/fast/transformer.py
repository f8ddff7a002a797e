"""Transformer layers over space and over time, a few frames or a few places at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from img2vid.engine.fast.convolutions import Linear
from img2vid.engine.fast.norms import Norm
from img2vid.engine.fast.ops import attention, by_onednn, linear, linear_gelu, linear_plus, linear_times
from img2vid.engine.fast.tile_plan import TilePlan
from img2vid.engine.fast.weights import bias_of, expect, frozen
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
    """What is the same for a transformer at every step of a clip.

    positions: (t, c), the embedding of each frame's number. spatial, temporal: for each block (c,), what
    cross-attention to the picture's one token adds, together with the bias of the self-attention before it.
    """

    positions: Tensor
    spatial: list[Tensor]
    temporal: list[Tensor]


class Feed(nn.Module):
    """Layer normalisation, then the gated feed-forward layer, added to `residual`."""

    def __init__(self, norm: nn.LayerNorm, feed: FeedForward, budget: TilePlan, scale: Tensor | None = None) -> None:
        super().__init__()
        self.norm, self.budget = norm, budget
        gate, last = expect(GEGLU, feed.net[0]).proj, expect(nn.Linear, feed.net[2])
        self.gate_weight, self.gate_bias = gate.weight, gate.bias
        factor = 1 if scale is None else scale.to(last.weight.dtype)
        self.weight, self.bias = frozen(last.weight * factor), frozen(last.bias * factor)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """x, residual: (..., c), contiguous; `residual` is overwritten with the result and returned. May be one tensor.

        A few rows at a time: the inner layer is four times as wide.
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
    """Layer normalisation and self-attention, added to its input together with what cross-attention adds.

    With one token to attend to, the softmax is exactly 1 and every query gets the same answer: a constant vector.
    """

    def __init__(self, norm: nn.LayerNorm, attn: Attention, cross: Attention) -> None:
        super().__init__()
        self.norm, self.heads = norm, attn.heads
        self.qkv = frozen(torch.cat([expect(nn.Linear, part).weight for part in (attn.to_q, attn.to_k, attn.to_v)]))
        self.out = expect(nn.Linear, attn.to_out[0])
        self.cross_value, self.cross_out = cross.to_v, cross.to_out

    def constant(self, token: Tensor) -> Tensor:
        """(c,), added to every place; token: (d,), the picture's embedding."""
        return self.cross_out(self.cross_value(token)) + bias_of(self.out)

    def forward(self, x: Tensor, constant: Tensor) -> Tensor:
        """x: (n, s, c), attention is among the s; returns a new tensor, or x."""
        answer = attention(linear(self.norm(x), self.qkv), self.heads)
        return linear_plus(answer, self.out.weight, constant, x)

    def over_time(self, x: Tensor, constant: Tensor) -> Tensor:
        """x: (t, s, c), attention is among the t."""
        qkv = linear(self.norm(x), self.qkv)
        answer = attention(qkv.transpose(0, 1), self.heads).transpose(0, 1).contiguous()
        return linear_plus(answer, self.out.weight, constant, x)


class FrameBlock(nn.Module):
    """Attention among the places of a frame, and feed-forward."""

    def __init__(self, block: SpatialBlock, budget: TilePlan) -> None:
        super().__init__()
        self.attention = SelfAttention(block.norm1, block.attn1, block.attn2)
        self.feed = Feed(block.norm3, block.ff, budget)

    def forward(self, x: Tensor, constant: Tensor) -> Tensor:
        """x: (f, s, c), some frames."""
        x = self.attention(x, constant)
        return self.feed(x, x)


class TimeBlock(nn.Module):
    """Attention among the frames of a place, and feed-forward; its share in the blend is folded into its last layer."""

    def __init__(self, block: TemporalBlock, alpha: Tensor, budget: TilePlan) -> None:
        super().__init__()
        self.alpha = frozen(alpha)
        self.feed_in = Feed(block.norm_in, block.ff_in, budget)
        self.attention = SelfAttention(block.norm1, block.attn1, block.attn2)
        self.feed = Feed(block.norm3, block.ff, budget, 1 - alpha)
        self.budget = budget

    def forward(self, x: Tensor, positions: Tensor, constant: Tensor) -> None:
        """Blends a clip (t, s, c) with what this block makes of it, in its place. positions: (t, c)."""
        t, places, channels = x.shape

        def work(span: slice) -> None:
            seen = x[:, span]
            y = seen + positions[:, None]
            y = self.feed_in(y, y)
            y = self.attention.over_time(y, constant)
            x[:, span] = self.feed(y, torch.lerp(y, seen, self.alpha))

        self.budget.each(work, self.budget.spans(places, 4 * t * channels * x.element_size()))


class Transformer(nn.Module):
    """Blocks over space and over time in turn, around a residual."""

    def __init__(self, transformer: SpatialVideoTransformer, budget: TilePlan) -> None:
        super().__init__()
        self.norm = Norm(transformer.norm, budget)
        self.proj_in, self.proj_out = Linear(transformer.proj_in), Linear(transformer.proj_out)
        alpha = transformer.time_mixer.alpha().to(self.proj_in.weight.dtype)
        self.frame_blocks = [
            FrameBlock(expect(SpatialBlock, block), budget) for block in transformer.transformer_blocks
        ]
        self.time_blocks = [TimeBlock(expect(TemporalBlock, block), alpha, budget) for block in transformer.time_stack]
        self.blocks = nn.ModuleList([*self.frame_blocks, *self.time_blocks])
        self.positions = transformer.time_pos_embed
        self.channels, self.max_period = transformer.channels, transformer.max_period
        self.budget = budget

    def precompute(self, token: Tensor, num_frames: int) -> Constants:
        """What is the same at every step. token: (d,), the picture's embedding."""
        index = torch.arange(num_frames, device=token.device)
        embedded = sinusoidal_embedding(index, self.channels, self.max_period).to(token.dtype)
        return Constants(
            self.positions(embedded),
            [block.attention.constant(token) for block in self.frame_blocks],
            [block.attention.constant(token) for block in self.time_blocks],
        )

    def forward(self, x: Tensor, constants: Constants) -> Tensor:
        """Changes a clip (t, h, w, c) in its place and returns it."""
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
