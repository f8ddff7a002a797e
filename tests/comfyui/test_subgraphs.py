"""Workflows with subgraphs say the same as those without."""

import copy
from typing import Any

import pytest
from workflows import image_to_video, text_to_video

from img2vid.comfyui.graph import is_workflow
from img2vid.comfyui.read import read_workflow
from img2vid.errors import BadInput

KEYS = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
PICTURE = {16, 17, 18, 19, 20, 22}
"""Nodes of the public example that make its picture."""


def ends_of(row: dict[str, Any]) -> list[Any]:
    return [end["link"] for end in row["inputs"]]


def packed(tree: dict[str, Any], ids: set[Any], name: str, number: int) -> dict[str, Any]:
    """Return a copy of a workflow with some nodes in a subgraph, which another node stands for."""
    tree = copy.deepcopy(tree)
    inside, outside = ([row for row in tree["nodes"] if (row["id"] in ids) == yes] for yes in (True, False))
    links = {link[0]: link for link in tree["links"]}
    entering = [link for link in links.values() if link[3] in ids and link[1] not in ids]
    leaving = [link for link in links.values() if link[1] in ids and link[3] not in ids]
    sources = list(dict.fromkeys((link[1], link[2]) for link in leaving))
    inner = [list(link) for link in links.values() if link[1] in ids and link[3] in ids]
    inner += [[link[0], -10, slot, *link[3:]] for slot, link in enumerate(entering)]
    inner += [[1000 + slot, *source, -20, slot, "*"] for slot, source in enumerate(sources)]
    for link in leaving:
        link[1:3] = [number, sources.index((link[1], link[2]))]
    for slot, link in enumerate(entering):
        link[3:5] = [number, slot]
    kind = {
        "id": name,
        "nodes": inside,
        "links": [dict(zip(KEYS, link, strict=True)) for link in inner],
        "inputs": [{"name": f"in{slot}"} for slot, _ in enumerate(entering)],
        "outputs": [{"name": f"out{slot}"} for slot, _ in enumerate(sources)],
    }
    ends = [{"name": f"in{slot}", "type": link[5], "link": link[0]} for slot, link in enumerate(entering)]
    host = {"id": number, "type": name, "mode": 0, "inputs": ends, "outputs": [], "widgets_values": []}
    tree["nodes"] = [*outside, host]
    tree["links"] = [link for link in links.values() if not (link[1] in ids and link[3] in ids)]
    tree.setdefault("definitions", {"subgraphs": []})["subgraphs"].append(kind)
    return tree


def test_nodes_in_subgraphs_are_read_as_if_they_were_outside() -> None:
    flat = text_to_video()
    expected = read_workflow(flat, "a.json")
    picture = packed(flat, PICTURE, "uuid-picture", 100)
    assert read_workflow(picture, "a.json") == expected
    both = packed(picture, {3, 8, 12, 14, 15}, "uuid-video", 101)
    assert read_workflow(both, "a.json") == expected
    nested = packed(both, {100, 101}, "uuid-all", 102)
    assert [row["type"] for row in nested["nodes"]].count("KSampler") == 0
    assert read_workflow(nested, "a.json") == expected


def with_widget(inner: str, named: str, kind: str) -> dict[str, Any]:
    """Return the public example with the picture's nodes in a subgraph that has a widget of one of them as input."""
    tree = packed(text_to_video(), PICTURE, "uuid-picture", 100)
    (definition,) = tree["definitions"]["subgraphs"]
    definition["inputs"] = [{"name": named}]
    row = next(row for row in definition["nodes"] if row["type"] == kind)
    row["inputs"].append({"name": inner, "type": "INT", "link": 2000, "widget": {"name": inner}})
    definition["links"].append(dict(zip(KEYS, [2000, -10, 0, row["id"], len(row["inputs"]) - 1, "INT"], strict=True)))
    host = tree["nodes"][-1]
    host["inputs"] = [{"name": named, "type": "INT", "link": None, "widget": {"name": named}}]
    return tree


