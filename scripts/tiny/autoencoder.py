"""First stage: the autoencoder on crops, then its temporal decoder on clips."""

import random
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.config import AutoencodingEngineConfig, DiffusionConfig
from img2vid.engine.nets.autoencoder import Autoencoder, Decoder, Encoder
from scripts.tiny.pictures import random_crop, to_tensor, vary_colour
from scripts.tiny.training import Stage, mean, psnr

CROP = 64
BATCH = 4
PRIOR_WEIGHT = 1e-4
"""Pulls latents towards zero: the part of the KL divergence that depends on their mean."""
LOG_VARIANCE = -6.0
"""Of the noise on the latents in training. It is fixed; a learnt one starts so high that the picture drowns in it."""
EDGE_WEIGHT = 0.1
CONSTANT = 2.0
"""Of the channels that keep a normalisation from wiping out the brightness."""
NOISE = 0.1
"""Of the weights at the start, relative to what keeps variance."""


def build_picture_autoencoder(config: DiffusionConfig) -> Autoencoder:
    """The first stage's encoder with a decoder that has its picture layers alone."""
    stage = config.first_stage_config
    assert isinstance(stage, AutoencodingEngineConfig)
    return Autoencoder(Encoder(stage.encoder_config), Decoder(stage.decoder_config), stage.decoder_config, None)


def train_autoencoder(
    config: DiffusionConfig,
    pictures: list[Image.Image],
    apart: dict[str, Image.Image],
    work: Path,
    *,
    steps: int,
    minutes: float,
    seed: int,
) -> Autoencoder:
    """Returns the trained autoencoder with its averaged weights and latents of unit variance."""
    torch.manual_seed(seed)
    model = build_picture_autoencoder(config)
    start_linear(model)
    stage = Stage("autoencoder", {"autoencoder": model}, work, steps=steps, rate=5e-4)
    tests = [fit_frame(image, 96, 160) for image in apart.values()]

    def loss_of(step: int) -> Tensor:
        rng = random.Random(seed * 1_000_003 + step)
        x = torch.stack(
            [vary_colour(random_crop(rng.choice(pictures), CROP, CROP, rng, 0.7), rng) for _ in range(BATCH)]
        )
        mu, log_variance = model.encode(x).chunk(2, dim=1)
        z = mu + torch.randn(mu.shape) * (log_variance / 2).exp()
        return reconstruction_loss(model.decode(z), x) + PRIOR_WEIGHT * mu.square().mean()

    @torch.no_grad()
    def measure() -> dict[str, float]:
        return {"psnr": mean(psnr(model.decode(model.encode_mode(x)), x) for x in tests)}

    stage.run(loss_of, minutes=minutes, measure=measure)
    stage.use_average()
    _unit_variance(model, pictures, seed)
    return model


def reconstruction_loss(y: Tensor, x: Tensor) -> Tensor:
    """Mean squared error, with a little weight on the differences of neighbouring pixels, which keeps edges sharp."""
    edges = F.mse_loss(y.diff(dim=-1), x.diff(dim=-1)) + F.mse_loss(y.diff(dim=-2), x.diff(dim=-2))
    return F.mse_loss(y, x) + EDGE_WEIGHT * edges


def fit_frame(image: Image.Image, height: int, width: int) -> Tensor:
    """The middle of a picture as (1, 3, height, width) in [-1, 1]."""
    return to_tensor(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS))[None]


@torch.no_grad()
def start_linear(model: Autoencoder) -> None:
    """Begins with an autoencoder that already passes the mean colour of every latent's square, and fixes the variance.

    Residual branches start at zero, and what remains carries the colours through: channel c has colour c % 3. In front
    of the last normalisation channels come in threes, one group each: a colour and two opposite constants, next to
    which the colour keeps its strength. Groups alternate in sign, because the difference of the SiLUs of x and -x is x.
    A little noise in every convolution lets the other channels find the details.
    """
    encoder, decoder = model.encoder, model.decoder
    assert encoder and decoder
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
            if name.endswith((".conv2", "proj_out")):
                nn.init.zeros_(module.weight)
            elif not name.endswith((".conv1", ".q", ".k", ".v")):
                nn.init.normal_(module.weight, std=NOISE * module.weight[0].numel() ** -0.5)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and name.endswith(
            ("conv_in", "nin_shortcut", "downsample.conv", "upsample.conv")
        ):
            _pass_colours(module, average=name.endswith("downsample.conv"))
    last_encoder, last_decoder = encoder.down[-1].block[-1], decoder.up[0].block[0]  # type: ignore[union-attr, index]
    _close(last_encoder.nin_shortcut, encoder.conv_out)  # type: ignore[arg-type, union-attr]
    _close(last_decoder.nin_shortcut, decoder.conv_out)  # type: ignore[arg-type, union-attr]
    means = encoder.conv_out.out_channels // 2
    bias = encoder.conv_out.bias
    assert bias is not None
    encoder.conv_out.weight[means:] = 0
    bias[means:] = LOG_VARIANCE
    # Rows of one parameter cannot be frozen alone: their gradients are.
    rows = torch.arange(2 * means) < means
    encoder.conv_out.weight.register_hook(lambda gradient: gradient * rows[:, None, None, None])
    bias.register_hook(lambda gradient: gradient * rows)


