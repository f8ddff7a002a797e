"""The reference's YAML form, read through an explicit table of known targets.

A node is `{target: dotted.name, params: {...}}`. `TARGETS` says which names are known and which parameters each one
takes; anything else is refused with its place in the file, before anything is imported or allocated. Some parameters
steer training or a choice of kernels that this engine does not have; they are accepted and mean nothing here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from yaml import YAMLError

from img2vid.errors import ConfigError

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Groups = Annotated[int, Field(gt=0, multiple_of=32)]
"""Channels: group normalisation cuts them into 32 groups."""
Kernel = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=3, max_length=3)]


class Node(BaseModel):
    """Parameters of a target; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Ignored(Node):
    """A target that only training uses."""


class _Misplaced(ValueError):
    """A problem inside a nested node, with its place below that node."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """Where the first problem is and what it is; a problem inside a nested node adds its place to the outer one's."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    cause: object = first.get("ctx", {}).get("error")
    if isinstance(cause, _Misplaced):
        return f"{place}.{cause.place}", str(cause)
    message = first["msg"].removeprefix("Value error, ")
    if cause is None and first["type"] != "missing":
        message += f" (given: {str(first['input'])[:80]})"
    return place or "the top", message


def _resolve(value: object) -> object:
    """{target, params} -> an instance of the class that `TARGETS` names."""
    if isinstance(value, Node) or value is None:
        return value
    if not isinstance(value, Mapping) or "target" not in value:
        raise ValueError("a mapping with `target` and `params` belongs here")
    node = cast(Mapping[str, Any], value)
    target = node["target"]
    if not isinstance(target, str) or target not in TARGETS:
        known = ", ".join(sorted(TARGETS))
        raise ValueError(f"target {target!r} is not known to img2vid; known are {known}")
    try:
        return TARGETS[target].model_validate(node.get("params") or {})
    except ValidationError as error:
        place, message = _first_problem(error)
        raise _Misplaced(f"params.{place}", message) from error


Resolved = BeforeValidator(_resolve)


class VScalingWithEDMcNoiseConfig(Node):
    """v-prediction with the noise level embedded as log(sigma) / 4."""


class DenoiserConfig(Node):
    """The preconditioning around the network."""

    scaling_config: Annotated[VScalingWithEDMcNoiseConfig, Resolved]


class VideoUNetConfig(Node):
    """The shape of the UNet."""

    in_channels: Positive
    out_channels: Positive
    model_channels: Groups
    channel_mult: Annotated[list[Positive], Field(min_length=1)]
    num_res_blocks: Positive
    attention_resolutions: list[Positive]
    context_dim: Positive
    adm_in_channels: Positive
    num_classes: Literal["sequential"]
    num_head_channels: int = -1
    num_heads: int = -1
    transformer_depth: Positive | list[Positive] = 1
    transformer_depth_middle: Positive | None = None
    use_linear_in_transformer: bool = False
    extra_ff_mix_layer: bool = False
    """Changes nothing: the reference tells its blocks their inner width, and then they always have that layer."""
    use_spatial_context: Literal[True]
    merge_strategy: Literal["learned_with_images", "learned", "fixed"] = "fixed"
    merge_factor: float = 0.5
    video_kernel_size: Kernel = Field(default=[3, 3, 3])
    max_ddpm_temb_period: Positive = 10_000
    spatial_transformer_attn_type: Literal["softmax", "softmax-xformers"] = "softmax"
    use_checkpoint: bool = False
    dropout: float = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> "VideoUNetConfig":
        if self.num_heads < 1 and self.num_head_channels < 1:
            raise ValueError("one of num_heads and num_head_channels is needed")
        if isinstance(self.transformer_depth, list) and len(self.transformer_depth) != len(self.channel_mult):
            raise ValueError("transformer_depth needs one number for each entry of channel_mult")
        for mult in self.channel_mult:
            heads, head_dim = self.heads(mult * self.model_channels)
            if heads * head_dim != mult * self.model_channels:
                raise ValueError(f"{mult * self.model_channels} channels cannot be divided into heads of {head_dim}")
        return self

    def heads(self, channels: int) -> tuple[int, int]:
        """How many attention heads of how many channels a layer of `channels` has."""
        if self.num_head_channels < 1:
            return self.num_heads, channels // self.num_heads
        return channels // self.num_head_channels, self.num_head_channels

    @property
    def depths(self) -> list[int]:
        """Transformer blocks at each level."""
        depth = self.transformer_depth
        return depth if isinstance(depth, list) else [depth] * len(self.channel_mult)

    @property
    def depth_middle(self) -> int:
        """Transformer blocks in the middle."""
        return self.transformer_depth_middle or self.depths[-1]

    @property
    def downsampling(self) -> int:
        """The sides of the latents must be multiples of this."""
        return 2 ** (len(self.channel_mult) - 1)


class AutoencoderConfig(Node):
    """The shape of an encoder and a decoder."""

    z_channels: Positive
    ch: Groups
    ch_mult: Annotated[list[Positive], Field(min_length=1)]
    num_res_blocks: Positive
    in_channels: Positive
    out_ch: Positive
    double_z: Literal[True] = True
    attn_resolutions: Annotated[list[int], Field(max_length=0)] = []
    attn_type: Literal["vanilla", "vanilla-xformers"] = "vanilla"
    resolution: int = 256
    dropout: float = 0.0

    @property
    def moment_channels(self) -> int:
        """Channels of mean and log-variance together."""
        return 2 * self.z_channels

    @property
    def downsampling(self) -> int:
        """Pixels along one side of a latent."""
        return 2 ** (len(self.ch_mult) - 1)


