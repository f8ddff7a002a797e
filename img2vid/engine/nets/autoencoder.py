"""KL autoencoder (Rombach et al. 2022), which encodes and decodes frames independently."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.nets.blocks import Upsample, group_norm, to_maps, to_tokens

if TYPE_CHECKING:
    from img2vid.engine.config import AutoencoderConfig

EPS = 1e-6


class ResnetBlock(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = group_norm(channels, EPS)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels, EPS)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, num_frames: int = 1) -> Tensor:
        """(n, channels, h, w) -> (n, out_channels, h, w); frames are independent."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.nin_shortcut(x) + h


class PictureAttention(nn.Module):
    """Single-head self-attention over all positions of an image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, EPS)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> the same shape."""
        h = self.norm(x)
        query, key, value = (to_tokens(layer(h))[:, None] for layer in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(query, key, value)
        return x + self.proj_out(to_maps(attended[:, 0], height=x.shape[2]))


class Downsample(nn.Module):
    """Strided convolution that halves height and width, padded only at the bottom and right."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h/2, w/2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Level(nn.Module):
    """Residual blocks of one resolution, and an optional resampling step to the next one."""

    def __init__(
        self, blocks: list[nn.Module], *, downsample: nn.Module | None = None, upsample: nn.Module | None = None
    ):
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.downsample = downsample
        self.upsample = upsample

    def forward(self, x: Tensor, num_frames: int = 1) -> Tensor:
        """(n, c, h, w) -> (n, c', h', w')."""
        for block in self.block:
            x = block(x, num_frames)
        for resample in (self.downsample, self.upsample):
            x = x if resample is None else resample(x)
        return x


class Middle(nn.Module):
    """Residual block, attention and residual block at the lowest resolution."""

    def __init__(self, channels: int, make_block: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.block_1 = make_block(channels, channels)
        self.attn_1 = PictureAttention(channels)
        self.block_2 = make_block(channels, channels)

    def forward(self, x: Tensor, num_frames: int = 1) -> Tensor:
        """(n, c, h, w) -> the same shape."""
        return self.block_2(self.attn_1(self.block_1(x, num_frames)), num_frames)


class Encoder(nn.Module):
    """Encoder from images to moments: mean and log-variance of each latent, concatenated."""

    def __init__(self, config: "AutoencoderConfig") -> None:
        super().__init__()
        widths = [config.ch * mult for mult in config.ch_mult]
        self.conv_in = nn.Conv2d(config.in_channels, config.ch, 3, padding=1)
        self.down = nn.ModuleList()
        channels = config.ch
        for level, width in enumerate(widths):
            blocks: list[nn.Module] = []
            for _ in range(config.num_res_blocks):
                blocks.append(ResnetBlock(channels, width))
                channels = width
            last = level == len(widths) - 1
            self.down.append(Level(blocks, downsample=None if last else Downsample(channels)))
        self.mid = Middle(channels, ResnetBlock)
        self.norm_out = group_norm(channels, EPS)
        self.conv_out = nn.Conv2d(channels, config.moment_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, H, W) in [-1, 1] -> (n, moments, H/f, W/f) with f = 2 ** (levels - 1)."""
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """Decoder from latents to images. Subclasses replace the residual block and the last convolution."""

    def __init__(self, config: "AutoencoderConfig") -> None:
        super().__init__()
        widths = [config.ch * mult for mult in config.ch_mult]
        channels = widths[-1]
        self.conv_in = nn.Conv2d(config.z_channels, channels, 3, padding=1)
        self.mid = Middle(channels, self.make_block)
        levels: list[nn.Module] = []
        for level, width in reversed(list(enumerate(widths))):
            blocks: list[nn.Module] = []
            for _ in range(config.num_res_blocks + 1):
                blocks.append(self.make_block(channels, width))
                channels = width
            levels.append(Level(blocks, upsample=Upsample(channels) if level > 0 else None))
        self.up = nn.ModuleList(reversed(levels))  # up.0 has the full resolution and runs last
        self.norm_out = group_norm(channels, EPS)
        self.conv_out = self.make_conv_out(channels, config.out_ch)

    def make_block(self, channels: int, out_channels: int) -> nn.Module:
        """Return a residual block of this kind of decoder."""
        return ResnetBlock(channels, out_channels)

    def make_conv_out(self, channels: int, out_channels: int) -> nn.Conv2d:
        """Return the last convolution, which outputs RGB."""
        return nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, z: Tensor, num_frames: int = 1) -> Tensor:
        """(n, z_channels, h, w) -> (n, 3, f h, f w), nominally in [-1, 1] but not clamped."""
        x = self.mid(self.conv_in(z), num_frames)
        for level in reversed(self.up):
            x = level(x, num_frames)
        return self.colors(F.silu(self.norm_out(x)), num_frames)

    def colors(self, x: Tensor, num_frames: int) -> Tensor:
        """Apply the last convolution."""
        return self.conv_out(x)


class Autoencoder(nn.Module):
    """Encoder and decoder, with a 1x1 convolution between each of them and the latents if `embed_dim` is set.

    Without an encoder, the autoencoder only decodes.
    """

    encoder: Encoder | None
    decoder: Decoder | None
    quant_conv: nn.Conv2d | None
    post_quant_conv: nn.Conv2d | None

    def __init__(
        self, encoder: Encoder | None, decoder: Decoder, config: "AutoencoderConfig", embed_dim: int | None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.quant_conv = self.post_quant_conv = None
        if embed_dim is not None:
            moments = embed_dim * config.moment_channels // config.z_channels
            self.quant_conv = nn.Conv2d(config.moment_channels, moments, 1)
            self.post_quant_conv = nn.Conv2d(embed_dim, config.z_channels, 1)

    def drop_encoder(self) -> None:
        """Remove the encoder and its 1x1 convolution."""
        self.encoder = self.quant_conv = None

    def drop_decoder(self) -> None:
        """Remove the decoder and its 1x1 convolution."""
        self.decoder = self.post_quant_conv = None

    def encode(self, x: Tensor) -> Tensor:
        """Return the moments (n, 2 z, h, w) of the latents of x (n, 3, H, W) in [-1, 1]."""
        moments = cast(Encoder, self.encoder)(x)
        return moments if self.quant_conv is None else self.quant_conv(moments)

    def encode_mode(self, x: Tensor) -> Tensor:
        """Return the mean of the latents (n, z, h, w), without sampling and without the scale factor."""
        return self.encode(x).chunk(2, dim=1)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Return images (n, 3, H, W), not clamped, of consecutive latents (n, z, h, w) of one clip."""
        z = z if self.post_quant_conv is None else self.post_quant_conv(z)
        return cast(Decoder, self.decoder)(z, num_frames=z.shape[0])

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return next(self.parameters()).dtype
