"""Layers shared by the UNet and the autoencoder: scalar embeddings, normalization, residual blocks.

Image tensors are (n, c, h, w) with n = videos * frames; temporal layers take the same values as
(videos, c, frames, h, w). Submodule names and positions in a Sequential must match the checkpoints.
"""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 32


def sinusoidal_embedding(values: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Return cosines and sines of `values` at geometrically spaced frequencies, in float32.

    values: (n,) real numbers; the result is (n, dim), cosines first. `dim` is even in every SVD model.
    Source: Vaswani et al. 2017, section 3.5, with frequencies from 1 to 1/max_period.
    """
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=values.device) / half
    angles = values.float()[:, None] * torch.exp(-math.log(max_period) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def group_norm(channels: int, eps: float = 1e-5) -> nn.GroupNorm:
    """Return a group normalization layer (Wu & He 2018) with 32 groups, as in all SVD models."""
    return nn.GroupNorm(GROUPS, channels, eps=eps)


def conv(channels_in: int, channels_out: int, kernel: Sequence[int]) -> nn.Conv2d | nn.Conv3d:
    """Return a 2D or 3D convolution, padded to keep the size of each axis."""
    if len(kernel) == 2:
        a, b = kernel
        return nn.Conv2d(channels_in, channels_out, (a, b), padding=(a // 2, b // 2))
    a, b, c = kernel
    return nn.Conv3d(channels_in, channels_out, (a, b, c), padding=(a // 2, b // 2, c // 2))


def to_video(x: Tensor, num_frames: int) -> Tensor:
    """(b t, c, h, w) -> (b, c, t, h, w), as a view."""
    return rearrange(x, "(b t) c h w -> b c t h w", t=num_frames)


def to_pictures(x: Tensor) -> Tensor:
    """(b, c, t, h, w) -> (b t, c, h, w)."""
    return rearrange(x, "b c t h w -> (b t) c h w")


def to_tokens(x: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, h w, c)."""
    return rearrange(x, "n c h w -> n (h w) c")


def to_maps(x: Tensor, height: int) -> Tensor:
    """(n, h w, c) -> (n, c, h, w)."""
    return rearrange(x, "n (h w) c -> n c h w", h=height)


class ResBlock(nn.Module):
    """Residual block of two convolutions, with an embedding of the noise level added in between.

    kernel: two sizes for a spatial block, three for a temporal one (frames first). Without `emb_channels`, the block
    takes no embedding. Source: Ho et al. 2020, appendix B.
    """

    def __init__(self, channels: int, out_channels: int, emb_channels: int | None, kernel: Sequence[int]) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(group_norm(channels), nn.SiLU(), conv(channels, out_channels, kernel))
        self.emb_layers = (
            None if emb_channels is None else nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, out_channels))
        )
        # Index 2 is a dropout in the training code and counts in the checkpoints' names.
        self.out_layers = nn.Sequential(
            group_norm(out_channels), nn.SiLU(), nn.Identity(), conv(out_channels, out_channels, kernel)
        )
        self.skip_connection = (
            nn.Identity() if channels == out_channels else conv(channels, out_channels, [1] * len(kernel))
        )

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        """x: (n, c, h, w) with emb (n, e), or (b, c, t, h, w) with emb (b, t, e)."""
        h = self.in_layers(x)
        if self.emb_layers is not None:
            assert emb is not None
            shift = self.emb_layers(emb)
            h = h + rearrange(shift, "n c -> n c 1 1" if shift.ndim == 2 else "b t c -> b c t 1 1")
        return self.skip_connection(x) + self.out_layers(h)


class AlphaBlender(nn.Module):
    """Learned blend of a spatial and a temporal branch: a * spatial + (1 - a) * temporal.

    The merge strategy "fixed" uses the parameter itself as a, "learned" and "learned_with_images" its sigmoid. The
    latter skips the temporal branch for single images in training, which does not occur in sampling.
    """

    def __init__(self, merge_strategy: str, merge_factor: float) -> None:
        super().__init__()
        self.fixed = merge_strategy == "fixed"
        factor = torch.full((1,), merge_factor)
        if self.fixed:
            self.register_buffer("mix_factor", factor)
        else:
            self.mix_factor = nn.Parameter(factor)

    def forward(self, spatial: Tensor, temporal: Tensor) -> Tensor:
        """Return the blend of two tensors of the same shape."""
        return torch.lerp(temporal, spatial, self.alpha().to(spatial.dtype))

    def alpha(self) -> Tensor:
        """Return the weight of the spatial branch, (1,)."""
        return self.mix_factor if self.fixed else self.mix_factor.sigmoid()


class VideoResBlock(ResBlock):
    """Spatial residual block blended with a following temporal one (Blattmann et al. 2023, section 3.1)."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        emb_channels: int,
        video_kernel_size: Sequence[int],
        merge_strategy: str,
        merge_factor: float,
    ) -> None:
        super().__init__(channels, out_channels, emb_channels, (3, 3))
        self.time_stack = ResBlock(out_channels, out_channels, emb_channels, video_kernel_size)
        self.time_mixer = AlphaBlender(merge_strategy, merge_factor)

    def forward(self, x: Tensor, emb: Tensor | None = None, num_frames: int = 1) -> Tensor:
        """x: (b t, c, h, w), emb: (b t, e); num_frames is t."""
        assert emb is not None
        x = super().forward(x, emb)
        spatial = to_video(x, num_frames)
        temporal = self.time_stack(spatial, rearrange(emb, "(b t) e -> b t e", t=num_frames))
        return to_pictures(self.time_mixer(spatial, temporal))


class Downsample(nn.Module):
    """Strided convolution that halves height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h/2, w/2)."""
        return self.op(x)


class Upsample(nn.Module):
    """Nearest-neighbor upsampling by 2, followed by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, 2h, 2w)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