def steps_of(tree: dict[str, Any]) -> int:
    prompt = read_workflow(tree, "a.json").prompt
    assert prompt is not None
    return prompt.steps


def test_a_widget_of_the_subgraph_gives_its_value() -> None:
    tree = with_widget("steps", "picture steps", "KSampler")
    host = tree["nodes"][-1]
    assert steps_of(tree) == 15  # the inner node's
    host["widgets_values"] = [22]
    assert steps_of(tree) == 22
    tree["nodes"].append({"id": 300, "type": "PrimitiveInt", "mode": 0, "inputs": [], "widgets_values": [33]})
    tree["links"].append([900, 300, 0, 100, 0, "INT"])
    host["inputs"][0]["link"] = 900
    assert steps_of(tree) == 33
    nested = packed(tree, {100}, "uuid-outer", 101)
    assert steps_of(nested) == 33


def test_a_shown_widget_of_an_inner_node_gives_its_value() -> None:
    tree = packed(text_to_video(), PICTURE, "uuid-picture", 100)
    host = tree["nodes"][-1]
    host["properties"] = {"proxyWidgets": [["22", "width"], ["17", "steps"], ["-1", "none"]]}
    host["widgets_values"] = [768, 22]
    prompt = read_workflow(tree, "a.json").prompt
    assert prompt is not None
    assert (prompt.width, prompt.height, prompt.steps) == (768, 576, 22)
    nested = packed(tree, {100}, "uuid-outer", 101)
    nested["nodes"][-1] |= {"properties": {"proxyWidgets": [["100", "steps"]]}, "widgets_values": [44]}
    assert steps_of(nested) == 44


@pytest.mark.parametrize("mode", [2, 4])
def test_the_nodes_of_a_subgraph_that_does_not_run_are_left_out(mode: int) -> None:
    tree = packed(text_to_video(), PICTURE, "uuid-picture", 100)
    tree["nodes"][-1]["mode"] = mode
    assert read_workflow(tree, "a.json").prompt is None


def test_subgraphs_that_hold_themselves_or_too_many_nodes_are_refused() -> None:
    row = {"id": 1, "type": "a", "mode": 0, "inputs": []}
    loop: dict[str, Any] = image_to_video() | {"definitions": {"subgraphs": [{"id": "a", "nodes": [row]}]}}
    loop["nodes"].append(row)
    # Each holds ten of the next.
    kinds = [{"id": str(n), "nodes": [{"id": m, "type": str(n + 1)} for m in range(10)]} for n in range(8)]
    bomb: dict[str, Any] = image_to_video() | {"definitions": {"subgraphs": kinds}}
    bomb["nodes"].append({"id": 1, "type": "0"})
    for tree in (loop, bomb):
        with pytest.raises(BadInput, match="more than 1,000 nodes"):
            read_workflow(tree, "a.json")


BROKEN: dict[str, Any] = {
    "definitions": 5,
    "subgraphs": {"subgraphs": [5, {}, {"id": []}, {"id": "uuid-picture", "nodes": 5, "links": [[1]]}]},
    "links": {
        "subgraphs": [
            {
                "id": "uuid-picture",
                "nodes": [{"id": 17, "type": "KSampler", "inputs": [{"name": [], "link": []}, {"link": 5}]}],
                "links": [[5, -10, 9, 17, 0, "X"], [6, -10, -1, -20, 0, "X"], [7, 3, 0, -20, [], "X"]],
                "inputs": [{"name": {}}],
            }
        ]
    },
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_a_broken_definition_is_ignored(case: str) -> None:
    tree = packed(text_to_video(), PICTURE, "uuid-picture", 100)
    tree["nodes"][-1] |= {"properties": {"proxyWidgets": [[], [[], []], 5]}, "widgets_values": [1]}
    tree["definitions"] = BROKEN[case]
    assert is_workflow(tree)
    assert read_workflow(tree, "a.json").settings["num_frames"] == 25
