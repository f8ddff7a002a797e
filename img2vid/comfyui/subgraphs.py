"""Subgraphs of ComfyUI's page, replaced by the nodes in them as the page does before it runs a workflow."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from img2vid.errors import BadInput

MOST_NODES = 1000
"""Maximum number of nodes; the time to find the sampler grows with the square of it."""
MOST_LINKS = 20
"""Maximum number of links for each of these nodes."""
MUTED, BYPASSED = 2, 4
"""Modes of nodes that do not run, and that pass their inputs on."""
_INPUTS, _OUTPUTS = "-10", "-20"
"""Ids of a subgraph's own inputs and outputs in its links."""
_OF_INPUTS = "-1"
"""Id that stands for the subgraph's inputs in a list of shown widgets."""


class PageLink(NamedTuple):
    """Link from output `slot` of `node` to input `target_slot` of `target`."""

    number: int
    node: str
    slot: int
    target: str
    target_slot: int
    kind: Any


class Page:
    """Nodes by id and links by number of a workflow as ComfyUI's page saves it.

    values: of widgets that a subgraph shows, by the node that has them and by name. Raise BadInput if subgraphs hold
    more than MOST_NODES nodes, or themselves.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.rows, self.links = _nodes_and_links(tree)
        self.values: dict[str, dict[str, Any]] = {}
        self._last = max((link.number for link in self.links.values()), default=0)
        kinds = {_text(row.get("id")): row for row in dicts(fields_of(tree.get("definitions")).get("subgraphs"))}
        waiting, count = [*self.rows], 0
        while waiting:
            key = waiting.pop()
            row = self.rows[key]
            if row["type"] in kinds and row.get("mode") not in (MUTED, BYPASSED):
                count += 1
                waiting += self._replace(key, kinds[row["type"]])
                if max(count, len(self.rows), len(self.links) // MOST_LINKS) > MOST_NODES:
                    raise BadInput(f"the workflow's subgraphs have more than {MOST_NODES:,} nodes; choose another one")

    def _replace(self, key: str, kind: Mapping[str, Any]) -> list[str]:
        """Replace a node by the subgraph that it stands for; return the ids of the new nodes."""
        host = self.rows.pop(key)
        shown = _shown_values(host, self.values.pop(key, {}))
        rows, links = _nodes_and_links(kind)
        inputs = [_text(row.get("name")) for row in dicts(kind.get("inputs"))]
        given = {_text(end.get("name")): _number(end) for end in dicts(host.get("inputs"))}
        names = {
            number: inputs[link.slot]
            for number, link in links.items()
            if link.node == _INPUTS and 0 <= link.slot < len(inputs)
        }
        numbers = self._connect(key, links, {number: given.get(name) for number, name in names.items()})
        for inner, row in rows.items():
            values, ends = dict(shown.get(inner, {})), dicts(row.get("inputs"))
            for end in ends:
                name = names.get(_number(end))
                if name in shown[_OF_INPUTS] and numbers.get(_number(end)) is None:
                    values[_text(end.get("name"))] = shown[_OF_INPUTS][name]
            self.values[f"{key}:{inner}"] = values
            inside = [{**end, "link": numbers.get(_number(end))} for end in ends]
            self.rows[f"{key}:{inner}"] = {**row, "inputs": inside}
        return [f"{key}:{inner}" for inner in rows]

    def _connect(
        self, key: str, links: Mapping[Any, PageLink], outside: Mapping[Any, int | None]
    ) -> dict[Any, int | None]:
        """Add a subgraph's links, and start those from its node at the nodes in it; return their new numbers.

        outside: number of the outer link by the one from the subgraph's own inputs.
        """
        numbers: dict[Any, int | None] = dict(outside)
        outputs: dict[int, tuple[str, int]] = {}
        for number, link in links.items():
            origin = (f"{key}:{link.node}", link.slot)
            if link.node == _INPUTS:
                outer = self.links.get(outside.get(number))
                origin = ("", 0) if outer is None else (outer.node, outer.slot)
            elif link.target != _OUTPUTS:
                self._last += 1
                numbers[number] = self._last
                self.links[self._last] = PageLink(self._last, *origin, "", 0, link.kind)
            if link.target == _OUTPUTS:
                outputs[link.target_slot] = origin
        for number, link in self.links.items():
            if link.node == key:
                node, slot = outputs.get(link.slot, ("", 0))
                self.links[number] = link._replace(node=node, slot=slot)
        return numbers


def fields_of(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty one for any other value."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def dicts(rows: object) -> list[dict[str, Any]]:
    """Return the objects in a JSON list."""
    return [fields for row in as_list(rows) if (fields := fields_of(row))]


def as_list(value: object) -> list[Any]:
    """Return a JSON list, or an empty one for any other value."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(end: Mapping[str, Any]) -> int | None:
    """Return the number of an input's link, or None."""
    return end["link"] if type(end.get("link")) is int else None


def _nodes_and_links(tree: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[int | None, PageLink]]:
    rows = {str(row.get("id")): row for row in dicts(tree.get("nodes")) if isinstance(row.get("type"), str)}
    return rows, {link.number: link for row in as_list(tree.get("links")) if (link := _link(row)) is not None}


def _link(row: Any) -> PageLink | None:
    """Return a link, stored as a list or, in newer files, as an object."""
    if fields := fields_of(row):
        row = [fields.get(key) for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")]
    if len(as_list(row)) >= 6:
        number, node, slot, target, at, kind = as_list(row)[:6]
        if type(number) is int and isinstance(node, (str, int)) and type(slot) is int and type(at) is int:
            return PageLink(number, str(node), slot, str(target), at, kind)
    return None


def _shown_values(host: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the values of the widgets that a subgraph's node shows, by inner node or _OF_INPUTS and by name.

    own: those that an outer subgraph shows, which win.
    """
    proxies = [one for one in as_list(fields_of(host.get("properties")).get("proxyWidgets")) if len(as_list(one)) >= 2]
    places = [(str(one[0]), _text(one[1])) for one in proxies] or [
        (_OF_INPUTS, _text(end.get("name"))) for end in dicts(host.get("inputs")) if fields_of(end.get("widget"))
    ]
    found: dict[str, dict[str, Any]] = {_OF_INPUTS: {}}
    for (inner, name), value in zip(places, as_list(host.get("widgets_values")), strict=False):
        found.setdefault(inner, {})[name] = own.get(name, value)
    found[_OF_INPUTS].update(own)
    return found
