"""First stage: the autoencoder on crops, then its temporal decoder on clips."""

import math
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
NUDGE = 0.1
"""Of the latents' deviation: a change so small that the decoder's answer to it is linear."""
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
    device: torch.device,
    batches: int,
) -> Autoencoder:
    """Returns the trained autoencoder with its averaged weights, its latents scaled by what they do to the picture."""
    torch.manual_seed(seed)
    model = build_picture_autoencoder(config)
    start_linear(model)
    model.to(device)
    stage = Stage("autoencoder", {"autoencoder": model}, work, steps=steps, rate=1.5e-4)
    tests = [fit_frame(image, 96, 160).to(device) for image in apart.values()]

    def loss_of(step: int) -> Tensor:
        rng = random.Random(seed * 1_000_003 + step)
        crops = [random_crop(rng.choice(pictures), CROP, CROP, rng, 0.7) for _ in range(BATCH * batches)]
        x = torch.stack([vary_colour(crop, rng) for crop in crops]).to(device)
        mu, log_variance = model.encode(x).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * (log_variance / 2).exp()
        return reconstruction_loss(model.decode(z), x) + PRIOR_WEIGHT * mu.square().mean()

    @torch.no_grad()
    def measure() -> dict[str, float]:
        return {"psnr": mean(psnr(model.decode(model.encode_mode(x)), x) for x in tests)}

    stage.run(loss_of, minutes=minutes, measure=measure)
    stage.use_average()
    rng = random.Random(seed)
    samples = torch.stack([random_crop(rng.choice(pictures), 96, 160, rng) for _ in range(48)])
    scale_latents(model, samples.to(device))
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

    Residual branches start at zero, and what remains is linear. The encoder gives the mean colours and, as further
    latents, the lowest cosines of the brightness (discrete cosine transform); the decoder knows the colours alone, its
    channel c has colour c % 3. A little noise in every convolution lets the other channels find the details.
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
            _pass_colours(module)
    last = decoder.up[0].block[0]  # type: ignore[union-attr, index]
    _close(last.nin_shortcut, decoder.conv_out, 3)  # type: ignore[arg-type, union-attr]
    bias = encoder.conv_out.bias
    assert bias is not None
    encoder.conv_out.weight[latents:] = 0
    bias[latents:] = LOG_VARIANCE
    # Rows of one parameter cannot be frozen alone: their gradients are.
    rows = (torch.arange(2 * latents) < latents).float()
    encoder.conv_out.weight.register_hook(lambda gradient: gradient * rows.to(gradient.device)[:, None, None, None])
    bias.register_hook(lambda gradient: gradient * rows.to(gradient.device))


def _encode_cosines(encoder: Encoder, latents: int) -> None:
    """Makes an encoder with two downsamplings give the cosines of every 4 x 4 square as its first channels.

    The first downsampling sets the pixels of 2 x 2 squares side by side as channels, the second sums them up.
    """
    width = encoder.conv_in.out_channels
    for channel in range(width):
        encoder.conv_in.weight[channel, channel % 3, 1, 1] += 1
    first, second = (level.downsample.conv for level in encoder.down[:2])  # type: ignore[union-attr]
    places = [(colour, y, x) for colour in range(3) for y in range(2) for x in range(2)]
    for channel, (colour, y, x) in enumerate(places):
        sources = range(colour, width, 3)
        first.weight[channel, sources, y, x] += 1 / len(sources)  # type: ignore[index, operator]
        for latent in range(latents):
            # (y, x) within the square of four: twice the place of the second kernel plus that of the first
            kernel = cosine(latent)[colour, y::2, x::2]
            second.weight[latent, channel, :2, :2] += kernel  # type: ignore[index, operator]
    _close(encoder.down[-1].block[-1].nin_shortcut, encoder.conv_out, latents)  # type: ignore[arg-type, index, union-attr]


def cosine(latent: int) -> Tensor:
    """(3, 4, 4): mean red, green and blue first, then cosines of the brightness in the order of their frequency."""
    if latent < 3:
        return torch.eye(3)[latent][:, None, None].expand(3, 4, 4) / 16
    order = sorted(((v, u) for v in range(4) for u in range(4) if v or u), key=lambda f: (f[0] ** 2 + f[1] ** 2, f))
    v, u = order[latent - 3]
    places = (torch.arange(4) + 0.5) * math.pi / 4
    wave = (v * places).cos()[:, None] * (u * places).cos()[None, :]
    return (wave / wave.norm() / 3).expand(3, 4, 4)


def _pass_colours(conv: nn.Conv2d) -> None:
    """Adds to a convolution what hands colours on, each output from all inputs of its colour."""
    middle = conv.kernel_size[0] // 2
    for out in range(conv.out_channels):
        # Of the latents only the first three are colours; what is in the others is left to training.
        sources = range(out % 3, conv.in_channels if conv.in_channels >= 32 else 3, 3)
        for source in sources:
            conv.weight[out, source, middle, middle] += 1 / len(sources)


def _close(before: nn.Conv2d, after: nn.Conv2d, signals: int) -> None:
    """Makes the convolutions around a last normalisation pass so many signals through it.

    In front of it channels come in threes, one group each: a signal and two opposite constants, next to which the
    signal keeps its strength. Groups alternate in sign, because the difference of the SiLUs of x and -x is x. An
    encoder's signals come in as its first channels, a decoder's colours as every third one.
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
        # The normalisation divides by about CONSTANT times the root of 2/3; several groups share a signal and a sign.
        alike = len(range(signal, groups // 2, signals))
        gain = sign * CONSTANT * (2 / 3) ** 0.5 / alike
        # The group's mean was taken from all three alike: the two constants give it back.
        after.weight[signal, 3 * group : 3 * group + 3, 1, 1] += gain * torch.tensor([1, -0.5, -0.5])


@torch.no_grad()
def scale_latents(model: Autoencoder, pictures: Tensor) -> None:
    """Scales every latent by what it does to the picture; those of the mean colours get a variance of about 1.

    With equal variances the fine details, which hardly show, would outvote what a clip is about, and at high noise
    levels nothing coarse would be left to see motion by. pictures: (n, 3, H, W) in [-1, 1].
    """
    z = model.encode_mode(pictures)
    deviation = z.std(dim=(0, 2, 3))
    decoded = model.decode(z)
    response = torch.zeros_like(deviation)
    for latent in range(len(deviation)):
        changed = z.clone()
        changed[:, latent] += NUDGE * deviation[latent] * torch.randn_like(z[:, latent])
        response[latent] = (model.decode(changed) - decoded).square().mean().sqrt()
    _rescale(model, response / response[:3].mean() / deviation)


def _rescale(model: Autoencoder, factors: Tensor) -> None:
    """Multiplies the latents by the factors (z,) by way of the convolutions next to them."""
    assert model.encoder and model.decoder and model.encoder.conv_out.bias is not None
    means = len(factors)
    model.encoder.conv_out.weight[:means] *= factors[:, None, None, None]
    model.encoder.conv_out.bias[:means] *= factors
    model.decoder.conv_in.weight /= factors[None, :, None, None]


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
