"""Initial weights of the network, which encode what it would otherwise have to learn first."""

from typing import cast

import torch
from torch import nn

from img2vid.engine.nets.blocks import Downsample
from img2vid.engine.nets.unet import Stage, VideoUNet

CARRIER = 2.0
TYPICAL_SQUARE = 0.6
"""Mean square of one image's conditioning latents; over many images, the mean colors have variance 1."""
TIME_GAIN = 6.0
"""Initial gain of the frame number embeddings, which are otherwise too weak next to the image."""
QUIET = 0.2
"""Gain of the noise in the first layers, because it is stronger than the image and has more channels."""
COLOURS = 3
DETAIL_GAIN = 3.5
"""Gain of the latents after the mean colors, which are weaker."""


@torch.no_grad()
def start_still(network: VideoUNet) -> None:
    """Initialize the network to output the conditioning frame in every frame, the best guess without motion.

    At high noise levels the correct output is minus the clean latents. The conditioning latents x travel over the
    outermost skip connection. The last normalization, with two channels per group, would remove their mean and scale.
    Therefore the noisy input n, whose variance is known, runs next to them, CARRIER times as strong, and the difference
    of the two preserves both; the added n is subtracted using a group of its own. Every channel has a twin of opposite
    sign, because the difference of the SiLUs of u and -u is u. Residual branches start at zero.
    """
    for name, module in network.named_modules():
        if name.endswith(("out_layers.3", "proj_out")):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)
        elif name.endswith("time_pos_embed.2"):
            cast(nn.Linear, module).weight.mul_(TIME_GAIN)
    latents = network.config.out_channels
    conv_in, conv_out = cast(nn.Conv2d, _block(network.input_blocks[0])), cast(nn.Conv2d, network.out[2])
    skip = cast(nn.Conv2d, _block(network.output_blocks[-1]).skip_connection)
    assert conv_in.bias is not None and skip.bias is not None and conv_out.bias is not None
    width, used = conv_in.out_channels, 6 * latents
    assert width == 64 and used <= width, "these weights need groups of two channels, and six channels per latent"
    skip.weight *= 0.3
    skip.weight[:used] = 0
    skip.weight[:, -width:] += torch.eye(width)[..., None, None]
    skip.bias.zero_()
    conv_out.weight *= 0.1
    conv_out.bias.zero_()
    conv_in.weight[:used] = 0
    conv_in.bias[:used] = 0
    spread = ((CARRIER**2 + TYPICAL_SQUARE) / 2) ** 0.5
    n, x = 0, latents  # input offsets of both
    for latent in range(latents):
        # channel within the six, source, strength, output weight
        rows = [
            (0, x, 1.0, -spread),
            (1, n, CARRIER, spread),
            (2, x, -1.0, spread),
            (3, n, -CARRIER, -spread),
            (4, n, 1.0, -CARRIER),
            (5, n, -1.0, CARRIER),
        ]
        for row, source, strength, weight in rows:
            conv_in.weight[6 * latent + row, source + latent, 1, 1] = strength
            conv_out.weight[latent, 6 * latent + row] = 0
            conv_out.weight[latent, 6 * latent + row, 1, 1] = weight
    _hand_down(network, latents)


def _hand_down(network: VideoUNet, latents: int) -> None:
    """Pass image and noise to the coarser levels unmixed, and reduce the noise at the finest level.

    The first downsampling stores the image pixels of 2 x 2 squares as channels and averages the noise; the second
    averages both.
    """
    rows = torch.arange(6 * latents)
    noise, picture = rows[(rows % 6 != 0) & (rows % 6 != 2)], rows[(rows % 6 == 0) | (rows % 6 == 2)]
    gains = torch.ones(latents)
    gains[COLOURS:] = DETAIL_GAIN
    width = network.config.model_channels
    for block, before in [
        (_block(network.input_blocks[1]), 0),
        (_block(network.output_blocks[-2]), width),
        (_block(network.output_blocks[-1]), width),
    ]:
        taken = cast(nn.Conv2d, cast(nn.Sequential, block.in_layers)[2]).weight
        taken[:, before + noise] *= QUIET
        taken[:, before + picture] *= gains.repeat_interleave(2)[:, None, None]
    cast(nn.Conv2d, _block(network.output_blocks[-2]).skip_connection).weight[:, width + noise] *= QUIET

    first, second = _downsamplings(network)
    square = [(1, 1), (1, 2), (2, 1), (2, 2)]
    _clear(first, 5 * latents, 0.1)
    _clear(second, 2 * latents, 0.3)
    second.weight[2 * latents :, 4 * latents : 5 * latents] *= QUIET
    for latent in range(latents):
        places = slice(4 * latent, 4 * latent + 4)
        for place, (y, x) in enumerate(square):
            first.weight[4 * latent + place, 6 * latent, y, x] = gains[latent]
            # twice the mean of four, which preserves the variance of the noise
            first.weight[4 * latents + latent, 6 * latent + 4, y, x] = 0.5
            second.weight[latent, places, y, x] = 1 / 16
            second.weight[latents + latent, 4 * latents + latent, y, x] = 0.5


def _clear(conv: nn.Conv2d, outputs: int, rest: float) -> None:
    """Zero the first outputs of a convolution and its bias, and scale the rest."""
    assert conv.bias is not None
    conv.weight *= rest
    conv.weight[:outputs] = 0
    conv.bias.zero_()


def _downsamplings(network: VideoUNet) -> tuple[nn.Conv2d, nn.Conv2d]:
    found = [module for module in network.input_blocks.modules() if isinstance(module, Downsample)]
    assert len(found) == 2, "these weights need three levels"
    first, second = (cast(nn.Conv2d, next(iter(module.children()))) for module in found)
    return first, second


def _block(stage: nn.Module) -> nn.Module:
    """Return the first layer of a stage, which is a residual block except in the first stage."""
    return cast(Stage, stage)[0]
