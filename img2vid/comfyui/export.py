"""Settings as ComfyUI workflows: the API form that its server runs, and the form that its page opens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PureWindowsPath
from typing import Any

from img2vid.comfyui.graph import Link
from img2vid.comfyui.nodes import (
    CONDITIONING,
    CONTROL,
    GUIDANCE_NODES,
    OUTPUTS,
    SAMPLER_NODES,
    SAMPLERS,
    WIDGETS,
)
from img2vid.comfyui.prompt import Prompt
from img2vid.errors import BadInput
from img2vid.settings import PARAMS, SampleSettings, approximated, value_text
from img2vid.versions import find_version, load_versions

OWN = "img2vid"
"""Key of the settings that an export carries, for those that ComfyUI has no counterpart for."""
MOST_SIGMA = 5000.0
"""Highest noise level of KarrasScheduler."""
TIMESTEPS = 1000
"""Noise levels that SDXL was trained on."""
DOWNSAMPLING = 8
"""Pixels along one side of a latent in ComfyUI's autoencoder of SVD."""
_USUAL = ("sigma_min", "sigma_max", "rho")
_TITLES = {
    "ImageOnlyCheckpointLoader": "Image Only Checkpoint Loader (img2vid model)",
    "SaveAnimatedWEBP": "Save animated WebP",
}


@dataclass(frozen=True)
class Export:
    """Workflow in both forms. `left_out` names the settings that ComfyUI has no counterpart for."""

    api: dict[str, Any]
    page: dict[str, Any]
    left_out: tuple[str, ...]

    @property
    def notice(self) -> str:
        """A sentence about what was left out, or empty."""
        return f"Without a counterpart in ComfyUI: {', '.join(self.left_out)}." if self.left_out else ""


@dataclass
class _Nodes:
    """Nodes in the order of their numbers, which start at 1."""

    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    def add(self, kind: str, **inputs: Any) -> str:
        """Add a node and return its id."""
        self.rows.append((kind, inputs))
        return str(len(self.rows))


def can_export(settings: SampleSettings) -> bool:
    """Return whether `export_workflow` knows the version and its kind of model."""
    version = load_versions().get(settings.version)
    return version is not None and version.orbit is None


def export_workflow(settings: SampleSettings, picture: str | Prompt) -> Export:
    """Return the workflow that makes the video of the settings. Raise BadInput for models of views around an object.

    picture: name of the input in ComfyUI's input folder, or the prompt that it is made from. Its loader finds the
    checkpoint under the version's file name.
    """
    version = find_version(settings.version)
    if version.orbit is not None:
        raise BadInput(
            f"{version.name} cannot be exported because ComfyUI moves SV3D's camera along another path; "
            "choose a video of Stable Video Diffusion"
        )
    left_out: list[str] = []
    nodes = _Nodes()
    loader = nodes.add("ImageOnlyCheckpointLoader", ckpt_name=PureWindowsPath(version.checkpoint).name)
    if isinstance(picture, Prompt):
        image = _add_prompt(nodes, picture, left_out)
    else:
        image = nodes.add("LoadImage", image=picture)
    video = nodes.add(
        CONDITIONING,
        clip_vision=Link(loader, 1),
        init_image=Link(image, 0),
        vae=Link(loader, 2),
        width=settings.width,
        height=settings.height,
        video_frames=settings.num_frames,
        motion_bucket_id=max(settings.motion_bucket_id, 1),
        fps=settings.fps,
        augmentation_level=settings.cond_aug,
    )
    model, cfg = Link(loader, 0), 1.0
    if settings.guider == "VanillaCFG":
        cfg = settings.scale
    elif settings.guider != "IdentityGuider":
        cfg = settings.max_scale
        model = Link(nodes.add(GUIDANCE_NODES[settings.guider], model=model, min_cfg=settings.min_scale), 0)
    ends = {"positive": Link(video, 0), "negative": Link(video, 1), "latent_image": Link(video, 2)}
    latents = _add_sampler(nodes, settings, model, {"cfg": cfg, **ends}, left_out)
    frames = nodes.add("VAEDecode", samples=Link(latents, 0), vae=Link(loader, 2))
    output = {"lossless": False, "quality": 90, "method": "default"}
    nodes.add("SaveAnimatedWEBP", images=Link(frames, 0), filename_prefix="img2vid", fps=settings.file_fps, **output)
    if version.unet is not None:
        left_out.append(f"the UNet {PureWindowsPath(version.unet).name}")
    if version.downsampling != DOWNSAMPLING:
        left_out.append(f"the model {version.name}, as ComfyUI loads full-size ones only")
    own = {"settings": settings.model_dump()}
    return Export(_api_form(nodes, own), _page_form(nodes, own), (*left_out, *_other_settings(settings)))


