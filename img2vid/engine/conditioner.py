"""Conditioning of the network: embeddings of an image and of numbers, computed by named embedders."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from img2vid.engine.config import (
    AutoencoderKLConfig,
    ConditionerConfig,
    EmbedderEntry,
    FrameEncoderConfig,
    ImagePredictionEmbedderConfig,
    TimestepEmbedderConfig,
)
from img2vid.engine.interface import PER_FRAME, Conditioning, ConditioningSettings
from img2vid.engine.nets.autoencoder import Autoencoder, Decoder, Encoder
from img2vid.engine.nets.blocks import sinusoidal_embedding
from img2vid.engine.nets.clip import OpenCLIPImageEmbedder


class ImagePredictionEmbedder(nn.Module):
    """CLIP embedding of the conditioning frame."""

    def __init__(self, config: ImagePredictionEmbedderConfig, folder: Path | None) -> None:
        super().__init__()
        self.open_clip = OpenCLIPImageEmbedder(config.open_clip_embedding_config, folder)

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, H, W) in [-1, 1] -> (1, 1, D), one token."""
        return self.open_clip(image)[:, None]


class FrameEncoder(nn.Module):
    """Encoder that turns the conditioning frame into latents."""

    def __init__(self, config: FrameEncoderConfig) -> None:
        super().__init__()
        self.scale_factor = config.scale_factor
        self.encoder = build_kl(config.encoder_config)

    def forward(self, frame: Tensor) -> Tensor:
        """(1, 3, H, W) in [-1, 1], with noise already added -> (1, z, h, w)."""
        return self.scale_factor * self.encoder.encode_mode(frame.to(self.encoder.dtype)).float()


class TimestepEmbedder(nn.Module):
    """Sinusoidal embedding of a number, without weights."""

    def __init__(self, config: TimestepEmbedderConfig) -> None:
        super().__init__()
        self.outdim = config.outdim

    def forward(self, value: Tensor) -> Tensor:
        """(n,) -> (n, outdim)."""
        return sinusoidal_embedding(value, self.outdim)


def build_kl(config: AutoencoderKLConfig) -> Autoencoder:
    """Return an autoencoder with 1x1 convolutions around its latents."""
    shape = config.ddconfig
    return Autoencoder(Encoder(shape), Decoder(shape), shape, config.embed_dim)


class Conditioner(nn.Module):
    """Embedders in the order of the configuration, which is also their numbering in the checkpoint."""

    def __init__(self, config: ConditionerConfig, folder: Path | None) -> None:
        super().__init__()
        self.input_keys = [entry.input_key for entry in config.emb_models]
        self.embedders = nn.ModuleList(self._build(entry, folder) for entry in config.emb_models)

    @staticmethod
    def _build(entry: EmbedderEntry, folder: Path | None) -> nn.Module:
        config = entry.embedder
        if isinstance(config, ImagePredictionEmbedderConfig):
            return ImagePredictionEmbedder(config, folder)
        if isinstance(config, FrameEncoderConfig):
            return FrameEncoder(config)
        return TimestepEmbedder(config)

    def embedder(self, input_key: str) -> nn.Module:
        """Return the embedder of `input_key`."""
        return self.embedders[self.input_keys.index(input_key)]

    @property
    def is_per_frame(self) -> bool:
        """True if the vector differs between frames."""
        return any(key in PER_FRAME for key in self.input_keys)

    def embed_image(self, image: Tensor) -> Tensor:
        """(1, 3, H, W) -> (1, 1, D)."""
        return self.embedder("cond_frames_without_noise")(image)

    def encode_frame(self, frame: Tensor) -> Tensor:
        """(1, 3, H, W) -> (1, z, h, w)."""
        return self.embedder("cond_frames")(frame)

    def embed_numbers(self, values: Mapping[str, Sequence[float]], device: torch.device) -> Tensor:
        """Return the embeddings of n numbers per key, concatenated in the order of the configuration, as (n, adm)."""

        def embed(numbers: Sequence[float], embedder: TimestepEmbedder) -> Tensor:
            distinct = numbers if len(set(numbers)) > 1 else numbers[:1]  # equal numbers give equal bits
            embedded: Tensor = embedder(torch.tensor(distinct, dtype=torch.float32, device=device))
            return embedded.expand(len(numbers), -1)

        embedders = zip(self.input_keys, self.embedders, strict=True)
        return torch.cat([embed(values[key], e) for key, e in embedders if isinstance(e, TimestepEmbedder)], dim=1)

    def clip(
        self, image_embedding: Tensor, frame_latents: Tensor, settings: ConditioningSettings
    ) -> tuple[Conditioning, Conditioning]:
        """Return the conditional and the unconditional conditioning of all frames.

        Both image embeddings are zero in the unconditional one. image_embedding: (1, 1, D) from `embed_image`.
        frame_latents: (1, z, h, w) from `encode_frame`.
        """
        num_frames = settings.num_frames
        crossattn = image_embedding.expand(num_frames, -1, -1)
        concat = frame_latents.expand(num_frames, -1, -1, -1)
        vector = self.embed_numbers(settings.numbers(self.input_keys), image_embedding.device)
        cond = Conditioning(crossattn, concat, vector)
        return cond, Conditioning(torch.zeros_like(crossattn), torch.zeros_like(concat), vector)