class EncoderConfig(AutoencoderConfig):
    """The encoder of an AutoencodingEngine."""


class DecoderConfig(AutoencoderConfig):
    """A decoder that works frame by frame. It has one block a level more than num_res_blocks says."""

    num_res_blocks: Count


class VideoDecoderConfig(DecoderConfig):
    """A decoder with temporal layers."""

    video_kernel_size: Kernel = Field(default=[3, 3, 3])
    time_mode: Literal["conv-only"] = "conv-only"
    merge_strategy: Literal["learned"] = "learned"
    alpha: float = 0.0


class AutoencoderKLConfig(Node):
    """Encoder, picture decoder and the 1x1 convolutions between them and the latents."""

    embed_dim: Positive
    ddconfig: AutoencoderConfig
    lossconfig: Annotated[Ignored | None, Resolved] = None
    monitor: str | None = None


class AutoencoderKLModeOnlyConfig(AutoencoderKLConfig):
    """The same, used for its mean alone."""


class AutoencodingEngineConfig(Node):
    """Encoder and decoder without convolutions between them and the latents."""

    encoder_config: Annotated[EncoderConfig, Resolved]
    decoder_config: Annotated[VideoDecoderConfig | DecoderConfig, Resolved]
    regularizer_config: Annotated[Ignored, Resolved]
    loss_config: Annotated[Ignored | None, Resolved] = None
    monitor: str | None = None


class OpenCLIPImageConfig(Node):
    """The vision tower of an OpenCLIP architecture. `version` names weights to download, which img2vid never does."""

    arch: str = "ViT-H-14"
    version: str | None = None
    freeze: bool = True
    antialias: bool = True


class ImagePredictionEmbedderConfig(Node):
    """CLIP's embedding of the conditioning frame."""

    open_clip_embedding_config: Annotated[OpenCLIPImageConfig, Resolved]
    n_cond_frames: Literal[1]
    n_copies: Literal[1]


class FrameEncoderConfig(Node):
    """The latents of the conditioning frame."""

    encoder_config: Annotated[AutoencoderKLModeOnlyConfig, Resolved]
    n_cond_frames: Literal[1]
    n_copies: Literal[1]
    is_ae: Literal[True]
    disable_encoder_autocast: bool = False
    scale_factor: float = 1.0


class TimestepEmbedderConfig(Node):
    """A sinusoidal embedding of one number."""

    outdim: Annotated[int, Field(gt=0, multiple_of=2)]


EmbedderConfig = ImagePredictionEmbedderConfig | FrameEncoderConfig | TimestepEmbedderConfig

EXPECTED_KIND: dict[str, type[Node]] = {
    "cond_frames_without_noise": ImagePredictionEmbedderConfig,
    "cond_frames": FrameEncoderConfig,
    "fps_id": TimestepEmbedderConfig,
    "motion_bucket_id": TimestepEmbedderConfig,
    "cond_aug": TimestepEmbedderConfig,
}
"""What a conditioning may be made from, and by what kind of embedder."""


class EmbedderEntry(BaseModel):
    """One row of `emb_models`."""

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
            raise ValueError(f"no such embedder of {self.input_key!r} is known; img2vid conditions on {keys}")
        return self


class ConditionerConfig(Node):
    """The embedders, in the order in which the checkpoint numbers them."""

    emb_models: Annotated[list[EmbedderEntry], Field(min_length=1)]

    @model_validator(mode="after")
    def _complete(self) -> "ConditionerConfig":
        keys = [entry.input_key for entry in self.emb_models]
        for needed in ("cond_frames_without_noise", "cond_frames"):
            if keys.count(needed) != 1:
                raise ValueError(f"exactly one embedder of {needed} is needed, found {keys.count(needed)}")
        return self


class DiffusionConfig(Node):
    """The whole model."""

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
            raise ValueError(f"the embedders make a vector of {vector} numbers, the network takes {takes}")
        return self

    @property
    def first_stage(self) -> AutoencoderConfig:
        """The shape of the first stage's autoencoder."""
        stage = self.first_stage_config
        return stage.ddconfig if isinstance(stage, AutoencoderKLConfig) else stage.decoder_config

    @property
    def size_step(self) -> int:
        """Height and width of a video must be multiples of this many pixels."""
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
    "torch.nn.Identity": Ignored,
}


def load_config(path: Path) -> DiffusionConfig:
    """Reads and checks a model configuration.

    Raises ConfigError naming the file, the place in it, what is there and what would do.
    """
    return _validate(load_tree(path), path)


def load_tree(path: Path) -> dict[str, Any]:
    """The configuration as plain nested mappings, with interpolations resolved; targets are not looked up."""
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no model configuration {path}") from error
    except (OmegaConfBaseException, YAMLError, OSError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read as a model configuration: {reason}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} is not a model configuration: a mapping with `model` at its top is expected")
    return cast(dict[str, Any], tree)


def _validate(tree: Mapping[str, Any], path: Path) -> DiffusionConfig:
    try:
        return _Root.model_validate(tree).model
    except ValidationError as error:
        place, message = _first_problem(error)
        raise ConfigError(f"{path}, at {place}: {message}") from error
