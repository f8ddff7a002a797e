"""Model configurations in the reference's YAML format, resolved with an explicit table of allowed targets.

A node is `{target: dotted.name, params: {...}}`. `TARGETS` maps each allowed name to the parameters it accepts.
Anything else raises ConfigError with its path in the file, before any import or allocation. Parameters that only
affect training or kernel selection in the reference are accepted and ignored.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from img2vid.engine.config_tree import load_tree
from img2vid.errors import ConfigError, shown

Positive = Annotated[int, Field(gt=0, le=65_536)]
Blocks = Annotated[int, Field(gt=0, le=100)]
Levels = Annotated[list[Blocks], Field(min_length=1, max_length=10)]
Groups = Annotated[int, Field(gt=0, le=65_536, multiple_of=32)]
"""Channel count; group normalization needs a multiple of 32."""
Kernel = Annotated[list[Blocks], Field(min_length=3, max_length=3)]


class Node(BaseModel):
    """Parameters of a target; unknown ones raise ValidationError."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Ignored(Node):
    """Target that only training uses."""


class IdentityConfig(Ignored):
    """Module that is absent, such as the encoder of a first stage that only decodes."""


class _NestedError(ValueError):
    """Validation error inside a nested node, with its path below that node."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """Return the path and the message of the first error; paths of nested nodes are joined."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    cause: object = first.get("ctx", {}).get("error")
    if isinstance(cause, _NestedError):
        return f"{place}.{cause.place}", str(cause)
    message = first["msg"].removeprefix("Value error, ")
    if cause is None and first["type"] != "missing":
        message += f" (given: {str(first['input'])[:80]})"
    return shown(place) or "the top", message


def _resolve(value: object) -> object:
    """Return an instance of the class that `TARGETS` maps a `{target, params}` mapping to."""
    if isinstance(value, Node) or value is None:
        return value
    if not isinstance(value, Mapping) or "target" not in value:
        raise ValueError("expected a mapping with target and params")
    node = cast(Mapping[str, Any], value)
    target = node["target"]
    if not isinstance(target, str) or target not in TARGETS:
        known = ", ".join(sorted(TARGETS))
        raise ValueError(f"unknown target {shown(repr(target))}; choose one of {known}")
    try:
        return TARGETS[target].model_validate(node.get("params") or {})
    except ValidationError as error:
        place, message = _first_problem(error)
        raise _NestedError(f"params.{place}", message) from error


Resolved = BeforeValidator(_resolve)


class VScalingWithEDMcNoiseConfig(Node):
    """v-prediction with the noise level embedded as log(sigma) / 4."""


class DenoiserConfig(Node):
    """Preconditioning around the network."""

    scaling_config: Annotated[VScalingWithEDMcNoiseConfig, Resolved]


class VideoUNetConfig(Node):
    """Architecture of the UNet."""

    in_channels: Positive
    out_channels: Positive
    model_channels: Groups
    channel_mult: Levels
    num_res_blocks: Blocks
    attention_resolutions: list[Positive]
    context_dim: Positive
    adm_in_channels: Positive
    num_classes: Literal["sequential"]
    num_head_channels: int = -1
    num_heads: int = -1
    transformer_depth: Blocks | Levels = 1
    transformer_depth_middle: Blocks | None = None
    use_linear_in_transformer: bool = False
    extra_ff_mix_layer: bool = False
    """Ignored: the reference sets the inner width of its blocks, which always adds that layer."""
    use_spatial_context: Literal[True]
    merge_strategy: Literal["learned_with_images", "learned", "fixed"] = "fixed"
    merge_factor: float = 0.5
    video_kernel_size: Kernel = Field(default=[3, 3, 3])
    max_ddpm_temb_period: Annotated[int, Field(gt=0, le=10**9)] = 10_000
    spatial_transformer_attn_type: Literal["softmax", "softmax-xformers"] = "softmax"
    use_checkpoint: bool = False
    dropout: float = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> "VideoUNetConfig":
        if self.num_heads < 1 and self.num_head_channels < 1:
            raise ValueError("num_heads or num_head_channels is required")
        if isinstance(self.transformer_depth, list) and len(self.transformer_depth) != len(self.channel_mult):
            raise ValueError("transformer_depth needs one number for each entry of channel_mult")
        for mult in self.channel_mult:
            heads, head_dim = self.heads(mult * self.model_channels)
            if heads * head_dim != mult * self.model_channels:
                raise ValueError(f"{mult * self.model_channels} channels cannot be divided into heads of {head_dim}")
        return self

    def heads(self, channels: int) -> tuple[int, int]:
        """Return the number of attention heads and the channels per head of a layer with `channels` channels."""
        if self.num_head_channels < 1:
            return self.num_heads, channels // self.num_heads
        return channels // self.num_head_channels, self.num_head_channels

    @property
    def depths(self) -> list[int]:
        """Number of transformer blocks at each level."""
        depth = self.transformer_depth
        return depth if isinstance(depth, list) else [depth] * len(self.channel_mult)

    @property
    def depth_middle(self) -> int:
        """Number of transformer blocks in the middle."""
        return self.transformer_depth_middle or self.depths[-1]

    @property
    def downsampling(self) -> int:
        """Factor that the height and width of the latents must be multiples of."""
        return 2 ** (len(self.channel_mult) - 1)


