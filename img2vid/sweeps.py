"""Settings that vary while all else stays: the axes of a sweep."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Axis:
    """A setting, by its name, and the values that it takes, in order."""

    name: str
    values: tuple[Any, ...]
