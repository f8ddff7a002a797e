"""Names of a model's weights in diffusers' layout, derived from their names in Stability's single file.

The numbers of levels and blocks follow from the names themselves, so that the rules hold for any width and depth.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

UNET, FIRST_STAGE, VISUAL = "model.diffusion_model.", "first_stage_model.", ".open_clip.model.visual."
FRAME_ENCODER = re.compile(r"conditioner\.embedders\.\d+\.encoder\.")

_RESIDUAL = {
    "in_layers.0.": "norm1.",
    "in_layers.2.": "conv1.",
    "emb_layers.1.": "time_emb_proj.",
    "out_layers.0.": "norm2.",
    "out_layers.3.": "conv2.",
    "skip_connection.": "conv_shortcut.",
    "nin_shortcut.": "conv_shortcut.",
}
_UNET_ENDS = {
    "time_embed.0.": "time_embedding.linear_1.",
    "time_embed.2.": "time_embedding.linear_2.",
    "label_emb.0.0.": "add_embedding.linear_1.",
    "label_emb.0.2.": "add_embedding.linear_2.",
    "input_blocks.0.0.": "conv_in.",
    "middle_block.0.": "mid_block.resnets.0.",
    "middle_block.1.": "mid_block.attentions.0.",
    "middle_block.2.": "mid_block.resnets.1.",
    "out.0.": "conv_norm_out.",
    "out.2.": "conv_out.",
}
_TRANSFORMER = {
    "time_stack.": "temporal_transformer_blocks.",
    "time_pos_embed.0.": "time_pos_embed.linear_1.",
    "time_pos_embed.2.": "time_pos_embed.linear_2.",
}
_AUTOENCODER = {
    "mid.block_1.": "mid_block.resnets.0.",
    "mid.attn_1.": "mid_block.attentions.0.",
    "mid.block_2.": "mid_block.resnets.1.",
    "norm_out.": "conv_norm_out.",
}
_PICTURE_ATTENTION = {"norm.": "group_norm.", "q.": "to_q.", "k.": "to_k.", "v.": "to_v.", "proj_out.": "to_out.0."}
_CLIP = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "conv1.": "vision_model.embeddings.patch_embedding.",
    "ln_pre.": "vision_model.pre_layrnorm.",
    "ln_post.": "vision_model.post_layernorm.",
    "transformer.resblocks.": "vision_model.encoder.layers.",
    "proj": "visual_projection.weight",
}
_CLIP_BLOCK = {
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".attn.out_proj.": ".self_attn.out_proj.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
}


@dataclass(frozen=True)
class Origin:
    """Tensors of a component that make up one tensor of the single file, joined along the first axis."""

    component: str
    """Folder of the component: unet, vae or image_encoder."""
    names: tuple[str, ...]
    transposed: bool = False


def origins(expected: Collection[str]) -> dict[str, Origin]:
    """Return the origin in a diffusers folder of each expected tensor; tensors without one are left out."""
    found: dict[str, Origin] = {}
    network = [name.removeprefix(UNET) for name in expected if name.startswith(UNET)]
    found |= {UNET + name: Origin("unet", (new,)) for name, new in unet_names(network).items()}
    for prefix in {match[0] for match in map(FRAME_ENCODER.match, expected) if match}:
        found |= _autoencoder_origins(expected, prefix)
    found |= _autoencoder_origins(expected, FIRST_STAGE)
    for name in expected:
        _, clip, rest = name.partition(VISUAL)
        if clip:
            found[name] = clip_origin(rest)
    return found


def unet_names(names: Collection[str]) -> dict[str, str]:
    """Return diffusers' names of the UNet's tensors, given without prefix."""
    places = {
        **_stage_places(names, "input_blocks", "down_blocks"),
        **_stage_places(names, "output_blocks", "up_blocks"),
    }
    found: dict[str, str] = {}
    for name in names:
        stage, number, layer, *_ = [*name.split("."), "", ""]
        rest = name.removeprefix(f"{stage}.{number}.{layer}.")
        if f"{stage}.{number}" not in places:
            new = _renamed(name, _UNET_ENDS)
            kind = new.split(".")[1]
        else:
            level, index = places[f"{stage}.{number}"]
            kind = "resnets" if layer == "0" else "attentions"
            if rest.startswith(("op.", "conv.")):
                kind, index, rest = (
                    ("downsamplers" if rest[0] == "o" else "upsamplers"),
                    0,
                    f"conv.{rest.split('.')[1]}",
                )
            new = f"{level}.{kind}.{index}.{rest}"
        found[name] = _inside(new, kind)
    return found


def _stage_places(names: Collection[str], stage: str, levels: str) -> dict[str, tuple[str, int]]:
    """Return level and index within it for each stage of one half of the UNet, by the stage's name."""
    numbers = {int(name.split(".")[1]) for name in names if name.startswith(f"{stage}.")}
    resampled = {name.split(".")[1] for name in names if re.match(rf"{stage}\.\d+\.(0\.op|\d+\.conv)\.", name)}
    places: dict[str, tuple[str, int]] = {}
    level = index = 0
    for number in sorted(numbers - ({0} if stage == "input_blocks" else set())):
        places[f"{stage}.{number}"] = (f"{levels}.{level}", index)
        level, index = (level + 1, 0) if str(number) in resampled else (level, index + 1)
    return places


