"""Tiny models of diffusers and transformers with weights from a formula, and their outputs in tests/data/diffusers.

Run this file where diffusers and transformers are installed to record them again.
"""

import gzip
import importlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from golden_models import GOLDEN
from safetensors.torch import save_file
from torch import Tensor

DATA = Path(__file__).parent.parent / "data" / "diffusers"
STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}
Shapes = Mapping[str, Mapping[str, list[int]]]
"""Shapes of the weights by component and name."""


def read_shapes(name: str) -> Shapes:
    with gzip.open(DATA / f"{name}_keys.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def write_config(folder: Path) -> Path:
    """Write the configuration of the tiny model: that of tests/data/golden with a level without attention.

    Its autoencoder has two residual blocks per level, because diffusers has as many in the middle.
    """
    text = (GOLDEN / "tiny_svd" / "config.yaml").read_text(encoding="utf-8")
    text = text.replace("        - 2\n        - 1\n        num_res", "        - 1\n        num_res", 1)
    text = re.sub(r"( {12,})num_res_blocks: 1", r"\1num_res_blocks: 2", text)
    shutil.copytree(GOLDEN / "tiny_svd" / "clip", folder / "clip")
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder / "config.yaml"


def values(name: str, shape: list[int]) -> Tensor:
    """Return float32 values between -1 and 1 that look random, scaled to preserve the magnitude of activations."""
    index = torch.arange(1, 1 + math.prod(shape), dtype=torch.float64)
    start = sum(number * ord(letter) for number, letter in enumerate(name, 1))
    noise = (torch.sin(index * 12.9898 + start) * 43758.5453).remainder(1.0) * 2 - 1
    noise = noise.reshape(shape)
    if len(shape) > 1:
        noise *= math.sqrt(3 / math.prod(shape[1:]))
    elif name.endswith("mix_factor"):
        noise *= 2
    else:
        noise = 0.2 * noise + (1 if "norm" in name and name.endswith("weight") else 0)
    return noise.float()


def weights(component: str) -> dict[str, Tensor]:
    return {name: values(name, shape) for name, shape in read_shapes("tiny")[component].items()}


def write_folder(folder: Path, variant: str = "", dtype: torch.dtype = torch.float32) -> Path:
    """Write the tiny model as a diffusers folder."""
    for component, stem in STEMS.items():
        (folder / component).mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.to(dtype) for name, tensor in weights(component).items()}
        save_file(tensors, folder / component / f"{stem}{variant}.safetensors")
    return folder


def inputs() -> dict[str, Tensor]:
    def noise(name: str, *shape: int) -> Tensor:
        return values(name, [math.prod(shape)]).reshape(shape) / 0.2

    return {
        "x": noise("x", 3, 8, 8, 8),
        "context": noise("context", 1, 1, 64),
        "numbers": torch.tensor([[6.0, 90.0, 0.1]]),
        "c_noise": torch.tensor(0.7),
        "latents": noise("latents", 3, 4, 4, 4),
        "image": noise("image", 1, 3, 64, 64),
        "pixels": noise("pixels", 1, 3, 224, 224),
    }


def record(scratch: Path) -> None:
    """Build the models of both packages, and record their names, shapes and outputs."""
    from img2vid import paths
    from img2vid.engine.bench import diffusers_backend
    from img2vid.engine.config import load_config

    diffusers: Any = importlib.import_module("diffusers")
    transformers: Any = importlib.import_module("transformers")

    def build(config: Path) -> dict[str, Any]:
        read, backend = load_config(config), diffusers_backend
        vision = transformers.CLIPVisionConfig(**backend.vision_arguments(read, config.parent))
        return {
            "unet": diffusers.UNetSpatioTemporalConditionModel(**backend.network_arguments(read)),
            "vae": diffusers.AutoencoderKLTemporalDecoder(**backend.autoencoder_arguments(read)),
            "image_encoder": transformers.CLIPVisionModelWithProjection(vision),
        }

    def write_shapes(name: str, models: Mapping[str, Any]) -> None:
        shapes = {
            component: {
                key: list(tensor.shape)
                for key, tensor in model.state_dict().items()
                if not key.endswith("position_ids")
            }
            for component, model in models.items()
        }
        with gzip.GzipFile(DATA / f"{name}_keys.json.gz", "wb", mtime=0) as file:
            file.write(json.dumps(shapes, separators=(",", ":")).encode())

    DATA.mkdir(exist_ok=True)
    with torch.device("meta"):
        write_shapes("svd", build(paths.CONFIGS / "svd.yaml"))
    models = build(write_config(scratch))
    write_shapes("tiny", models)
    for component, model in models.items():
        model.eval().load_state_dict(weights(component), strict=True)
    given = inputs()
    with torch.inference_mode():
        network = models["unet"](given["x"][None], given["c_noise"], given["context"], given["numbers"]).sample[0]
        outputs = {
            "network": network,
            "decoded": models["vae"].decode(given["latents"], num_frames=3).sample,
            "encoded": models["vae"].encode(given["image"]).latent_dist.mode(),
            "embedding": models["image_encoder"](given["pixels"]).image_embeds,
        }
    save_file({name: tensor.contiguous() for name, tensor in outputs.items()}, DATA / "outputs.safetensors")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        record(Path(scratch))
