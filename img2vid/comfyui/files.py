"""Workflows in files: JSON, and pictures and videos that carry the workflow that made them."""

from typing import Any

from img2vid.comfyui.graph import is_workflow
from img2vid.comfyui.read import Workflow, read_workflow
from img2vid.comfyui.subgraphs import fields_of
from img2vid.documents import parse_json
from img2vid.errors import BadInput
from img2vid.media.carried_text import carried_texts

_KEYS = ("prompt", "workflow")
"""Names of the API form and of the page's form in files."""


def workflow_of_file(data: bytes, name: str) -> Workflow:
    """Return the workflow in a JSON file, or in the PNG, WebP or MP4 file that it made.

    name: of the file, quoted in errors. Raise BadInput if it has no workflow, or one that makes neither a video nor a
    picture.
    """
    if data.lstrip()[:1] == b"{":
        return read_workflow(parse_json(data, name), name)
    tree = carried_workflow(data)
    if tree is None:
        raise BadInput(f"{name} carries no ComfyUI workflow; choose its JSON file")
    return read_workflow(tree, name)


def carried_workflow(data: bytes) -> Any | None:
    """Return the workflow that a picture or video carries, with the settings of img2vid's export, or None."""
    texts = carried_texts(data)
    trees: dict[str, Any] = {}
    # Other programs store both in a comment.
    for key in [key for key in ("comment", *_KEYS) if key in texts]:
        try:
            tree: Any = parse_json(texts[key], key)
        except BadInput:
            continue
        trees |= {key: tree} if key in _KEYS else fields_of(tree)
    found = [trees[key] for key in _KEYS if is_workflow(trees.get(key))]
    if len(found) == 2 and isinstance(found[1].get("extra"), dict):
        # The API form has every value by name; only the page's form keeps what others add to it.
        return {"prompt": found[0], "extra": found[1]["extra"]}
    return found[0] if found else None