def _inside(name: str, kind: str) -> str:
    """Rename the layers inside a residual block or a transformer of the UNet."""
    if kind not in ("resnets", "attentions"):
        return name
    block = re.match(r".*?\.(?:resnets|attentions)\.\d+\.", name)
    assert block is not None
    rest = name[block.end() :]
    return block[0] + (_temporal_residual(rest) if kind == "resnets" else _renamed(rest, _TRANSFORMER))


def _temporal_residual(rest: str) -> str:
    """Rename a layer of a spatial residual block that is blended with a temporal one."""
    if rest.endswith("mix_factor"):
        return "time_mixer.mix_factor"
    if rest.startswith("time_stack."):
        return "temporal_res_block." + _renamed(rest.removeprefix("time_stack."), _RESIDUAL)
    return "spatial_res_block." + _renamed(rest, _RESIDUAL)


def _autoencoder_origins(expected: Iterable[str], prefix: str) -> dict[str, Origin]:
    names = [name.removeprefix(prefix) for name in expected if name.startswith(prefix)]
    levels = 1 + max(
        (int(found[1]) for found in map(re.compile(r"decoder\.up\.(\d+)\.").match, names) if found), default=0
    )
    temporal = any(name.startswith("decoder.") and ".time_stack." in name for name in names)
    return {prefix + name: Origin("vae", (_autoencoder_name(name, levels, temporal),)) for name in names}


def _autoencoder_name(name: str, levels: int, temporal: bool) -> str:
    half, _, rest = name.partition(".")
    if half not in ("encoder", "decoder"):  # the 1x1 convolutions
        return name
    rest = _renamed(rest, {"conv_out.time_mix_conv.": "time_conv_out.", **_AUTOENCODER})
    level = re.match(r"(down|up)\.(\d+)\.(block\.(\d+)|downsample|upsample)\.", rest)
    if level is not None:
        number = int(level[2]) if level[1] == "down" else levels - 1 - int(level[2])
        part = f"resnets.{level[4]}" if level[4] else f"{level[3]}rs.0"
        rest = f"{level[1]}_blocks.{number}.{part}.{rest[level.end() :]}"
    block = re.match(r".*?\.(resnets|attentions)\.\d+\.", rest)
    if block is not None:
        inside = rest[block.end() :]
        if block[1] == "attentions":
            inside = _renamed(inside, _PICTURE_ATTENTION)
        elif temporal and half == "decoder":
            inside = _temporal_residual(inside)
        else:
            inside = _renamed(inside, _RESIDUAL)
        rest = block[0] + inside
    return f"{half}.{rest}"


def clip_origin(name: str) -> Origin:
    """Return the origin of a tensor of CLIP's vision transformer, in the naming of transformers."""
    new = _renamed(name, _CLIP)
    for ours, theirs in _CLIP_BLOCK.items():
        new = new.replace(ours, theirs)
    block, joined, kind = new.partition(".attn.in_proj_")
    if joined:
        return Origin("image_encoder", tuple(f"{block}.self_attn.{one}_proj.{kind}" for one in "qkv"))
    return Origin("image_encoder", (new,), transposed=name == "proj")


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """Replace the first prefix of the table that the name has."""
    return next((new + name[len(old) :] for old, new in table.items() if name.startswith(old)), name)
