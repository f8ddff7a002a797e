"""From a picture and three numbers to what the network is told: named embedders, a dataclass out."""

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
    """CLIP's view of the conditioning frame."""

    def __init__(self, config: ImagePredictionEmbedderConfig, folder: Path | None) -> None:
        super().__init__()
        self.open_clip = OpenCLIPImageEmbedder(config.open_clip_embedding_config, folder)

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, H, W) in [-1, 1] -> (1, 1, D), one token."""
        return self.open_clip(image)[:, None]


class FrameEncoder(nn.Module):
    """The latents of the conditioning frame."""

    def __init__(self, config: FrameEncoderConfig) -> None:
        super().__init__()
        self.scale_factor = config.scale_factor
        self.encoder = build_kl(config.encoder_config)

    def forward(self, frame: Tensor) -> Tensor:
        """(1, 3, H, W) in [-1, 1], noise added -> (1, z, h, w)."""
        return self.scale_factor * self.encoder.encode_mode(frame.to(self.encoder.dtype)).float()


class TimestepEmbedder(nn.Module):
    """The sinusoidal embedding of a number; it has no weights."""

    def __init__(self, config: TimestepEmbedderConfig) -> None:
        super().__init__()
        self.outdim = config.outdim

    def forward(self, value: Tensor) -> Tensor:
        """(1,) -> (1, outdim)."""
        return sinusoidal_embedding(value, self.outdim)


def build_kl(config: AutoencoderKLConfig) -> Autoencoder:
    """An autoencoder with 1x1 convolutions around its latents."""
    shape = config.ddconfig
    return Autoencoder(Encoder(shape), Decoder(shape), shape, config.embed_dim)


class Conditioner(nn.Module):
    """The embedders in the configuration's order, which is the order of the numbers in the checkpoint's names."""

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
        """The embedder of `input_key`."""
        return self.embedders[self.input_keys.index(input_key)]

    def embed_image(self, image: Tensor) -> Tensor:
        """(1, 3, H, W) -> (1, 1, D)."""
        return self.embedder("cond_frames_without_noise")(image)

    def encode_frame(self, frame: Tensor) -> Tensor:
        """(1, 3, H, W) -> (1, z, h, w)."""
        return self.embedder("cond_frames")(frame)

    def embed_scalars(self, values: dict[str, float], device: torch.device) -> Tensor:
        """(1, adm), the embeddings of the numbers side by side in the configuration's order."""
        parts = [
            cast(Tensor, embedder(torch.tensor([values[key]], dtype=torch.float32, device=device)))
            for key, embedder in zip(self.input_keys, self.embedders, strict=True)
            if isinstance(embedder, TimestepEmbedder)
        ]
        return torch.cat(parts, dim=1)

    def clip(
        self, image_embedding: Tensor, frame_latents: Tensor, scalars: dict[str, float], num_frames: int
    ) -> tuple[Conditioning, Conditioning]:
        """Conditioning of `num_frames` frames and its unconditional twin, where both views of the picture are zero.

        image_embedding: (1, 1, D) of `embed_image`; frame_latents: (1, z, h, w) of `encode_frame`; scalars: fps_id,
        motion_bucket_id and cond_aug by name.
        """
        crossattn = image_embedding.expand(num_frames, -1, -1)
        concat = frame_latents.expand(num_frames, -1, -1, -1)
        vector = self.embed_scalars(scalars, image_embedding.device).expand(num_frames, -1)
        cond = Conditioning(crossattn, concat, vector)
        return cond, Conditioning(torch.zeros_like(crossattn), torch.zeros_like(concat), vector)