class AutoencoderConfig(Node):
    """Architecture of an encoder and a decoder."""

    z_channels: Positive
    ch: Groups
    ch_mult: Levels
    num_res_blocks: Blocks
    in_channels: Positive
    out_ch: Positive
    double_z: Literal[True] = True
    attn_resolutions: Annotated[list[int], Field(max_length=0)] = []
    attn_type: Literal["vanilla", "vanilla-xformers"] = "vanilla"
    resolution: int = 256
    dropout: float = 0.0

    @property
    def moment_channels(self) -> int:
        """Number of channels of mean and log-variance together."""
        return 2 * self.z_channels

    @property
    def downsampling(self) -> int:
        """Pixels per latent along each side."""
        return 2 ** (len(self.ch_mult) - 1)


class EncoderConfig(AutoencoderConfig):
    """Encoder of an AutoencodingEngine."""


class DecoderConfig(AutoencoderConfig):
    """Decoder that processes frames independently, with num_res_blocks + 1 blocks per level."""

    num_res_blocks: Annotated[int, Field(ge=0, le=100)]


class VideoDecoderConfig(DecoderConfig):
    """Decoder with temporal layers."""

    video_kernel_size: Kernel = Field(default=[3, 3, 3])
    time_mode: Literal["conv-only"] = "conv-only"
    merge_strategy: Literal["learned"] = "learned"
    alpha: float = 0.0


class AutoencoderKLConfig(Node):
    """Encoder, image decoder and the 1x1 convolutions between them and the latents."""

    embed_dim: Positive
    ddconfig: AutoencoderConfig
    lossconfig: Annotated[Ignored | None, Resolved] = None
    monitor: str | None = None


class AutoencoderKLModeOnlyConfig(AutoencoderKLConfig):
    """AutoencoderKL that returns only the mean of the latents."""


class AutoencodingEngineConfig(Node):
    """Encoder, if any, and decoder without convolutions between them and the latents."""

    encoder_config: Annotated[EncoderConfig | IdentityConfig, Resolved]
    decoder_config: Annotated[VideoDecoderConfig | DecoderConfig, Resolved]
    regularizer_config: Annotated[Ignored, Resolved]
    loss_config: Annotated[Ignored | None, Resolved] = None
    monitor: str | None = None


class OpenCLIPImageConfig(Node):
    """Vision tower of an OpenCLIP architecture. `version` names weights to download and is ignored."""

    arch: Annotated[str, Field(pattern=r"^[\w.-]{1,100}$")] = "ViT-H-14"
    version: str | None = None
    freeze: bool = True
    antialias: bool = True


class ImagePredictionEmbedderConfig(Node):
    """CLIP embedding of the conditioning frame."""

    open_clip_embedding_config: Annotated[OpenCLIPImageConfig, Resolved]
    n_cond_frames: Literal[1]
    n_copies: Literal[1]


class FrameEncoderConfig(Node):
    """Latents of the conditioning frame."""

    encoder_config: Annotated[AutoencoderKLModeOnlyConfig, Resolved]
    n_cond_frames: Literal[1]
    n_copies: Literal[1]
    is_ae: Literal[True]
    disable_encoder_autocast: bool = False
    scale_factor: float = 1.0


class TimestepEmbedderConfig(Node):
    """Sinusoidal embedding of one number, which may differ between frames."""

    outdim: Annotated[int, Field(gt=0, le=65_536, multiple_of=2)]


EmbedderConfig = ImagePredictionEmbedderConfig | FrameEncoderConfig | TimestepEmbedderConfig

EXPECTED_KIND: dict[str, type[Node]] = {
    "cond_frames_without_noise": ImagePredictionEmbedderConfig,
    "cond_frames": FrameEncoderConfig,
    "fps_id": TimestepEmbedderConfig,
    "motion_bucket_id": TimestepEmbedderConfig,
    "cond_aug": TimestepEmbedderConfig,
    "polars_rad": TimestepEmbedderConfig,
    "azimuths_rad": TimestepEmbedderConfig,
}
"""Kind of embedder for each supported input key."""


