"""Spatial and temporal transformer layers (Blattmann et al. 2023, "Align your Latents", section 3.1)."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.nets.blocks import AlphaBlender, group_norm, sinusoidal_embedding, to_maps, to_tokens


class Attention(nn.Module):
    """Multi-head self-attention, or cross-attention if `context` is given (Vaswani et al. 2017).

    x: (..., s, dim), context: (..., k, context_dim) with the same or broadcastable leading axes.
    """

    def __init__(self, dim: int, context_dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.to_q: nn.Module = nn.Linear(dim, inner, bias=False)
        self.to_k: nn.Module = nn.Linear(context_dim, inner, bias=False)
        self.to_v = nn.Linear(context_dim, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, dim), nn.Identity())

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (..., s, dim), or (..., 1, dim) for a context of one token, where all queries have the same result."""
        context = x if context is None else context
        value = self.to_v(context)
        if context.shape[-2] == 1:
            # The softmax over one key is exactly 1, so queries and keys have no effect.
            return self.to_out(value)
        query, key, value = (
            rearrange(tensor, "... s (h d) -> (...) h s d", h=self.heads)  # the layout of torch's fused kernels
            for tensor in (self.to_q(x), self.to_k(context), value)
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.to_out(rearrange(attended, "n h s d -> n s (h d)").unflatten(0, x.shape[:-2]))


class GEGLU(nn.Module):
    """Linear layer with one half gated by the GELU of the other (Shazeer 2020)."""

    def __init__(self, dim: int, dim_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim_out)."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated feed-forward layer with four times the width inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GEGLU(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return self.net(x)


class SpatialBlock(nn.Module):
    """Self-attention over the positions of one frame, cross-attention to the image embedding, feed-forward."""

    def __init__(self, dim: int, context_dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.attn1 = Attention(dim, dim, heads, head_dim)
        self.attn2 = Attention(dim, context_dim, heads, head_dim)
        self.ff = FeedForward(dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2: nn.Module = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x: (n, s, dim), context: (n, k, context_dim)."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class TemporalBlock(nn.Module):
    """`SpatialBlock` along time: each position attends to the same position in the other frames of its video."""

    def __init__(self, dim: int, context_dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(dim)
        self.ff_in = FeedForward(dim)
        self.attn1 = Attention(dim, dim, heads, head_dim)
        self.attn2 = Attention(dim, context_dim, heads, head_dim)
        self.ff = FeedForward(dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2: nn.Module = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x: (b, s, t, dim), context: (b, 1, k, context_dim)."""
        x = x + self.ff_in(self.norm_in(x))
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context.expand(-1, x.shape[1], -1, -1) if context.shape[2] > 1 else context)
        return x + self.ff(self.norm3(x))


class SpatialVideoTransformer(nn.Module):
    """Stack of spatial blocks, each blended with a following temporal block, with a residual connection."""

    def __init__(
        self,
        channels: int,
        heads: int,
        head_dim: int,
        *,
        depth: int,
        context_dim: int,
        use_linear: bool,
        merge_strategy: str,
        merge_factor: float,
        max_period: float,
    ) -> None:
        super().__init__()
        inner = heads * head_dim
        self.channels = channels
        self.use_linear = use_linear
        self.max_period = max_period
        self.norm = group_norm(channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, inner) if use_linear else nn.Conv2d(channels, inner, 1)
        self.transformer_blocks = nn.ModuleList(SpatialBlock(inner, context_dim, heads, head_dim) for _ in range(depth))
        self.time_stack = nn.ModuleList(TemporalBlock(inner, context_dim, heads, head_dim) for _ in range(depth))
        self.time_pos_embed = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, channels)
        )
        self.time_mixer = AlphaBlender(merge_strategy, merge_factor)
        self.proj_out = nn.Linear(inner, channels) if use_linear else nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor, context: Tensor, num_frames: int) -> Tensor:
        """x: (b t, channels, h, w), context: (b t, k, context_dim); num_frames is t."""
        height = x.shape[2]
        h = self.norm(x)
        h = self.proj_in(to_tokens(h)) if self.use_linear else to_tokens(self.proj_in(h))
        # The image embedding is the same for all frames of a video, so the first frame's is used.
        time_context = context[::num_frames, None]
        position = self._frame_positions(num_frames, h)
        for spatial_block, temporal_block in zip(self.transformer_blocks, self.time_stack, strict=True):
            h = spatial_block(h, context)
            frames = rearrange(h, "(b t) s c -> b s t c", t=num_frames)
            mixed = temporal_block(frames + position, time_context)
            h = self.time_mixer(h, rearrange(mixed, "b s t c -> (b t) s c"))
        h = to_maps(self.proj_out(h), height) if self.use_linear else self.proj_out(to_maps(h, height))
        return x + h

    def _frame_positions(self, num_frames: int, like: Tensor) -> Tensor:
        """Return the learned embedding of each frame index, (t, channels)."""
        index = torch.arange(num_frames, device=like.device)
        return self.time_pos_embed(sinusoidal_embedding(index, self.channels, self.max_period).to(like.dtype))
