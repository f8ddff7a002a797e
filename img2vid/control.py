"""Declaration of a setting: its label, help text, limits and the properties used elsewhere."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class About:
    """Properties of a setting that determine its option, widget, warnings and part in fingerprints."""

    group: str
    """Group of options on the command line."""
    lowest: float = -math.inf
    """Inclusive limits of a number; infinite for other settings."""
    highest: float = math.inf
    unit: str = ""
    by_version: bool = False
    """True if the shipped versions differ in its default."""
    step: float = 1.0
    """Step of the page's number input."""
    trained: tuple[float, float] | None = None
    """Inclusive range that Stable Video Diffusion was trained on, if it is the same for all versions."""
    outside: str = ""
    """Effect of values outside the trained range, as the end of a warning."""
    numbers: tuple[float, float] | None = None
    """Inclusive range of the numbers in a text of numbers."""
    input_key: str = ""
    """Input key of the embedder that gives the value to the network, or empty."""
    added_later: bool = False
    """Left out of fingerprints at its default, so that fingerprints of videos made before it was added stay valid."""


class SettingsModel(BaseModel):
    """Base of the settings of videos and of pictures. Unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _reject_bool_for_number(cls, value: object, info: ValidationInfo) -> object:
        # Python and pydantic accept true as 1, but in a settings file it is a mistake.
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise ValueError("true and false are not numbers")
        return value


def control(group: str, default: Any, label: str, help_text: str, **about: Any) -> Any:
    """Return a field with the reference demo's label, a help text and the facts of `About`."""
    facts = About(group, **about)
    limits: dict[str, Any] = {} if facts.highest == math.inf else {"ge": facts.lowest, "le": facts.highest}
    extra: Any = {"about": facts}
    return Field(default, title=label, description=help_text, json_schema_extra=extra, **limits)


def about_of(field: FieldInfo) -> About:
    """Return the facts about a field declared with `control`."""
    return cast(Any, field.json_schema_extra)["about"]


def numbers_as_text(value: object, limits: tuple[float, float] | None) -> str:
    """Return numbers, given as text or in a list, separated by spaces. Raise ValueError for one outside the limits."""
    parts = value.replace(",", " ").split() if isinstance(value, str) else value
    low, high = limits or (-math.inf, math.inf)
    try:
        numbers = [float(part) for part in cast(Any, parts)]
    except TypeError as error:
        raise ValueError("not a list of numbers") from error
    if isinstance(parts, dict) or not all(low <= number <= high for number in numbers):  # also rejects NaN
        raise ValueError("not numbers within the limits")
    return " ".join(f"{number:.15g}" for number in numbers)


def check_falling(name: str, text: str) -> None:
    """Raise ValueError unless the text has at least two numbers, each below the one before."""
    numbers = [float(part) for part in text.split()]
    if len(numbers) < 2 or any(after >= before for before, after in pairwise(numbers)):
        raise ValueError(f"{name} must be at least two falling numbers, got {text or 'none'}")
