"""First stage: the autoencoder on crops, then its temporal decoder on clips."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.config import AutoencodingEngineConfig, DiffusionConfig, IdentityConfig
from img2vid.engine.nets.autoencoder import Autoencoder, Decoder, Encoder
from training.pictures import random_crop, to_tensor, vary_color
from training.training import Stage, psnr

CROP = 64
BATCH = 4
PRIOR_WEIGHT = 1e-4
"""Weight of the mean-dependent part of the KL divergence, which pulls latents towards zero."""
LOG_VARIANCE = -6.0
"""Log variance of the noise on the training latents. Fixed, because a learned one starts too high for the image."""
EDGE_WEIGHT = 0.1
CONSTANT = 2.0
"""Constant of the channels that keep normalization from removing the brightness."""
NUDGE = 0.1
"""Relative change of the latents, small enough for a linear response of the decoder."""
NOISE = 0.1
"""Initial weights relative to the scale that preserves variance."""


def build_picture_autoencoder(config: DiffusionConfig) -> Autoencoder:
    """Return the first stage's encoder and a decoder with only its image layers."""
    stage = config.first_stage_config
    assert isinstance(stage, AutoencodingEngineConfig) and not isinstance(stage.encoder_config, IdentityConfig)
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
    device: torch.device,
    batches: int,
) -> Autoencoder:
    """Train the autoencoder. Return it with averaged weights and latents scaled by their effect on the image."""
    torch.manual_seed(seed)
    model = build_picture_autoencoder(config)
    start_linear(model)
    model.to(device)
    stage = Stage("autoencoder", {"autoencoder": model}, work, steps=steps, rate=1.5e-4)
    tests = [fit_frame(image, 96, 160).to(device) for image in apart.values()]

    def loss_of(step: int) -> Tensor:
        rng = random.Random(seed * 1_000_003 + step)
        crops = [random_crop(rng.choice(pictures), CROP, CROP, rng, 0.7) for _ in range(BATCH * batches)]
        x = torch.stack([vary_color(crop, rng) for crop in crops]).to(device)
        mu, log_variance = model.encode(x).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * (log_variance / 2).exp()
        return reconstruction_loss(model.decode(z), x) + PRIOR_WEIGHT * mu.square().mean()

    @torch.no_grad()
    def measure() -> dict[str, float]:
        return {"psnr": fmean(psnr(model.decode(model.encode_mode(x)), x) for x in tests)}

    stage.run(loss_of, minutes=minutes, measure=measure)
    stage.use_average()
    rng = random.Random(seed)
    samples = torch.stack([random_crop(rng.choice(pictures), 96, 160, rng) for _ in range(48)])
    scale_latents(model, samples.to(device))
    return model


def reconstruction_loss(y: Tensor, x: Tensor) -> Tensor:
    """Return the mean squared error plus a small weight on neighboring pixel differences, which keeps edges sharp."""
    edges = F.mse_loss(y.diff(dim=-1), x.diff(dim=-1)) + F.mse_loss(y.diff(dim=-2), x.diff(dim=-2))
    return F.mse_loss(y, x) + EDGE_WEIGHT * edges


def fit_frame(image: Image.Image, height: int, width: int) -> Tensor:
    """Return the center of an image as (1, 3, height, width) in [-1, 1]."""
    return to_tensor(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS))[None]