def _pass_colours(conv: nn.Conv2d, *, average: bool) -> None:
    """Adds to a convolution what hands colours on, each output from all inputs of its colour."""
    for out in range(conv.out_channels):
        # Of the latents only the first three are colours; what is in the others is left to training.
        sources = range(out % 3, conv.in_channels if conv.in_channels > 4 else 3, 3)
        for source in sources:
            if average:
                conv.weight[out, source, :2, :2] += 0.25 / len(sources)
            else:
                conv.weight[out, source, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] += 1 / len(sources)


def _close(before: nn.Conv2d, after: nn.Conv2d) -> None:
    """Makes the convolutions around a last normalisation pass the colours through it."""
    assert before.bias is not None and after.bias is not None
    groups = before.out_channels // 3
    for group in range(groups):
        colour, sign = group // 2 % 3, 1 - 2 * (group % 2)
        sources = range(colour, before.in_channels, 3)
        before.weight[3 * group : 3 * group + 3] *= 0.1
        before.weight[3 * group, :] = 0
        before.weight[3 * group, sources, 0, 0] = sign / len(sources)
        before.bias[3 * group + 1], before.bias[3 * group + 2] = sign * CONSTANT, -sign * CONSTANT
        # The normalisation divides by about CONSTANT times the root of 2/3; several groups share a colour and a sign.
        alike = len(range(colour, groups // 2, 3))
        gain = sign * CONSTANT * (2 / 3) ** 0.5 / alike
        # The group's mean was taken from all three alike: the two constants give it back.
        after.weight[colour, 3 * group : 3 * group + 3, 1, 1] += gain * torch.tensor([1, -0.5, -0.5])


@torch.no_grad()
def _unit_variance(model: Autoencoder, pictures: list[Image.Image], seed: int) -> None:
    """Scales every latent channel to a standard deviation of 1, by way of the convolutions next to the latents."""
    assert model.encoder and model.decoder and model.encoder.conv_out.bias is not None
    rng = random.Random(seed)
    x = torch.stack([random_crop(rng.choice(pictures), 96, 160, rng) for _ in range(48)])
    deviation = model.encode_mode(x).std(dim=(0, 2, 3))
    means = len(deviation)
    model.encoder.conv_out.weight[:means] /= deviation[:, None, None, None]
    model.encoder.conv_out.bias[:means] /= deviation
    model.decoder.conv_in.weight *= deviation[None, :, None, None]


@torch.no_grad()
def lend_weights(source: Autoencoder, conditioner: Autoencoder, first_stage: Autoencoder) -> None:
    """Fills the conditioning frame's encoder and the first stage, whose temporal layers stay as they are."""
    assert source.encoder and conditioner.encoder and conditioner.quant_conv and conditioner.quant_conv.bias is not None
    conditioner.encoder.load_state_dict(source.encoder.state_dict())
    channels = conditioner.quant_conv.out_channels
    conditioner.quant_conv.weight.copy_(torch.eye(channels)[..., None, None])
    conditioner.quant_conv.bias.zero_()
    missing, unexpected = first_stage.load_state_dict(source.state_dict(), strict=False)
    assert not unexpected, unexpected
    assert all("time_" in name or "mix_factor" in name for name in missing), missing


def train_temporal_decoder(
    first_stage: Autoencoder,
    clip_of: Callable[[random.Random], Tensor],
    apart: dict[str, Image.Image],
    work: Path,
    *,
    steps: int,
    minutes: float,
    seed: int,
) -> None:
    """Teaches the decoder to use neighbouring frames; `clip_of` gives clips (t, 3, h, w) in [-1, 1]."""
    assert first_stage.encoder is not None and first_stage.decoder is not None
    torch.manual_seed(seed)
    first_stage.decoder.requires_grad_(True)
    for name, module in first_stage.decoder.named_modules():
        if isinstance(module, nn.Conv3d) and name.endswith("time_stack.out_layers.3"):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv3d) and name.endswith("time_mix_conv"):
            _identity(module)
    stage = Stage("temporal", {"decoder": first_stage.decoder}, work, steps=steps, rate=3e-4)
    tests = [fit_frame(image, 96, 160) for image in apart.values()]

    def loss_of(step: int) -> Tensor:
        rng = random.Random(seed * 1_000_033 + step)
        x = clip_of(rng)
        with torch.no_grad():
            z = first_stage.encode_mode(x)
            z = z + torch.randn(z.shape) * rng.choice([0.0, 0.1, 0.2])
        y = first_stage.decode(z)
        return reconstruction_loss(y, x) + F.mse_loss(y.diff(dim=0), x.diff(dim=0))

    @torch.no_grad()
    def measure() -> dict[str, float]:
        clips = [x.expand(4, -1, -1, -1) for x in tests]
        return {"psnr": mean(psnr(first_stage.decode(first_stage.encode_mode(x)), x) for x in clips)}

    stage.run(loss_of, minutes=minutes, measure=measure)
    stage.use_average()


@torch.no_grad()
def _identity(conv: nn.Conv3d) -> None:
    """Makes a convolution over time pass its input through."""
    conv.weight.zero_()
    middle = conv.kernel_size[0] // 2
    for channel in range(conv.in_channels):
        conv.weight[channel, channel, middle] = 1
    if conv.bias is not None:
        conv.bias.zero_()
