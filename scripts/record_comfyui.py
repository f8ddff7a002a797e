"""Record latents of the real ComfyUI for tests/comfyui/test_equal_latents.py, on the CPU in float32.

Run it with ComfyUI's Python in img2vid's folder:

    PYTHONPATH=.:tests:tests/engine python scripts/record_comfyui.py COMFYUI_FOLDER

It exports settings as workflows, loads the small model of tests/data/golden/tiny_svd from a file in ComfyUI's form, and
runs the workflows' nodes with ComfyUI's own classes. Only CLIP and the autoencoder are replaced by their recorded
outputs, because ComfyUI knows them in one size only. `--check` also runs ComfyUI's validate_prompt on each workflow.
"""

import argparse
import asyncio
import importlib
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from environment import escape_output

MODEL = Path("tests/data/golden/tiny_svd")
FOLDER = Path("tests/data/comfyui")
SIZE = {"width": 96, "height": 64, "num_frames": 5, "version": "svd", "num_steps": 6, "seed": 18}
RUNS: dict[str, dict[str, Any]] = {
    "euler": {},
    "heun": {"sampler": "HeunEDMSampler"},
    "euler_ancestral": {"sampler": "EulerAncestralSampler"},
    "dpmpp_2s_ancestral": {"sampler": "DPMPP2SAncestralSampler"},
    "dpmpp_2m": {"sampler": "DPMPP2MSampler"},
    "lms": {"sampler": "LinearMultistepSampler"},
    "lcm": {"sampler": "ConsistencySampler"},
    "dpmpp_2m_sde": {"sampler": "DPMPP2MSDESampler"},
    "less_noise_sde": {"sampler": "DPMPP2MSDESampler", "eta": 0.6, "s_noise": 1.01},
    "20_steps": {"num_steps": 20},
    "triangle": {"guider": "TrianglePredictionGuider", "max_scale": 3.0, "min_scale": 1.5},
    "same_cfg": {"guider": "VanillaCFG", "scale": 2.0},
    "no_cfg": {"guider": "IdentityGuider"},
    "own_levels": {"sigma_min": 0.01, "sigma_max": 200.0, "rho": 5.0},
    "align_your_steps": {"discretization": "AYSDiscretization", "num_steps": 10},
    "align_your_steps_7": {"discretization": "AYSDiscretization", "num_steps": 7, "sampler": "HeunEDMSampler"},
    "less_noise": {"sampler": "EulerAncestralSampler", "eta": 0.5, "s_noise": 1.01},
    "less_noise_2s": {"sampler": "DPMPP2SAncestralSampler", "eta": 0.7},
    "lms_2": {"sampler": "LinearMultistepSampler", "order": 2},
    "motion": {"motion_bucket_id": 200, "fps": 12},
}
"""Settings of each run that differ from the defaults of svd."""


def main() -> None:
    """Record all runs."""
    escape_output()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comfyui", type=Path, help="folder with ComfyUI")
    parser.add_argument("--check", action="store_true", help="also validate the workflows")
    arguments = parser.parse_args()
    sys.argv = ["main.py", "--cpu"]
    sys.path.insert(0, str(arguments.comfyui))
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("utils.install_util")  # later, another module of ComfyUI hides this package
    version = importlib.import_module("comfyui_version").__version__

    from img2vid.comfyui.export import export_workflow
    from img2vid.settings import SampleSettings
    from img2vid.text_to_image.settings import ImageSettings
    from img2vid.text_to_image.workflow import prompt_of_image

    settings = {name: SampleSettings(**{**SIZE, "cond_aug": 0, **run}) for name, run in RUNS.items()}
    exports = {name: export_workflow(one, "x.png") for name, one in settings.items()}
    if arguments.check:
        prompt = prompt_of_image(ImageSettings(prompt="a lighthouse"))
        for name, export in exports.items():
            print(name, check(export.api, arguments.comfyui))
        print("text to video", check(export_workflow(settings["euler"], prompt).api, arguments.comfyui))
    workflows = {name: plain(export.api) for name, export in exports.items()}
    workflows["ddim"] = json.loads(json.dumps(workflows["euler"]).replace('"euler"', '"ddim"'))
    import torch
    from safetensors.torch import save_file

    make = ComfyUI(load_model())
    latents = {name: make.latents(workflow) for name, workflow in workflows.items()}
    FOLDER.mkdir(exist_ok=True)
    torch.manual_seed(SIZE["seed"])
    save_file({**latents, "noise": torch.randn(next(iter(latents.values())).shape)}, FOLDER / "latents.safetensors")
    text = json.dumps({"comfyui": version, "torch": torch.__version__, "workflows": workflows}, indent=1)
    (FOLDER / "workflows.json").write_text(text + "\n", encoding="utf-8")


