"""Conditioning of the network: embeddings of an image and three scalars, computed by named embedders."""

from pathlib import Path
from typing import cast

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
from img2vid.engine.interface import Conditioning
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
    """Sinusoidal embedding of a scalar, without weights."""

    def __init__(self, config: TimestepEmbedderConfig) -> None:
        super().__init__()
        self.outdim = config.outdim

    def forward(self, value: Tensor) -> Tensor:
        """(1,) -> (1, outdim)."""
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

    def embed_image(self, image: Tensor) -> Tensor:
        """(1, 3, H, W) -> (1, 1, D)."""
        return self.embedder("cond_frames_without_noise")(image)

    def encode_frame(self, frame: Tensor) -> Tensor:
        """(1, 3, H, W) -> (1, z, h, w)."""
        return self.embedder("cond_frames")(frame)

    def embed_scalars(self, values: dict[str, float], device: torch.device) -> Tensor:
        """Return the scalar embeddings, concatenated in the order of the configuration, as (1, adm)."""
        parts = [
            cast(Tensor, embedder(torch.tensor([values[key]], dtype=torch.float32, device=device)))
            for key, embedder in zip(self.input_keys, self.embedders, strict=True)
            if isinstance(embedder, TimestepEmbedder)
        ]
        return torch.cat(parts, dim=1)

    def clip(
        self, image_embedding: Tensor, frame_latents: Tensor, scalars: dict[str, float], num_frames: int
    ) -> tuple[Conditioning, Conditioning]:
        """Return the conditional and the unconditional conditioning of `num_frames` frames.

        Both image embeddings are zero in the unconditional one. image_embedding: (1, 1, D) from `embed_image`.
        frame_latents: (1, z, h, w) from `encode_frame`. scalars: fps_id, motion_bucket_id and cond_aug by name.
        """
        crossattn = image_embedding.expand(num_frames, -1, -1)
        concat = frame_latents.expand(num_frames, -1, -1, -1)
        vector = self.embed_scalars(scalars, image_embedding.device).expand(num_frames, -1)
        cond = Conditioning(crossattn, concat, vector)
        return cond, Conditioning(torch.zeros_like(crossattn), torch.zeros_like(concat), vector)
