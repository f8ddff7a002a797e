"""Middle-size model: svd with fewer channels, written next to its small CLIP, where both engines find it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from img2vid.engine.config import load_tree

CLIP = "svd_tiny_clip"
NETWORK = "model.params.network_config.params"
STAGE = "model.params.first_stage_config.params"
MODEL_CHANNELS, CHANNELS, CONTEXT = 64, 32, 64


def middle_tree(svd: Mapping[str, Any]) -> dict[str, Any]:
    """Return svd's configuration with 1/5 of the network's channels, 1/4 of the autoencoders' and a small CLIP."""
    tree: Any = OmegaConf.create(dict(svd))
    changes = {
        f"{NETWORK}.model_channels": MODEL_CHANNELS,
        f"{NETWORK}.context_dim": CONTEXT,
        f"{STAGE}.encoder_config.params.ch": CHANNELS,
        f"{STAGE}.decoder_config.params.ch": CHANNELS,
    }
    for key, value in changes.items():
        OmegaConf.update(tree, key, value)
    for embedder in tree.model.params.conditioner_config.params.emb_models:
        if embedder.input_key == "cond_frames":
            embedder.params.encoder_config.params.ddconfig.ch = CHANNELS
        elif embedder.input_key == "cond_frames_without_noise":
            embedder.params.open_clip_embedding_config.params.arch = CLIP
    container: Any = OmegaConf.to_container(tree)
    return container


def write_middle(svd: Path, folder: Path) -> Path:
    """Write `middle.yaml` and its CLIP architecture to `folder`. svd: path of the configuration to derive it from."""
    (folder / "clip").mkdir(parents=True, exist_ok=True)
    architecture = (svd.parent / "clip" / f"{CLIP}.json").read_text(encoding="utf-8")
    (folder / "clip" / f"{CLIP}.json").write_text(architecture, encoding="utf-8")
    path = folder / "middle.yaml"
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(middle_tree(load_tree(svd)))), encoding="utf-8")
    return path