def plain(workflow: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow without the settings that its export carries, so that the test reads ComfyUI's values alone."""
    return {key: {name: row[name] for name in ("class_type", "inputs")} for key, row in workflow.items()}


def check(workflow: dict[str, Any], folder: Path) -> Any:
    """Return what ComfyUI's validation says of a workflow, with empty files under the names that it loads."""
    execution, nodes = (importlib.import_module(name) for name in ("execution", "nodes"))
    if "SVD_img2vid_Conditioning" not in nodes.NODE_CLASS_MAPPINGS:
        asyncio.run(nodes.init_extra_nodes(init_api_nodes=False))
    models = (("models/checkpoints", f"{name}.safetensors") for name in ("svd", "sd_xl_base_1.0"))
    for kind, name in (*models, ("input", "x.png")):
        (folder / kind / name).touch()
    return asyncio.run(execution.validate_prompt("1", workflow, None))[:2]


def load_model() -> Any:
    """Return the small model as ComfyUI loads it from a file in its own form."""
    from checkpoint_files import saved_by_comfyui
    from safetensors.torch import load_file, save_file

    models, sd = (importlib.import_module(name) for name in ("comfy.supported_models", "comfy.sd"))
    kind = models.SVD_img2vid

    # ComfyUI recognizes models by their size.
    size = {**kind.unet_config, "model_channels": 32, "context_dim": 64, "transformer_depth": [1, 1]}
    heads = {**kind.unet_extra_config, "num_head_channels": 16}
    models.models.insert(0, type("Small", (kind,), {"unet_config": size, "unet_extra_config": heads}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.safetensors"
        weights = {name: tensor.float() for name, tensor in load_file(MODEL / "weights.safetensors").items()}
        save_file({name: tensor.contiguous() for name, tensor in saved_by_comfyui(weights).items()}, path)
        return sd.load_checkpoint_guess_config(str(path), output_vae=False, output_clip=False)[0]


class ComfyUI:
    """Runs workflows with ComfyUI's node classes."""

    def __init__(self, model: Any) -> None:
        from safetensors.torch import load_file

        recorded = load_file(MODEL / "golden.safetensors")
        clip = SimpleNamespace(encode_image=lambda _: SimpleNamespace(image_embeds=recorded["c.crossattn"][0]))
        vae = SimpleNamespace(encode=lambda _: recorded["c.concat"][:1])
        self._loaded = (model, clip, vae)
        self._picture = recorded["image"].movedim(1, -1) / 2 + 0.5
        self._replace_noise()
        modules = ("nodes", "comfy_extras.nodes_video_model", "comfy_extras.nodes_custom_sampler")
        self._classes: dict[str, Any] = {}
        for name in modules:
            self._classes |= importlib.import_module(name).NODE_CLASS_MAPPINGS
        steps = importlib.import_module("comfy_extras.nodes_align_your_steps").AlignYourStepsScheduler
        self._classes["AlignYourStepsScheduler"] = steps

    def latents(self, workflow: dict[str, Any]) -> Any:
        """Return what the sampler of a workflow gives, at the network's scale."""
        done: dict[str, Any] = {}
        decoder = next(row for row in workflow.values() if row["class_type"] == "VAEDecode")
        samples = self._run(workflow, decoder["inputs"]["samples"][0], done)[0]["samples"]
        return (samples * 0.18215).contiguous()

    def _replace_noise(self) -> None:
        """Draw the noise of SDE samplers from a seeded generator, like that of the others, not from Brownian paths."""
        import torch

        def sampler(x: Any, *_: Any, seed: int, **__: Any) -> Any:
            generator = torch.Generator().manual_seed(seed)
            return lambda sigma, sigma_next: torch.randn(x.shape, generator=generator)

        module: Any = importlib.import_module("comfy.k_diffusion.sampling")
        module.BrownianTreeNoiseSampler = sampler

    def _run(self, workflow: dict[str, Any], key: str, done: dict[str, Any]) -> Any:
        if key in done:
            return done[key]
        row = workflow[key]
        inputs = {
            name: self._run(workflow, value[0], done)[value[1]] if isinstance(value, list) else value
            for name, value in row["inputs"].items()
        }
        if row["class_type"] == "ImageOnlyCheckpointLoader":
            done[key] = self._loaded
        elif row["class_type"] == "LoadImage":
            done[key] = (self._picture,)
        elif row["class_type"] == "AlignYourStepsScheduler":
            done[key] = self._classes[row["class_type"]].execute(**inputs).result
        else:
            node = self._classes[row["class_type"]]()
            done[key] = getattr(node, node.FUNCTION)(**inputs)
        return done[key]


if __name__ == "__main__":
    main()
