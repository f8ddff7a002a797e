"""The text-to-image part of ComfyUI's workflows."""

from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

from img2vid.comfyui.graph import Graph, Node, upstream, value_of

HARMLESS = frozenset(
    (
        *("LoadImage", "VAEDecode", "VAEDecodeTiled", "PreviewImage", "PreviewAny", "SaveImage", "CreateVideo"),
        *("SaveVideo", "SaveWEBM", "SaveAnimatedWEBP", "SaveAnimatedPNG", "Note", "MarkdownNote"),
    )
)
"""Nodes that need no counterpart, because they load, decode, show or save pictures."""
_LOADERS = ("CheckpointLoaderSimple", "CheckpointLoader")
_OF_SAMPLER = ("seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler")


@dataclass(frozen=True)
class Prompt:
    """Picture described in words. model: file name of the checkpoint. Zero and "" mean that the workflow has none."""

    prompt: str
    negative: str = ""
    seed: int = 0
    steps: int = 0
    cfg: float = 0.0
    width: int = 0
    height: int = 0
    model: str = ""
    sampler: str = ""
    scheduler: str = ""


def read_prompt(graph: Graph, start: str) -> tuple[Prompt, list[str], set[str]] | None:
    """Read the sampler that makes the picture of a node, the first one if several take turns.

    start: the node that takes the picture, or any node of a workflow that makes only pictures. Return the prompt, what
    has no counterpart, and the ids of the nodes read; None if no picture is made from words.
    """
    before = upstream(graph, graph[start].inputs.get("init_image")) if start in graph else iter(())
    samplers = [(key, node) for key, node in before if _is_sampler(node)]
    if not samplers and start in graph and "init_image" not in graph[start].inputs:
        samplers = [(key, node) for key, node in graph.items() if _is_sampler(node)]
    for key, node in reversed(samplers):
        texts = [_text(graph, node.inputs.get(half)) for half in ("positive", "negative")]
        if texts[0][0] is not None:
            (prompt, used), (negative, also) = texts
            loader, used_too, left_out = _loader(graph, node)
            latents = _nearest(graph, node.inputs.get("latent_image"), "EmptyLatentImage")
            given = {name: value_of(graph, node, name) for name in _OF_SAMPLER}
            if latents:
                given |= {name: value_of(graph, latents[1], name) for name in ("width", "height")}
            values = {name: value for name, (value, _) in given.items()}
            found = Prompt(
                prompt or "",
                negative or "",
                _whole(values["noise_seed" if values["seed"] is None else "seed"]),
                _whole(values["steps"]),
                _number(values["cfg"]),
                _whole(values.get("width")),
                _whole(values.get("height")),
                loader,
                _word(values["sampler_name"]),
                _word(values["scheduler"]),
            )
            read = {key, *used, *also, *used_too, *([latents[0]] if latents else [])}
            read |= {primitive for _, primitives in given.values() for primitive in primitives}
            return found, left_out, read
    return None


def _is_sampler(node: Node) -> bool:
    return {"positive", "negative", "cfg"} <= node.inputs.keys()


def _nearest(graph: Graph, link: object, *kinds: str) -> tuple[str, Node] | None:
    return next(((key, node) for key, node in upstream(graph, link) if node.kind in kinds), None)


def _text(graph: Graph, link: object) -> tuple[str | None, set[str]]:
    found = _nearest(graph, link, "CLIPTextEncode", "CLIPTextEncodeSDXL")
    if found is None:
        return None, set()
    key, node = found
    text, primitives = value_of(graph, node, "text" if "text" in node.inputs else "text_g")
    return (text if isinstance(text, str) else None), {key, *primitives}


def _loader(graph: Graph, node: Node) -> tuple[str, set[str], list[str]]:
    """Return the model's file name, the ids of the nodes from it to the sampler, and what changes the model."""
    used, left_out = set[str](), list[str]()
    for key, one in upstream(graph, node.inputs.get("model")):
        used.add(key)
        if one.kind in _LOADERS:
            return PureWindowsPath(_word(one.inputs.get("ckpt_name"))).name, used, left_out
        left_out.append(f"the node {one.kind}")
    return "", used, left_out


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e15 else 0.0


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**64 else 0
