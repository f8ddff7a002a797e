"""ComfyUI's workflows as graphs of nodes, read from the page's JSON or from the API form."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from img2vid.comfyui.nodes import CONTROL, WIDGETS
from img2vid.comfyui.subgraphs import BYPASSED, MUTED, Page, as_list, dicts, fields_of
from img2vid.errors import BadInput

CONTROLS = ("fixed", "increment", "decrement", "randomize")
"""Values of the widget that changes a seed."""


@dataclass(frozen=True)
class Link:
    """Output `slot` of a node."""

    node: str
    slot: int


@dataclass(frozen=True)
class Node:
    """Node with its inputs: values of widgets, and links to other nodes."""

    kind: str
    inputs: Mapping[str, Any]


Graph = Mapping[str, Node]


def read_graph(tree: object, name: str) -> Graph:
    """Return the nodes of a parsed workflow in either form by id. Raise BadInput for other JSON.

    name: the file in error messages.
    """
    fields = fields_of(tree)
    if isinstance(fields.get("nodes"), list):
        return _Page(fields).graph()
    rows = fields_of(fields.get("prompt")) or fields
    if rows and all(_is_api_node(row) for row in rows.values()):
        return {str(key): Node(row["class_type"], _api_inputs(row["inputs"])) for key, row in rows.items()}
    raise BadInput(f"{name} is not a ComfyUI workflow; save it with ComfyUI's Save or Export (API)")


def is_workflow(tree: object) -> bool:
    """Return whether parsed JSON has the form of a ComfyUI workflow."""
    try:
        return bool(read_graph(tree, ""))
    except BadInput:
        return False


def upstream(graph: Graph, start: object) -> Iterator[tuple[str, Node]]:
    """Yield the nodes that a link depends on, nearest first, each once."""
    waiting, seen = [start], set[str]()
    while waiting:
        link = waiting.pop(0)
        if not isinstance(link, Link) or link.node in seen or link.node not in graph:
            continue
        seen.add(link.node)
        node = graph[link.node]
        yield link.node, node
        waiting += node.inputs.values()


def value_of(graph: Graph, node: Node, name: str) -> tuple[Any, set[str]]:
    """Return the value of an input, None if it comes from a node that is not a primitive, and the primitives' ids."""
    value, primitives = node.inputs.get(name), set[str]()
    while isinstance(value, Link) and value.node in graph and value.node not in primitives:
        origin = graph[value.node]
        if not origin.kind.startswith("Primitive"):
            break
        primitives.add(value.node)
        value = origin.inputs.get("value")
    return (None if isinstance(value, Link) else value), primitives


def _is_api_node(row: object) -> bool:
    fields = fields_of(row)
    return isinstance(fields.get("class_type"), str) and isinstance(fields.get("inputs"), dict)


def _api_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _api_link(value) for name, value in inputs.items()}


def _api_link(value: Any) -> Any:
    if len(as_list(value)) == 2:
        node, slot = as_list(value)
        if isinstance(node, (str, int)) and type(slot) is int:
            return Link(str(node), slot)
    return value


class _Page(Page):
    """Workflow as ComfyUI's page saves it, as a graph: widgets by position, links by number."""

    def graph(self) -> Graph:
        """Return the nodes that run, with the links through the others."""
        return {
            key: Node(row["type"], self._inputs(key, row))
            for key, row in self.rows.items()
            if row.get("mode") not in (MUTED, BYPASSED) and row["type"] not in ("Reroute", "PrimitiveNode")
        }

    def _inputs(self, key: str, row: Mapping[str, Any]) -> dict[str, Any]:
        found = _widget_values(row) | self.values.get(key, {})
        for one in dicts(row.get("inputs")):
            link = one.get("link")
            if isinstance(one.get("name"), str) and type(link) is int:
                value = self._origin(link)
                # A removed link leaves the widget's value.
                if value is not None or one["name"] not in found:
                    found[one["name"]] = value
        return found

    def _origin(self, number: Any) -> Any:
        """Return where a link starts, beyond bypassed nodes, or the value if that is a primitive; else None."""
        seen = set[Any]()
        while type(number) is int and number in self.links and number not in seen:
            seen.add(number)
            link, kind = Link(self.links[number].node, self.links[number].slot), self.links[number].kind
            row = self.rows.get(link.node, {})
            if row.get("mode") == MUTED or not row:
                return None
            if row["type"] == "PrimitiveNode":
                return (_widget_values(row) | self.values.get(link.node, {})).get("value")
            if row["type"] != "Reroute" and row.get("mode") != BYPASSED:
                return link
            same = [one for one in dicts(row.get("inputs")) if row["type"] == "Reroute" or one.get("type") == kind]
            number = same[0].get("link") if same else None
        return None


def _widget_values(row: Mapping[str, Any]) -> dict[str, Any]:
    values = row.get("widgets_values")
    if isinstance(values, dict):
        return dict(fields_of(cast(Any, values)))
    names = WIDGETS.get(row["type"], ())
    given = [*as_list(values)]
    if CONTROL in names:
        at = names.index(CONTROL)
        if len(given) <= at or given[at] not in CONTROLS:  # ComfyUI before 2023-04
            given.insert(at, CONTROLS[0])
    return {name: value for name, value in zip(names, given, strict=False) if name != CONTROL}
