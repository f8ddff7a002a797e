"""VideoUNet, the denoising network for the latents of a whole clip."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from img2vid.engine.nets.attention import SpatialBlock, SpatialVideoTransformer, TemporalBlock
from img2vid.engine.nets.blocks import Downsample, Upsample, VideoResBlock, group_norm, sinusoidal_embedding

if TYPE_CHECKING:
    from img2vid.engine.config import VideoUNetConfig


class Stage(nn.ModuleList):
    """Sequence of layers; each layer receives the inputs of its type."""

    def forward(self, x: Tensor, emb: Tensor, context: Tensor, num_frames: int) -> Tensor:
        """x: (b t, c, h, w), emb: (b t, e), context: (b t, k, d)."""
        for layer in self:
            if isinstance(layer, VideoResBlock):
                x = layer(x, emb, num_frames)
            elif isinstance(layer, SpatialVideoTransformer):
                x = layer(x, context, num_frames)
            else:
                x = layer(x)
        return x


class VideoUNet(nn.Module):
    """UNet of spatial and temporal residual blocks and transformers (Blattmann et al. 2023, "Stable Video Diffusion").

    Depth, width and attention come from the configuration. Skip connections concatenate the output of every input
    block to the input of the corresponding output block.
    """

    def __init__(self, config: "VideoUNetConfig") -> None:
        super().__init__()
        self.config = config
        width, emb = config.model_channels, 4 * config.model_channels
        self.time_embed = nn.Sequential(nn.Linear(width, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.label_emb = nn.Sequential(
            nn.Sequential(nn.Linear(config.adm_in_channels, emb), nn.SiLU(), nn.Linear(emb, emb))
        )
        self.input_blocks = nn.ModuleList([Stage([nn.Conv2d(config.in_channels, width, 3, padding=1)])])
        kept = [width]
        channels = width
        last = len(config.channel_mult) - 1
        for level, mult in enumerate(config.channel_mult):
            for _ in range(config.num_res_blocks):
                self.input_blocks.append(self._stage(channels, mult * width, level))
                channels = mult * width
                kept.append(channels)
            if level < last:
                self.input_blocks.append(Stage([Downsample(channels)]))
                kept.append(channels)
        self.middle_block = Stage(
            [
                self._res_block(channels, channels),
                self._transformer(channels, config.depth_middle),
                self._res_block(channels, channels),
            ]
        )
        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(config.channel_mult))):
            for index in range(config.num_res_blocks + 1):
                stage = self._stage(channels + kept.pop(), mult * width, level)
                channels = mult * width
                if level > 0 and index == config.num_res_blocks:
                    stage.append(Upsample(channels))
                self.output_blocks.append(stage)
        self.out = nn.Sequential(group_norm(width), nn.SiLU(), nn.Conv2d(width, config.out_channels, 3, padding=1))

    def drop_unused(self) -> None:
        """Remove the queries and keys of cross-attention, which have no effect with a context of one token."""
        for module in self.modules():
            if isinstance(module, SpatialBlock | TemporalBlock):
                module.norm2 = module.attn2.to_q = module.attn2.to_k = nn.Identity()

    def _stage(self, channels: int, out_channels: int, level: int) -> Stage:
        stage = Stage([self._res_block(channels, out_channels)])
        if 2**level in self.config.attention_resolutions:
            stage.append(self._transformer(out_channels, self.config.depths[level]))
        return stage

    def _res_block(self, channels: int, out_channels: int) -> VideoResBlock:
        c = self.config
        emb = 4 * c.model_channels
        return VideoResBlock(channels, out_channels, emb, c.video_kernel_size, c.merge_strategy, c.merge_factor)

    def _transformer(self, channels: int, depth: int) -> SpatialVideoTransformer:
        c = self.config
        heads, head_dim = c.heads(channels)
        return SpatialVideoTransformer(
            channels,
            heads,
            head_dim,
            depth=depth,
            context_dim=c.context_dim,
            use_linear=c.use_linear_in_transformer,
            merge_strategy=c.merge_strategy,
            merge_factor=c.merge_factor,
            max_period=c.max_ddpm_temb_period,
        )

    def forward(self, x: Tensor, c_noise: Tensor, *, context: Tensor, vector: Tensor, num_frames: int) -> Tensor:
        """Return (b t, out_channels, h, w) for `b` clips of `num_frames` frames.

        x: (b t, in_channels, h, w), noisy and conditioning latents concatenated; c_noise: (b t,), noise levels scaled
        by the preconditioning; context: (b t, k, context_dim); vector: (b t, adm_in_channels).
        """
        emb = self.time_embed(sinusoidal_embedding(c_noise, self.config.model_channels).to(x.dtype))
        emb = emb + self.label_emb(vector)
        kept: list[Tensor] = []
        for stage in self.input_blocks:
            x = stage(x, emb, context, num_frames)
            kept.append(x)
        x = self.middle_block(x, emb, context, num_frames)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, kept.pop()], dim=1), emb, context, num_frames)
        return self.out(x)