@torch.no_grad()
def start_linear(model: Autoencoder) -> None:
    """Initialize an autoencoder that passes the mean color of every latent's square, and fix the variance.

    Residual branches start at zero, and the rest is linear. The encoder outputs the mean colors and, as further
    latents, the lowest cosines of the brightness (discrete cosine transform). The decoder uses only the colors; its
    channel c has color c % 3. A little noise in every convolution lets the other channels learn the details.
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
    latents = encoder.conv_out.out_channels // 2
    _encode_cosines(encoder, latents)
    for name, module in decoder.named_modules():
        if isinstance(module, nn.Conv2d) and name.endswith(("conv_in", "nin_shortcut", "upsample.conv")):
            _pass_colors(module)
    last = decoder.up[0].block[0]  # type: ignore[union-attr, index]
    _close(last.nin_shortcut, decoder.conv_out, 3)  # type: ignore[arg-type, union-attr]
    bias = encoder.conv_out.bias
    assert bias is not None
    encoder.conv_out.weight[latents:] = 0
    bias[latents:] = LOG_VARIANCE
    # Single rows of a parameter cannot be frozen, so their gradients are masked.
    rows = (torch.arange(2 * latents) < latents).float()
    encoder.conv_out.weight.register_hook(lambda gradient: gradient * rows.to(gradient.device)[:, None, None, None])
    bias.register_hook(lambda gradient: gradient * rows.to(gradient.device))


def _encode_cosines(encoder: Encoder, latents: int) -> None:
    """Make an encoder with two downsamplings output the cosines of every 4 x 4 square as its first channels.

    The first downsampling stores the pixels of 2 x 2 squares as channels, the second sums them.
    """
    width = encoder.conv_in.out_channels
    for channel in range(width):
        encoder.conv_in.weight[channel, channel % 3, 1, 1] += 1
    first, second = (level.downsample.conv for level in encoder.down[:2])  # type: ignore[union-attr]
    places = [(color, y, x) for color in range(3) for y in range(2) for x in range(2)]
    for channel, (color, y, x) in enumerate(places):
        sources = range(color, width, 3)
        first.weight[channel, sources, y, x] += 1 / len(sources)  # type: ignore[index, operator]
        for latent in range(latents):
            # (y, x) within the 4 x 4 square is twice the second kernel's position plus the first kernel's
            kernel = cosine(latent)[color, y::2, x::2]
            second.weight[latent, channel, :2, :2] += kernel  # type: ignore[index, operator]
    _close(encoder.down[-1].block[-1].nin_shortcut, encoder.conv_out, latents)  # type: ignore[arg-type, index, union-attr]


def cosine(latent: int) -> Tensor:
    """Return (3, 4, 4): mean red, green and blue first, then cosines of the brightness by increasing frequency."""
    if latent < 3:
        return torch.eye(3)[latent][:, None, None].expand(3, 4, 4) / 16
    order = sorted(((v, u) for v in range(4) for u in range(4) if v or u), key=lambda f: (f[0] ** 2 + f[1] ** 2, f))
    v, u = order[latent - 3]
    places = (torch.arange(4) + 0.5) * math.pi / 4
    wave = (v * places).cos()[:, None] * (u * places).cos()[None, :]
    return (wave / wave.norm() / 3).expand(3, 4, 4)


def _pass_colors(conv: nn.Conv2d) -> None:
    """Add color pass-through to a convolution: each output averages all inputs of its color."""
    middle = conv.kernel_size[0] // 2
    for out in range(conv.out_channels):
        # Only the first three latents are colors; the others are left to training.
        sources = range(out % 3, conv.in_channels if conv.in_channels >= 32 else 3, 3)
        for source in sources:
            conv.weight[out, source, middle, middle] += 1 / len(sources)


def _close(before: nn.Conv2d, after: nn.Conv2d, signals: int) -> None:
    """Make the convolutions around a final normalization pass this many signals through it.

    Channels come in groups of three before it: a signal and two opposite constants, which preserve the signal's
    strength. Groups alternate in sign, because the difference of the SiLUs of x and -x is x. An encoder's signals
    arrive as its first channels, a decoder's colors as every third one.
    """
    assert before.bias is not None and after.bias is not None
    groups = before.out_channels // 3
    for group in range(groups):
        signal, sign = group // 2 % signals, 1 - 2 * (group % 2)
        sources = range(signal, before.in_channels, 3) if signals == 3 else [signal]
        before.weight[3 * group : 3 * group + 3] *= 0.1
        before.weight[3 * group, :] = 0
        before.weight[3 * group, sources, 0, 0] = sign / len(sources)
        before.bias[3 * group + 1], before.bias[3 * group + 2] = sign * CONSTANT, -sign * CONSTANT
        # Normalization divides by about CONSTANT * sqrt(2/3); several groups share a signal and a sign.
        alike = len(range(signal, groups // 2, signals))
        gain = sign * CONSTANT * (2 / 3) ** 0.5 / alike
        # The group's mean was subtracted from all three; the two constants restore it.
        after.weight[signal, 3 * group : 3 * group + 3, 1, 1] += gain * torch.tensor([1, -0.5, -0.5])


@torch.no_grad()
def scale_latents(model: Autoencoder, pictures: Tensor) -> None:
    """Scale every latent by its effect on the image, the mean colors to a variance of about 1.

    With equal variances, barely visible fine details would dominate the content of a clip, and high noise levels would
    hide the coarse structure that shows motion. pictures: (n, 3, H, W) in [-1, 1].
    """
    z = model.encode_mode(pictures)
    deviation = z.std(dim=(0, 2, 3))
    decoded = model.decode(z)
    response = torch.zeros_like(deviation)
    for latent in range(len(deviation)):
        changed = z.clone()
        changed[:, latent] += NUDGE * deviation[latent] * torch.randn_like(z[:, latent])
        response[latent] = (model.decode(changed) - decoded).square().mean().sqrt()
    # The factors are folded into the convolutions before and after the latents.
    factors = response / response[:3].mean() / deviation
    assert model.encoder and model.decoder and model.encoder.conv_out.bias is not None
    means = len(factors)
    model.encoder.conv_out.weight[:means] *= factors[:, None, None, None]
    model.encoder.conv_out.bias[:means] *= factors
    model.decoder.conv_in.weight /= factors[None, :, None, None]


@torch.no_grad()
def lend_weights(source: Autoencoder, conditioner: Autoencoder, first_stage: Autoencoder) -> None:
    """Copy the weights to the conditioning frame's encoder and the first stage, except its temporal layers."""
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
    """Train the decoder to use neighboring frames. `clip_of` returns clips (t, 3, h, w) in [-1, 1]."""
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
    stage = Stage("temporal", {"decoder": first_stage.decoder}, work, steps=steps, rate=1.5e-4)
    device = first_stage.decoder.conv_out.weight.device
    tests = [fit_frame(image, 96, 160).to(device) for image in apart.values()]

    def loss_of(step: int) -> Tensor:
        rng = random.Random(seed * 1_000_033 + step)
        x = clip_of(rng).to(device)
        with torch.no_grad():
            z = first_stage.encode_mode(x)
            z = z + torch.randn_like(z) * rng.choice([0.0, 0.1, 0.2])
        y = first_stage.decode(z)
        return reconstruction_loss(y, x) + F.mse_loss(y.diff(dim=0), x.diff(dim=0))

    @torch.no_grad()
    def measure() -> dict[str, float]:
        clips = [x.expand(4, -1, -1, -1) for x in tests]
        return {"psnr": fmean(psnr(first_stage.decode(first_stage.encode_mode(x)), x) for x in clips)}

    stage.run(loss_of, minutes=minutes, measure=measure)
    stage.use_average()


@torch.no_grad()
def _identity(conv: nn.Conv3d) -> None:
    """Make a convolution over time the identity."""
    conv.weight.zero_()
    middle = conv.kernel_size[0] // 2
    for channel in range(conv.in_channels):
        conv.weight[channel, channel, middle] = 1
    if conv.bias is not None:
        conv.bias.zero_()
