"""A whole checkpoint as one module tree, whose parameter names are the checkpoint's."""

from pathlib import Path

import torch
from torch import Tensor, nn

from img2vid.engine.conditioner import Conditioner, FrameEncoder, ImagePredictionEmbedder, build_kl
from img2vid.engine.config import AutoencoderKLConfig, AutoencodingEngineConfig, DiffusionConfig, VideoDecoderConfig
from img2vid.engine.nets.autoencoder import Autoencoder, Decoder, Encoder
from img2vid.engine.nets.temporal_decoder import VideoDecoder
from img2vid.engine.nets.unet import VideoUNet


class NetworkHolder(nn.Module):
    """The checkpoints file the network under `model.diffusion_model`."""

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
        """Drops the parts of a checkpoint that sampling never uses.

        These are the first stage's encoder, the decoder of the conditioning frame's autoencoder, and CLIP's text half.
        """
        self.first_stage_model.drop_encoder()
        for embedder in self.conditioner.embedders:
            if isinstance(embedder, FrameEncoder):
                embedder.encoder.drop_decoder()
            elif isinstance(embedder, ImagePredictionEmbedder):
                embedder.open_clip.drop_text()

    def drop_fused(self) -> None:
        """Drops the network and the decoder, which live on in their fast form."""
        del self.model
        self.first_stage_model.drop_decoder()

    def weights(self) -> dict[str, Tensor]:
        """Every parameter and stored buffer by its name in the checkpoint."""
        return self.state_dict(keep_vars=True)


def build_first_stage(config: AutoencodingEngineConfig | AutoencoderKLConfig) -> Autoencoder:
    """The autoencoder that turns latents into frames."""
    if isinstance(config, AutoencoderKLConfig):
        return build_kl(config)
    shape = config.decoder_config
    decoder = VideoDecoder(shape, shape.video_kernel_size) if isinstance(shape, VideoDecoderConfig) else Decoder(shape)
    return Autoencoder(Encoder(config.encoder_config), decoder, shape, None)


def build_meta(config: DiffusionConfig, folder: Path | None) -> SvdModel:
    """The model without any memory behind its parameters: names and shapes alone.

    `folder` may hold `clip/<arch>.json`, the CLIP architecture that the configuration names.
    """
    with torch.device("meta"):
        return SvdModel(config, folder).eval().requires_grad_(False)
