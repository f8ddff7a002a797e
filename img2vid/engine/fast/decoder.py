"""Fast decoder, built from a loaded one: frame by frame in layers that do not mix frames, else clip by clip."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.fast.convolutions import Conv, Linear, TimeConv, UpsampleConv, by_frames
from img2vid.engine.fast.low_memory import frames_of, frames_residual, time_residual
from img2vid.engine.fast.norms import Norm
from img2vid.engine.fast.ops import linear
from img2vid.engine.fast.residual import FrameResidual, Frames, TimeResidual
from img2vid.engine.fast.row_tiles import norm_silu_conv
from img2vid.engine.fast.tile_plan import TilePlan
from img2vid.engine.fast.weights import bias_of, expect, frozen
from img2vid.engine.nets.autoencoder import Autoencoder, Level, PictureAttention, ResnetBlock
from img2vid.engine.nets.blocks import Upsample
from img2vid.engine.nets.temporal_decoder import TemporalConv, TemporalResnetBlock


class Residual(nn.Module):
    """Residual block over space, followed by one over time in a temporal decoder."""

    def __init__(self, block: ResnetBlock, budget: TilePlan) -> None:
        super().__init__()
        norms, convs = (block.norm1, block.norm2), (block.conv1, block.conv2)
        self.frames = FrameResidual(norms, convs, block.nin_shortcut, budget)
        self.time = None
        if isinstance(block, TemporalResnetBlock):
            # mix_factor weights the temporal branch here, but the spatial branch in the UNet.
            self.time = TimeResidual(block.time_stack, block.mix_factor.float().sigmoid(), budget)

    def forward(self, x: Tensor, upsample: UpsampleConv | None) -> Tensor:
        """Map (t, h, w, c) to (t, h, w, m), after doubling height and width if `upsample` is given.

        x may be overwritten if the shape does not change.
        """
        t, height, width, channels = x.shape
        if upsample is None:
            frames = Frames((t, height, width, channels), x.dtype, lambda span: x[span], into=x)
        else:
            upsampled = (t, 2 * height, 2 * width, len(upsample.bias))
            frames = Frames(upsampled, x.dtype, lambda span: upsample(x[span]))
        y, moments = self.frames(frames, None)
        return y if self.time is None else self.time(y, None, moments)

    def low_memory(self, clip: list[Tensor], upsample: UpsampleConv | None, budget: TilePlan) -> list[Tensor]:
        """Process a list of frames (1, h, w, c) with less memory; the list is empty afterwards."""
        results, moments = frames_residual(self.frames, clip, upsample, budget)
        if self.time is None:
            return results
        if self.time.conv1.pointwise:
            time_residual(self.time, results, moments, budget)
            return results
        whole = torch.cat(results)
        results.clear()
        return frames_of(self.time(whole, None, moments))


class Attention(nn.Module):
    """Single-head self-attention over all pixels of a frame, a few queries at a time."""

    def __init__(self, attention: PictureAttention, budget: TilePlan) -> None:
        super().__init__()
        self.norm, layers = Norm(attention.norm, budget), (attention.q, attention.k, attention.v)
        self.weight = frozen(torch.cat([layer.weight.flatten(1) for layer in layers]))
        self.bias = frozen(torch.cat([bias_of(layer) for layer in layers]))
        self.out = Linear(attention.proj_out)
        self.budget = budget

    def forward(self, x: Tensor) -> Tensor:
        """Update (t, h, w, c) in place and return it."""
        frames = x.flatten(1, 2)
        self.budget.each(lambda span: self._attend(frames[span.start]), [slice(i, i + 1) for i in range(len(x))])
        return x

    def _attend(self, frame: Tensor) -> None:
        """Update one frame (s, c) in place."""
        tokens = self.norm(frame[None, :, None])[0, :, 0]
        query, key, value = linear(tokens, self.weight, self.bias).chunk(3, dim=1)

        def work(span: slice) -> None:
            part = query[None, span].contiguous()
            attended = F.scaled_dot_product_attention(part, key[None], value[None])[0]
            frame[span] = self.out.plus(attended, frame[span])

        self.budget.each(work, self.budget.spans(len(frame), len(frame) * frame.element_size()))


class FastDecoder(nn.Module):
    """Fast equivalent of `Autoencoder.decode` for the frames of one clip.

    low_memory: use a third of the memory and slightly more time, see `fast.low_memory`.
    """

    def __init__(self, autoencoder: Autoencoder, budget: TilePlan) -> None:
        super().__init__()
        decoder, post_quant_conv = autoencoder.decoder, autoencoder.post_quant_conv
        assert decoder is not None
        self.post_quant = None if post_quant_conv is None else Conv(post_quant_conv)
        self.conv_in = Conv(decoder.conv_in)
        middle = (decoder.mid.block_1, decoder.mid.block_2)
        self.middle = nn.ModuleList(Residual(expect(ResnetBlock, block), budget) for block in middle)
        self.attention = Attention(decoder.mid.attn_1, budget)
        levels = [expect(Level, level) for level in reversed(decoder.up)]
        self.levels = nn.ModuleList(
            nn.ModuleList(Residual(expect(ResnetBlock, block), budget) for block in level.block) for level in levels
        )
        steps = [expect(Upsample, level.upsample) for level in levels if level.upsample is not None]
        self.steps = nn.ModuleList(UpsampleConv(step.conv) for step in steps)
        self.norm_out, self.conv_out = Norm(decoder.norm_out, budget), Conv(decoder.conv_out)
        self.time_out = None
        if isinstance(decoder.conv_out, TemporalConv):
            self.time_out = TimeConv(expect(nn.Conv3d, decoder.conv_out.time_mix_conv))
        self.budget = budget
        self.low_memory = False

    def forward(self, z: Tensor) -> Tensor:
        """Decode one clip's consecutive latents (t, z, h, w) to frames (t, 3, H, W), not clamped."""
        with self.budget.at_work():
            return self._decode(z.permute(0, 2, 3, 1).contiguous())

    def _decode(self, x: Tensor) -> Tensor:
        clip: list[Tensor]
        x = by_frames(self.conv_in, x if self.post_quant is None else self.post_quant(x), self.budget)
        x = self.middle[0](x, None)
        x = self.middle[1](self.attention(x), None)
        if self.low_memory:
            clip = [frame.clone() for frame in frames_of(x)]
            del x
            for block, upsample in self._blocks():
                clip = block.low_memory(clip, upsample, self.budget)
        else:
            for block, upsample in self._blocks():
                x = block(x, upsample)
            clip = frames_of(x)
        rgb = self._to_rgb(clip)
        return (rgb if self.time_out is None else self.time_out(rgb)).permute(0, 3, 1, 2)

    def _blocks(self) -> Iterator[tuple[Residual, UpsampleConv | None]]:
        """Yield the residual blocks in order, each with the upsampling before it or None."""
        for index, level in enumerate(self.levels):
            for number, block in enumerate(level.children()):
                first = index > 0 and number == 0
                step = expect(UpsampleConv, self.steps[index - 1]) if first else None
                yield expect(Residual, block), step

    def _to_rgb(self, clip: list[Tensor]) -> Tensor:
        """Convert frames (1, H, W, c) to RGB (t, H, W, 3)."""
        _, height, width, _ = clip[0].shape
        out = clip[0].new_empty(len(clip), height, width, self.conv_out.weight.shape[0])

        def work(span: slice) -> None:
            frame: Tensor = clip[int(span.start)]
            norm_silu_conv(frame, self.norm_out, self.conv_out, out[span], self.budget)

        self.budget.each(work, [slice(i, i + 1) for i in range(len(clip))])
        return out
