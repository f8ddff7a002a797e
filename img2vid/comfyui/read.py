"""Settings from ComfyUI's workflows, with a list of what has no counterpart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

from img2vid.comfyui.export import OWN, export_workflow
from img2vid.comfyui.graph import Graph, Link, Node, read_graph, upstream, value_of
from img2vid.comfyui.nodes import CONDITIONING, GUIDANCE_NODES, SAMPLER_NODES, SAMPLERS
from img2vid.comfyui.prompt import HARMLESS, Prompt, read_prompt
from img2vid.comfyui.subgraphs import MOST_NODES, fields_of
from img2vid.errors import BadInput, shown
from img2vid.settings import ABOUT, MAX_SEED, SampleSettings
from img2vid.settings_validation import read_settings
from img2vid.versions import ModelVersion, find_version, load_versions

_ALSO = {"ddim": "EulerEDMSampler", "dpmpp_2m_sde_gpu": "DPMPP2MSDESampler"}
_BY_NAME = {name: ours for ours, name in SAMPLERS.items()} | _ALSO
"""Our samplers by ComfyUI's names. Without a mask, its ddim is euler."""
_BY_NODE = {node: ours for ours, node in (*SAMPLER_NODES.items(), *GUIDANCE_NODES.items())}
_OF_CONDITIONING = {
    "num_frames": "video_frames",
    "motion_bucket_id": "motion_bucket_id",
    "fps": "fps",
    "cond_aug": "augmentation_level",
    "width": "width",
    "height": "height",
}
_LONG = 14
"""Frames of the shorter model."""
MOST_NUMBER = 2**64
"""Larger numbers, which ComfyUI does not allow either, are left out."""
MOST_NAMED = 8
"""Maximum number of things that the sentence about what was left out names."""


@dataclass(frozen=True)
class Workflow:
    """Contents of a workflow.

    settings: values of all settings, or empty without a video. prompt: its text-to-image part, or None. left_out: what
    has no counterpart.
    """

    settings: dict[str, Any]
    prompt: Prompt | None
    left_out: tuple[str, ...]

    @property
    def notice(self) -> str:
        """A sentence about what was left out, or empty."""
        return left_out_sentence(self.left_out)


def left_out_sentence(left_out: Sequence[str]) -> str:
    """Return a sentence that names what was left out, or "" if nothing was."""
    named = [shown(one) for one in left_out[:MOST_NAMED]]
    if len(left_out) > MOST_NAMED:
        named.append(f"{len(left_out) - MOST_NAMED} more")
    return f"Without a counterpart here: {', '.join(named)}." if named else ""


def read_workflow(tree: object, name: str) -> Workflow:
    """Read a workflow, parsed JSON in either form. Raise BadInput if it makes neither a video nor a picture."""
    found = _read(read_graph(tree, name), name)
    own = _own_settings(tree)
    if own is None or not found.settings:
        return found
    # Values changed in ComfyUI win over the exported ones.
    exported = _read(read_graph(export_workflow(own, "").api, name), name)
    changed = {key: value for key, value in found.settings.items() if value != exported.settings[key]}
    version = find_version(changed.get("version", own.version))
    settings = version.settings({**own.model_dump(), **changed}).model_dump()
    return Workflow(settings, found.prompt, tuple(one for one in found.left_out if one not in exported.left_out))


def _own_settings(tree: object) -> SampleSettings | None:
    """Return the settings that img2vid's export carries, or None without valid ones."""
    fields = fields_of(tree)
    rows = fields_of(fields.get("prompt")) or fields
    places = [fields.get("extra"), *(fields_of(row).get("_meta") for row in rows.values())]
    for place in map(fields_of, places):
        if OWN in place:
            try:
                values = read_settings(place[OWN], "")
                version = find_version(values["version"])
                return version.settings(values) if version.orbit is None else None
            except BadInput:
                return None
    return None


def _read(graph: Graph, name: str) -> Workflow:
    if len(graph) > MOST_NODES:
        raise BadInput(f"{shown(name)} has {len(graph):,} nodes; choose a workflow with at most {MOST_NODES:,}")
    video = next((key for key, node in graph.items() if node.kind == CONDITIONING), None)
    if video is None:
        prompt = read_prompt(graph, next(iter(graph), ""))
        if prompt is None:
            raise BadInput(
                f"{shown(name)} has no {CONDITIONING} node; choose a workflow that makes a video with Stable Video "
                "Diffusion"
            )
        return Workflow({}, prompt[0], tuple(prompt[1]))
    reader = _Reader(graph, video)
    settings = reader.settings()
    used, left_out = reader.used, reader.left_out
    found = read_prompt(graph, video)
    if found is not None:
        left_out += found[1]
        used |= found[2]
    others = {node.kind for key, node in graph.items() if key not in used and node.kind not in HARMLESS}
    left_out += [f"the node {kind}" for kind in sorted(others)]
    return Workflow(settings, None if found is None else found[0], tuple(dict.fromkeys(left_out)))