def _add_prompt(nodes: _Nodes, prompt: Prompt, left_out: list[str]) -> str:
    """Add the nodes that make the picture of a prompt with SDXL. Return the id of the last one."""
    loader = nodes.add("CheckpointLoaderSimple", ckpt_name=prompt.model)
    texts = [nodes.add("CLIPTextEncode", text=text, clip=Link(loader, 1)) for text in (prompt.prompt, prompt.negative)]
    latents = nodes.add(
        "KSampler",
        model=Link(loader, 0),
        seed=prompt.seed,
        steps=prompt.steps,
        cfg=prompt.cfg,
        sampler_name=prompt.sampler,
        scheduler=prompt.scheduler,
        denoise=1.0,
        positive=Link(texts[0], 0),
        negative=Link(texts[1], 0),
        latent_image=Link(nodes.add("EmptyLatentImage", width=prompt.width, height=prompt.height, batch_size=1), 0),
    )
    taken = len(range(1, TIMESTEPS, TIMESTEPS // prompt.steps))
    if prompt.scheduler == "ddim_uniform" and taken != prompt.steps:
        left_out.append(f"{prompt.steps} steps of the image (ComfyUI takes {taken})")
    return nodes.add("VAEDecode", samples=Link(latents, 0), vae=Link(loader, 2))


def _add_sampler(
    nodes: _Nodes, settings: SampleSettings, model: Link, ends: Mapping[str, Any], left_out: list[str]
) -> str:
    """Add the sampler, alone if its parameters and noise levels are the usual ones. Return its id."""
    usual = SampleSettings()
    params = settings.params_of(settings.sampler)
    is_usual = all(getattr(settings, name) == getattr(usual, name) for name in _USUAL)
    if settings.discretization not in ("EDMDiscretization", "AYSDiscretization"):
        left_out.append(settings.discretization)
        is_usual = True
    tuned = settings.sampler in SAMPLER_NODES and any(value != getattr(usual, name) for name, value in params.items())
    own_levels = settings.discretization == "AYSDiscretization" or not is_usual
    if settings.sampler not in SAMPLERS:
        left_out.append(settings.sampler)
    name, steps = SAMPLERS.get(settings.sampler, "euler"), settings.num_steps
    if not tuned and not own_levels:
        plain = {"seed": settings.seed, "steps": steps, "sampler_name": name, "scheduler": "karras", "denoise": 1.0}
        return nodes.add("KSampler", model=model, **plain, **ends)
    if tuned:
        solver = {"solver_type": "midpoint", "noise_device": "cpu"} if settings.sampler == "DPMPP2MSDESampler" else {}
        sampler = nodes.add(SAMPLER_NODES[settings.sampler], **params, **solver)
    else:
        sampler = nodes.add("KSamplerSelect", sampler_name=name)
    if settings.discretization == "AYSDiscretization":
        levels = nodes.add("AlignYourStepsScheduler", model_type="SVD", steps=steps, denoise=1.0)
    else:
        own = {name: getattr(usual if is_usual else settings, name) for name in _USUAL}
        if own["sigma_max"] > MOST_SIGMA:
            left_out.append(f"sigma_max {own['sigma_max']:g} (now {MOST_SIGMA:g})")
        own |= {name: min(own[name], MOST_SIGMA) for name in ("sigma_min", "sigma_max")}
        levels = nodes.add("KarrasScheduler", steps=steps, **own)
    drawn = {"add_noise": True, "noise_seed": settings.seed}
    return nodes.add("SamplerCustom", model=model, **drawn, **ends, sampler=Link(sampler, 0), sigmas=Link(levels, 0))


def _other_settings(settings: SampleSettings) -> list[str]:
    """Return the settings that change the video here and have no counterpart, with their values."""
    usual = SampleSettings()
    names: list[str] = [*approximated(settings.model_dump())]
    if settings.motion_bucket_id < 1:
        names.append("motion_bucket_id")
    used = (*PARAMS[settings.sampler], *PARAMS[settings.guider])
    names += [name for name in ("s_churn", "period") if name in used]
    changed = [name for name in (*names, "fitting", "crop_offset") if getattr(settings, name) != getattr(usual, name)]
    if settings.guider in GUIDANCE_NODES and settings.max_scale == 1 != settings.min_scale:
        changed.append("min_scale")  # ComfyUI leaves the unconditional estimate out if cfg is 1
    return [f"{name} {value_text(getattr(settings, name))}" for name in changed]


def _api_form(nodes: _Nodes, own: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, (kind, inputs) in enumerate(nodes.rows, start=1):
        plain = {name: [value.node, value.slot] if isinstance(value, Link) else value for name, value in inputs.items()}
        more = {OWN: dict(own)} if kind == CONDITIONING else {}
        found[str(number)] = {"class_type": kind, "inputs": plain, "_meta": {"title": _TITLES.get(kind, kind), **more}}
    return found


def _page_form(nodes: _Nodes, own: Mapping[str, Any]) -> dict[str, Any]:
    links: list[list[Any]] = []
    ends: dict[int, list[dict[str, Any]]] = {}
    for number, (_, inputs) in enumerate(nodes.rows, start=1):
        ends[number] = []
        for name, value in inputs.items():
            if isinstance(value, Link):
                type_of = OUTPUTS[nodes.rows[int(value.node) - 1][0]][value.slot][1]
                links.append([len(links) + 1, int(value.node), value.slot, number, len(ends[number]), type_of])
                ends[number].append({"name": name, "type": type_of, "link": len(links)})
    rows = [_page_node(number, *row, ends[number], links) for number, row in enumerate(nodes.rows, start=1)]
    columns: dict[int, int] = {}
    below: dict[int, int] = {}
    for row in rows:  # links come from earlier nodes
        column = columns[row["id"]] = max((columns[link[1]] + 1 for link in links if link[3] == row["id"]), default=0)
        below.setdefault(column, 100)
        row["pos"] = [100 + 400 * column, below[column]]
        below[column] += row["size"][1] + 60
    numbers = {"last_node_id": len(rows), "last_link_id": len(links)}
    return {**numbers, "nodes": rows, "links": links, "groups": [], "config": {}, "extra": {OWN: own}, "version": 0.4}


def _page_node(
    number: int, kind: str, inputs: Mapping[str, Any], ends: list[dict[str, Any]], links: list[list[Any]]
) -> dict[str, Any]:
    values = [_page_value(kind, name, inputs) for name in WIDGETS.get(kind, ())]
    outputs = [
        {"name": name, "type": type_of, "links": [link[0] for link in links if link[1:3] == [number, slot]]}
        for slot, (name, type_of) in enumerate(OUTPUTS[kind])
    ]
    return {
        "id": number,
        "type": kind,
        "size": [330, 60 + 26 * (len(values) + len(ends))],
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": ends,
        "outputs": outputs,
        "properties": {"Node name for S&R": kind},
        "widgets_values": values,
    }


def _page_value(kind: str, name: str, inputs: Mapping[str, Any]) -> Any:
    if name == CONTROL:
        return "fixed"
    return "image" if (kind, name) == ("LoadImage", "upload") else inputs[name]
