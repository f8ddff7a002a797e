"""Middle-size model: svd with fewer channels, written next to its small CLIP, where both engines find it."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from img2vid.engine.config_tree import load_tree

CLIP = "svd_tiny_clip"
MODEL_CHANNELS, CHANNELS, CONTEXT = 64, 32, 64


def middle_tree(svd: Mapping[str, Any]) -> dict[str, Any]:
    """Return svd's configuration with 1/5 of the network's channels, 1/4 of the autoencoders' and a small CLIP."""
    tree = copy.deepcopy(dict(svd))
    model = tree["model"]["params"]
    model["network_config"]["params"] |= {"model_channels": MODEL_CHANNELS, "context_dim": CONTEXT}
    for part in ("encoder_config", "decoder_config"):
        model["first_stage_config"]["params"][part]["params"]["ch"] = CHANNELS
    for embedder in model["conditioner_config"]["params"]["emb_models"]:
        if embedder["input_key"] == "cond_frames":
            embedder["params"]["encoder_config"]["params"]["ddconfig"]["ch"] = CHANNELS
        elif embedder["input_key"] == "cond_frames_without_noise":
            embedder["params"]["open_clip_embedding_config"]["params"]["arch"] = CLIP
    return tree


def write_middle(svd: Path, folder: Path) -> Path:
    """Write `middle.yaml` and its CLIP architecture to `folder`. svd: path of the configuration to derive it from."""
    (folder / "clip").mkdir(parents=True, exist_ok=True)
    architecture = (svd.parent / "clip" / f"{CLIP}.json").read_text(encoding="utf-8")
    (folder / "clip" / f"{CLIP}.json").write_text(architecture, encoding="utf-8")
    path = folder / "middle.yaml"
    path.write_text(yaml.safe_dump(middle_tree(load_tree(svd))), encoding="utf-8")
    return path