class _Reader:
    """Reads the part of a workflow that makes the video of a conditioning node."""

    def __init__(self, graph: Graph, video: str) -> None:
        self._graph, self._video = graph, video
        self.left_out: list[str] = []
        self.used = {video}
        self._values: dict[str, Any] = {}

    def settings(self) -> dict[str, Any]:
        """Return the values of all settings, those that the workflow lacks at the version's defaults."""
        conditioning = self._graph[self._video]
        for setting, widget in _OF_CONDITIONING.items():
            self._take(setting, self._value(conditioning, widget), widget)
        loader = self._of(conditioning, "clip_vision") or self._of(conditioning, "vae")
        sampler = self._sampler()
        if sampler is not None:
            self._read_sampler(*sampler)
            self._read_frame_rate(sampler[0])
        version = self._version(loader)
        for side in ("width", "height"):
            self._fit_size(side, version)
        return version.settings(self._values).model_dump()

    def _value(self, node: Node, name: str) -> Any:
        """Return the value of an input, also if a primitive node provides it; None if another node does."""
        value, primitives = value_of(self._graph, node, name)
        self.used |= primitives
        return value

    def _of(self, node: Node, name: str) -> Node | None:
        """Return the node that an input is linked to, or None."""
        link = node.inputs.get(name)
        if not isinstance(link, Link) or link.node not in self._graph:
            return None
        self.used.add(link.node)
        return self._graph[link.node]

    def _take(self, setting: str, value: object, label: str) -> None:
        """Set a number, moved into the setting's limits."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < MOST_NUMBER:
            self.left_out.append(f"{label} {'from another node' if value is None else shown(str(value))}")
            return
        about = ABOUT[setting]
        number = value % (MAX_SEED + 1) if setting == "seed" else min(max(value, about.lowest), about.highest)
        number = round(number) if SampleSettings.model_fields[setting].annotation is int else float(number)
        if number != value:
            self.left_out.append(f"{label} {value} (now {number:.15g})")
        self._values[setting] = number

    def _sampler(self) -> tuple[str, Node] | None:
        """Return id and node of the sampler that the conditioning leads to; its guider, if that is a separate node."""
        for key, node in self._graph.items():
            before = upstream(self._graph, node.inputs.get("positive"))
            if "cfg" in node.inputs and any(other == self._video for other, _ in before):
                return key, node
        self.left_out.append("a sampler")
        return None

    def _read_sampler(self, key: str, node: Node) -> None:
        self.used.add(key)
        whole = node
        if node.kind == "CFGGuider":  # the sampler is where it is used
            links = ((other, one) for other, one in self._graph.items() if one.inputs.get("guider") == Link(key, 0))
            other, whole = next(links, (key, node))
            self.used.add(other)
        noise = self._of(whole, "noise") or whole
        seed = "seed" if "seed" in noise.inputs else "noise_seed"
        self._take("seed", self._value(noise, seed), seed)
        low, high = self._read_model(node)
        self._read_guidance(self._value(node, "cfg"))
        sampler, levels = self._of(whole, "sampler"), self._of(whole, "sigmas")
        if sampler is None and levels is None:
            self._read_sampler_name(self._value(whole, "sampler_name"))
            self._read_levels(whole, low, high)
            self._read_part_of_steps(whole)
            return
        if sampler is not None:
            self._read_sampler_node(sampler)
        if levels is not None:
            self._read_levels(levels, low, high)

    def _read_model(self, node: Node) -> tuple[float, float]:
        """Read the nodes between the model and the sampler; return its lowest and highest noise level."""
        low, high = (SampleSettings.model_fields[name].default for name in ("sigma_min", "sigma_max"))
        link, seen = node.inputs.get("model"), set[str]()
        while isinstance(link, Link) and link.node in self._graph and link.node not in seen:
            seen.add(link.node)
            one = self._graph[link.node]
            if one.kind in GUIDANCE_NODES.values():
                # The node nearest to the sampler replaces the others.
                if "guider" not in self._values:
                    self._values["guider"] = _BY_NODE[one.kind]
                    self._take("min_scale", self._value(one, "min_cfg"), "min_cfg")
            elif one.kind == "ModelSamplingContinuousEDM" and self._value(one, "sampling") == "v_prediction":
                low, high = self._value(one, "sigma_min"), self._value(one, "sigma_max")
            elif one.kind != "ImageOnlyCheckpointLoader":
                self.left_out.append(f"the node {one.kind}")
            self.used.add(link.node)
            link = one.inputs.get("model")
        return low, high

    def _read_guidance(self, cfg: object) -> None:
        if "guider" in self._values:
            self._take("max_scale", cfg, "cfg")
            if cfg == 1 and self._values.get("min_scale") != 1:
                # ComfyUI then skips the unconditional estimate that the node needs.
                self.left_out.append("cfg 1 with another min_cfg")
            return
        self._values["guider"] = "IdentityGuider" if cfg == 1 else "VanillaCFG"
        if cfg != 1:
            self._take("scale", cfg, "cfg")

    def _read_sampler_name(self, name: object) -> None:
        if isinstance(name, str) and name in _BY_NAME:
            self._values["sampler"] = _BY_NAME[name]
        else:
            self.left_out.append(f"sampler {name}")

    def _read_sampler_node(self, node: Node) -> None:
        if node.kind == "KSamplerSelect":
            self._read_sampler_name(self._value(node, "sampler_name"))
        elif node.kind in SAMPLER_NODES.values():
            self._values["sampler"] = _BY_NODE[node.kind]
            for name in ("eta", "s_noise", "order"):
                if name in node.inputs:
                    self._take(name, self._value(node, name), name)
            if self._value(node, "solver_type") not in (None, "midpoint"):
                self.left_out.append(f"solver_type {self._value(node, 'solver_type')}")
        else:
            self.left_out.append(f"the node {node.kind}")

    def _read_levels(self, node: Node, low: float, high: float) -> None:
        """Read steps and noise levels of a scheduler, or of a sampler with both."""
        if "steps" in node.inputs:
            self._take("num_steps", self._value(node, "steps"), "steps")
        if node.kind == "KarrasScheduler":
            levels = {name: self._value(node, name) for name in ("sigma_min", "sigma_max", "rho")}
        elif node.kind == "AlignYourStepsScheduler" and self._value(node, "model_type") == "SVD":
            self._values["discretization"] = "AYSDiscretization"
            levels = {}
        elif self._value(node, "scheduler") == "karras":
            levels = {"sigma_min": low, "sigma_max": high}
        else:
            kind = "scheduler" if "scheduler" in node.inputs else "the node"
            self.left_out.append(f"{kind} {self._value(node, 'scheduler') or node.kind}")
            levels = {}
        for name, value in levels.items():
            self._take(name, value, name)
        if self._value(node, "denoise") not in (None, 1):
            self.left_out.append(f"denoise {self._value(node, 'denoise')}")

    def _read_part_of_steps(self, node: Node) -> None:
        steps, end = self._values.get("num_steps", 0), self._value(node, "end_at_step")
        if self._value(node, "add_noise") == "disable":
            self.left_out.append("add_noise disable")
        if self._value(node, "start_at_step"):
            self.left_out.append(f"start_at_step {self._value(node, 'start_at_step')}")
        if isinstance(end, int) and end < steps:
            self.left_out.append(f"end_at_step {end}")

    def _read_frame_rate(self, sampler: str) -> None:
        """Read the frame rate of the first node that saves the sampler's frames."""
        for key, node in self._graph.items():
            rate = next((name for name in ("fps", "frame_rate") if name in node.inputs), None)
            if rate is None or node.kind == CONDITIONING:
                continue
            if any(other == sampler for link in node.inputs.values() for other, _ in upstream(self._graph, link)):
                value = self._value(node, rate)
                if value != self._values.get("fps"):
                    self._take("saving_fps", value, rate)
                self.used.add(key)
                return

    def _version(self, loader: Node | None) -> ModelVersion:
        """Return the version of the loader's file. An unknown one becomes a version of the video's length."""
        given = None if loader is None else self._value(loader, "ckpt_name")
        name = PureWindowsPath(given).name.casefold() if isinstance(given, str) else ""
        for version in load_versions().values():
            is_plain = version.unet is None and version.orbit is None
            if is_plain and PureWindowsPath(version.checkpoint).name.casefold() == name:
                return version
        usual = find_version("svd_xt" if self._values.get("num_frames", 0) > _LONG else "svd")
        self.left_out.append(f"model {given or 'from another node'} (now {usual.name})")
        return usual

    def _fit_size(self, side: str, version: ModelVersion) -> None:
        given: int | None = self._values.get(side)
        step = version.size_step
        if given is not None and given % step:
            least, most = math.ceil(ABOUT[side].lowest / step), int(ABOUT[side].highest) // step
            self._values[side] = min(max(round(given / step), least), most) * step
            self.left_out.append(f"{side} {given} (now {self._values[side]})")