class EmbedderEntry(BaseModel):
    """Entry of `emb_models`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_key: str
    embedder: EmbedderConfig
    is_trainable: bool = False
    ucg_rate: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _from_node(cls, value: object) -> object:
        if not isinstance(value, Mapping) or "embedder" in value:
            return cast(object, value)
        row = dict(cast(Mapping[str, Any], value))
        embedder = _resolve({key: row.pop(key) for key in ("target", "params") if key in row})
        return {**row, "embedder": embedder}

    @model_validator(mode="after")
    def _fits(self) -> "EmbedderEntry":
        expected = EXPECTED_KIND.get(self.input_key)
        if expected is None or not isinstance(self.embedder, expected):
            keys = ", ".join(EXPECTED_KIND)
            raise ValueError(f"unsupported embedder for {shown(repr(self.input_key))}; img2vid conditions on {keys}")
        return self


class ConditionerConfig(Node):
    """Embedders in the order of their numbers in the checkpoint."""

    emb_models: Annotated[list[EmbedderEntry], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _complete(self) -> "ConditionerConfig":
        keys = [entry.input_key for entry in self.emb_models]
        for needed in ("cond_frames_without_noise", "cond_frames"):
            if keys.count(needed) != 1:
                raise ValueError(f"exactly one embedder of {needed} is required, found {keys.count(needed)}")
        return self


class DiffusionConfig(Node):
    """Complete model."""

    scale_factor: float
    denoiser_config: Annotated[DenoiserConfig, Resolved]
    network_config: Annotated[VideoUNetConfig, Resolved]
    conditioner_config: Annotated[ConditionerConfig, Resolved]
    first_stage_config: Annotated[AutoencodingEngineConfig | AutoencoderKLConfig, Resolved]
    disable_first_stage_autocast: bool = False
    ckpt_path: str | None = None
    sampler_config: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "DiffusionConfig":
        vector = sum(
            e.embedder.outdim
            for e in self.conditioner_config.emb_models
            if isinstance(e.embedder, TimestepEmbedderConfig)
        )
        takes = self.network_config.adm_in_channels
        if vector != takes:
            raise ValueError(f"the embedders produce {vector} values, but the network expects {takes}")
        return self

    @property
    def input_keys(self) -> list[str]:
        """Input keys of the embedders, in the order of their numbers in the checkpoint."""
        return [entry.input_key for entry in self.conditioner_config.emb_models]

    @property
    def first_stage(self) -> AutoencoderConfig:
        """Architecture of the first stage's autoencoder."""
        stage = self.first_stage_config
        return stage.ddconfig if isinstance(stage, AutoencoderKLConfig) else stage.decoder_config

    @property
    def size_step(self) -> int:
        """Pixels that the height and width of a video must be multiples of."""
        return self.first_stage.downsampling * self.network_config.downsampling


class _Root(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: Annotated[DiffusionConfig, Resolved]


TARGETS: dict[str, type[Node]] = {
    "sgm.models.diffusion.DiffusionEngine": DiffusionConfig,
    "sgm.modules.diffusionmodules.denoiser.Denoiser": DenoiserConfig,
    "sgm.modules.diffusionmodules.denoiser_scaling.VScalingWithEDMcNoise": VScalingWithEDMcNoiseConfig,
    "sgm.modules.diffusionmodules.video_model.VideoUNet": VideoUNetConfig,
    "sgm.modules.GeneralConditioner": ConditionerConfig,
    "sgm.modules.encoders.modules.GeneralConditioner": ConditionerConfig,
    "sgm.modules.encoders.modules.FrozenOpenCLIPImagePredictionEmbedder": ImagePredictionEmbedderConfig,
    "sgm.modules.encoders.modules.FrozenOpenCLIPImageEmbedder": OpenCLIPImageConfig,
    "sgm.modules.encoders.modules.ConcatTimestepEmbedderND": TimestepEmbedderConfig,
    "sgm.modules.encoders.modules.VideoPredictionEmbedderWithEncoder": FrameEncoderConfig,
    "sgm.models.autoencoder.AutoencoderKL": AutoencoderKLConfig,
    "sgm.models.autoencoder.AutoencoderKLModeOnly": AutoencoderKLModeOnlyConfig,
    "sgm.models.autoencoder.AutoencodingEngine": AutoencodingEngineConfig,
    "sgm.modules.autoencoding.regularizers.DiagonalGaussianRegularizer": Ignored,
    "sgm.modules.diffusionmodules.model.Encoder": EncoderConfig,
    "sgm.modules.diffusionmodules.model.Decoder": DecoderConfig,
    "sgm.modules.autoencoding.temporal_ae.VideoDecoder": VideoDecoderConfig,
    "torch.nn.Identity": IdentityConfig,
}


def load_config(path: Path) -> DiffusionConfig:
    """Read and validate a model configuration.

    Raise ConfigError with the file, the path in it, the value found and the values allowed.
    """
    return _validate(load_tree(path), path)


def _validate(tree: Mapping[str, Any], path: Path) -> DiffusionConfig:
    try:
        return _Root.model_validate(tree).model
    except ValidationError as error:
        place, message = _first_problem(error)
        raise ConfigError(f"{path}, at {place}: {message}") from error
