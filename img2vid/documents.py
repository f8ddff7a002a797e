"""Readers of JSON and YAML text from outside, with limits of size, depth and number of values.

All files that users or other programs may have written are read here, so that none exhausts the memory or the stack.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from img2vid.errors import BadInput, Img2VidError, shown
from img2vid.files import retry_in_use

MAX_BYTES = 10_000_000
MAX_DEPTH = 64
MAX_VALUES = 100_000
"""Largest number of values in a YAML text after its aliases are expanded."""

MAX_NUMBER = 100
"""Characters of a YAML number, date or other value that is not text; the time for one grows with their square."""

_yaml: Any = yaml
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_SCALAR_ERRORS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""Errors that a scalar with a wrong explicit tag, such as "!!int x", raises."""


class _Refused(ValueError):
    """Text over one of the limits."""


class _YamlLoader(_SafeLoader):
    """Safe loader that also reads 1e-4 as a number."""

    def construct_scalar(self, node: Any) -> str:
        """Return a scalar's text. Raise _Refused if it is too long for a number."""
        if node.tag != "tag:yaml.org,2002:str" and len(node.value) > MAX_NUMBER:
            raise _Refused(f"a value of type {node.tag.rpartition(':')[2]} is longer than {MAX_NUMBER} characters")
        return _SafeLoader.construct_scalar(self, node)


class _YamlDumper(yaml.SafeDumper):
    """Safe dumper that quotes text which _YamlLoader would read as a number."""


_with_numbers: list[Any] = [_YamlLoader, _YamlDumper]
for _kind in _with_numbers:
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(?:[0-9][0-9_]*\.?|\.[0-9])[0-9_]*[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )


def read_json(path: Path, *, error: type[Img2VidError] = BadInput) -> Any:
    """Return the value of a JSON file. Raise `error` if it is not JSON or over a limit, OSError if it is unreadable."""
    return parse_json(read_limited(path), path, error=error)


def read_yaml(path: Path, *, error: type[Img2VidError] = BadInput) -> Any:
    """Return the value of a YAML file. Raise `error` if it is not YAML or over a limit, OSError if it is unreadable."""
    return parse_yaml(read_limited(path), path, error=error)


def read_limited(path: Path) -> bytes:
    """Return a file's bytes; of one that is too large, only as many as the parsers need to refuse it."""
    return retry_in_use(lambda: _first_bytes(path))


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def format_yaml(value: object) -> str:
    """Return a value as YAML that `parse_yaml` reads back, with mappings in their order."""
    return yaml.dump(value, Dumper=_YamlDumper, sort_keys=False, allow_unicode=True, width=110)


def parse_json(data: str | bytes, name: object, *, error: type[Img2VidError] = BadInput) -> Any:
    """Return the value of a JSON text. Raise `error` with `name`, the file the user knows, if it is not valid."""
    try:
        text = _text(data)
        _check_depth(text)
        return json.loads(text)
    except ValueError as reason:
        raise _invalid(name, "JSON", reason, error) from reason


def parse_yaml(data: str | bytes, name: object, *, error: type[Img2VidError] = BadInput) -> Any:
    """Return the value of a YAML text. Raise `error` with `name`, the file the user knows, if it is not valid."""
    try:
        text = _text(data)
        _check_events(text)
        return yaml.load(text, Loader=_YamlLoader)
    except (yaml.YAMLError, *_SCALAR_ERRORS) as reason:
        raise _invalid(name, "YAML", reason, error) from reason


def _text(data: str | bytes) -> str:
    if len(data) > MAX_BYTES:
        raise _Refused(f"larger than {MAX_BYTES / 1e6:g} MB")
    return (data.decode() if isinstance(data, bytes) else data).removeprefix("\ufeff")


def _check_depth(text: str) -> None:
    """Raise _Refused if JSON is nested too deeply; found before parsing, as the parser recurses."""
    # Without escapes, every second part lies outside of strings.
    outside = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    depth = 0
    for run in re.findall(r"[\[{]+|[\]}]+", outside):
        depth += len(run) if run[0] in "[{" else -len(run)
        _check_level(depth)


@dataclass
class _Collection:
    """Open list or mapping: its anchor, its values and levels so far and, of a mapping, its keys."""

    anchor: str | None = None
    size: int = 1
    height: int = 1
    keys: set[str] | None = None
    at_key: bool = True

    def add(self, size: int, height: int, scalar: str | None) -> None:
        """Count a value. Raise _Refused for too many values and for a duplicate key."""
        self.size += size
        self.height = max(self.height, height + 1)
        if self.size > MAX_VALUES:
            raise _Refused(f"more than {MAX_VALUES:,} values")
        if self.keys is not None and self.at_key and scalar is not None:
            if scalar in self.keys:
                raise _Refused(f"the key {scalar!r} appears twice")
            self.keys.add(scalar)
        self.at_key = not self.at_key


def _check_events(text: str) -> None:
    """Raise _Refused for YAML over a limit or with duplicate keys. Its events are parsed without recursion."""
    known: dict[str | None, tuple[int, int]] = {}
    levels = [_Collection()]
    for event in _yaml.parse(text, Loader=_SafeLoader):
        anchor, size, height, scalar = getattr(event, "anchor", None), 1, 0, None
        if isinstance(event, yaml.CollectionStartEvent):
            known.pop(anchor, None)  # an alias inside the collection is recursive
            levels.append(_Collection(anchor, keys=set() if isinstance(event, yaml.MappingStartEvent) else None))
            _check_level(len(levels) - 1)
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            closed = levels.pop()
            anchor, size, height = closed.anchor, closed.size, closed.height
        elif isinstance(event, yaml.AliasEvent):
            if anchor not in known:
                raise _Refused(f"the alias {anchor} is undefined or inside its own value")
            size, height = known[anchor]
            _check_level(len(levels) - 1 + height)
        elif isinstance(event, yaml.ScalarEvent):
            scalar = f"{event.tag or ''}{event.value}"
        else:
            continue
        known[anchor] = size, height
        levels[-1].add(size, height, scalar)


def _check_level(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _Refused(f"nested more than {MAX_DEPTH} levels deep")


def _invalid(name: object, kind: str, reason: Exception, error: type[Img2VidError]) -> Img2VidError:
    return error(f"{shown(name)} is not valid {kind}: {shown(' '.join(str(reason).split()))}")
