"""Complete model as one module tree with the parameter names of the checkpoints."""

from pathlib import Path

import torch
from torch import Tensor, nn

from img2vid.engine.conditioner import Conditioner, FrameEncoder, ImagePredictionEmbedder, build_kl
from img2vid.engine.config import (
    AutoencoderKLConfig,
    AutoencodingEngineConfig,
    DiffusionConfig,
    EncoderConfig,
    VideoDecoderConfig,
)
from img2vid.engine.nets.autoencoder import Autoencoder, Decoder, Encoder
from img2vid.engine.nets.temporal_decoder import VideoDecoder
from img2vid.engine.nets.unet import VideoUNet


class NetworkHolder(nn.Module):
    """Wrapper that gives the network its prefix `model.diffusion_model` in checkpoints."""

    def __init__(self, network: VideoUNet) -> None:
        super().__init__()
        self.diffusion_model = network


class SvdModel(nn.Module):
    """Network, conditioner and first stage of one checkpoint."""

    def __init__(self, config: DiffusionConfig, folder: Path | None) -> None:
        super().__init__()
        self.config = config
        self.model = NetworkHolder(VideoUNet(config.network_config))
        self.conditioner = Conditioner(config.conditioner_config, folder)
        self.first_stage_model = build_first_stage(config.first_stage_config)

    @property
    def network(self) -> VideoUNet:
        """The UNet."""
        return self.model.diffusion_model

    def drop_unused(self) -> None:
        """Remove the modules that sampling never uses.

        These are the first stage's encoder, the decoder of the conditioning frame's autoencoder, and CLIP's text part.
        """
        self.first_stage_model.drop_encoder()
        for embedder in self.conditioner.embedders:
            if isinstance(embedder, FrameEncoder):
                embedder.encoder.drop_decoder()
            elif isinstance(embedder, ImagePredictionEmbedder):
                embedder.open_clip.drop_text()

    def drop_fused(self) -> None:
        """Remove the network and the decoder after their conversion to the optimized form."""
        del self.model
        self.first_stage_model.drop_decoder()

    def weights(self) -> dict[str, Tensor]:
        """Return all parameters and persistent buffers by their names in the checkpoint."""
        return self.state_dict(keep_vars=True)


def build_first_stage(config: AutoencodingEngineConfig | AutoencoderKLConfig) -> Autoencoder:
    """Return the autoencoder that decodes latents to frames."""
    if isinstance(config, AutoencoderKLConfig):
        return build_kl(config)
    shape = config.decoder_config
    decoder = VideoDecoder(shape, shape.video_kernel_size) if isinstance(shape, VideoDecoderConfig) else Decoder(shape)
    encoder = Encoder(config.encoder_config) if isinstance(config.encoder_config, EncoderConfig) else None
    return Autoencoder(encoder, decoder, shape, None)


def build_meta(config: DiffusionConfig, folder: Path | None) -> SvdModel:
    """Return the model on the meta device: names and shapes without allocated memory.

    `folder` may hold `clip/<arch>.json`, the CLIP architecture that the configuration names.
    """
    with torch.device("meta"):
        return SvdModel(config, folder).eval().requires_grad_(False)
