"""Decoder with temporal layers, which reduce flicker between frames (Blattmann et al. 2023)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from img2vid.engine.nets.autoencoder import Decoder, ResnetBlock
from img2vid.engine.nets.blocks import ResBlock, conv, to_pictures, to_video

if TYPE_CHECKING:
    from img2vid.engine.config import AutoencoderConfig


class TemporalResnetBlock(ResnetBlock):
    """Spatial residual block blended with a following temporal one by a learned factor."""

    def __init__(self, channels: int, out_channels: int, video_kernel_size: Sequence[int]) -> None:
        super().__init__(channels, out_channels)
        self.time_stack = ResBlock(out_channels, out_channels, None, video_kernel_size)
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, num_frames: int = 1) -> Tensor:
        """x: (b t, channels, h, w); num_frames is t."""
        spatial = to_video(super().forward(x), num_frames)
        # Unlike in the UNet, the factor is the weight of the temporal branch.
        alpha = self.mix_factor.sigmoid().to(x.dtype)
        return to_pictures(torch.lerp(spatial, self.time_stack(spatial), alpha))


class TemporalConv(nn.Conv2d):
    """Last convolution, followed by a temporal one."""

    def __init__(self, channels: int, out_channels: int, video_kernel_size: Sequence[int]) -> None:
        nn.Conv2d.__init__(self, channels, out_channels, 3, padding=1)  # pyright: ignore[reportUnknownMemberType]
        self.time_mix_conv = conv(out_channels, out_channels, video_kernel_size)

    def over_time(self, x: Tensor, num_frames: int) -> Tensor:
        """(b t, channels, h, w) -> (b t, out_channels, h, w)."""
        return to_pictures(self.time_mix_conv(to_video(self(x), num_frames)))


class VideoDecoder(Decoder):
    """Image decoder with temporal layers; decodes whole clips or chunks of clips."""

    def __init__(self, config: "AutoencoderConfig", video_kernel_size: Sequence[int]) -> None:
        self.video_kernel_size = video_kernel_size
        super().__init__(config)

    def make_block(self, channels: int, out_channels: int) -> nn.Module:
        return TemporalResnetBlock(channels, out_channels, self.video_kernel_size)

    def make_conv_out(self, channels: int, out_channels: int) -> nn.Conv2d:
        return TemporalConv(channels, out_channels, self.video_kernel_size)

    def colors(self, x: Tensor, num_frames: int) -> Tensor:
        return cast(TemporalConv, self.conv_out).over_time(x, num_frames)
