"""YAML files of model configurations as nested mappings."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, cast

from img2vid.documents import read_yaml
from img2vid.errors import ConfigError
from img2vid.files import reason


def load_tree(path: Path) -> dict[str, Any]:
    """Return the configuration as nested mappings; targets are not validated."""
    try:
        tree = read_yaml(path, error=ConfigError)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no model configuration {path}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path} ({reason(error)})") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} is not a model configuration: expected a mapping with the key model at the top")
    if _has_reference(cast(object, tree)):
        raise ConfigError(f"{path} has references such as ${{name}}, which are not supported; write the values instead")
    return cast(dict[str, Any], tree)


def _has_reference(value: object) -> bool:
    """Return True if a text in `value` has OmegaConf's "${", which could name variables and expand without limit."""
    if isinstance(value, Mapping):
        return any(map(_has_reference, chain.from_iterable(cast(Mapping[object, object], value).items())))
    if isinstance(value, list):
        return any(map(_has_reference, cast(list[object], value)))
    return isinstance(value, str) and "${" in value
