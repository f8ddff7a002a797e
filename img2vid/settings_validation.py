"""Validation of settings from options, pages, files and metadata, with a sentence for each mistake."""

import math
import re
from collections.abc import Mapping
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from img2vid.control import about_of
from img2vid.errors import BadInput, shown
from img2vid.settings import SampleSettings, approximated

MISSING_IN_SGM = (
    "DPMPP2MSDESampler",
    "UniPCSampler",
    "ConsistencySampler",
    "AYSDiscretization",
    "ConsistencyDiscretization",
    "ListDiscretization",
)
"""Samplers and discretizations that sgm lacks."""


def make_settings(values: Mapping[str, Any]) -> SampleSettings:
    """Validate plain values. Raise BadInput for the first invalid one."""
    try:
        return SampleSettings(**values)
    except ValidationError as error:
        raise BadInput(explain(error.errors()[0])) from error


def read_settings(metadata: object, name: str, *, newer: bool = False) -> dict[str, Any]:
    """Return the valid settings in the metadata of a video or a settings file, at least the version.

    name: the file in error messages. newer: leave out settings that this program does not know. Raise BadInput, and
    nothing else, if there are no settings or one is invalid. The version may be unknown.
    """
    found: object = cast("dict[str, Any]", metadata).get("settings") if isinstance(metadata, dict) else None
    values = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    version = values.get("version")
    if not isinstance(version, str) or not re.fullmatch(r"\w[\w.-]{0,99}", version):
        raise BadInput(f"{name} has no img2vid settings; choose a video or settings file made by img2vid")
    if newer:
        values = {key: value for key, value in values.items() if key in SampleSettings.model_fields}
    try:
        settings = make_settings(values)
    except (TypeError, ValueError, RecursionError) as error:  # values that JSON cannot hold
        raise BadInput(f"{name} has settings that cannot be read") from error
    return {key: getattr(settings, key) for key in values}


def explain(problem: ErrorDetails, model: type[BaseModel] = SampleSettings) -> str:
    """Return a validation error of a class of settings as one sentence with the given and the valid values."""
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0])
    if name not in model.model_fields:
        return f"there is no setting {shown(repr(name))}; the settings are {', '.join(model.model_fields)}"
    return f"{name} must be {requirement(name, model)}, got {shown(repr(problem['input']))}"


def requirement(name: str, model: type[BaseModel] = SampleSettings) -> str:
    """Describe the valid values of a setting, such as "a whole number from 1 to 10" or "one of crop, fit"."""
    field = model.model_fields[name]
    about = about_of(field)
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return f"one of {', '.join(choices)}"
    if numbers := about.numbers:
        each = ", one for each view" if about.group == "orbit" else ""
        return f"numbers from {numbers[0]:g} to {numbers[1]:g}{each}"
    kinds: dict[Any, str] = {int: "a whole number", bool: "true or false", str: "a name"}
    kind = kinds.get(field.annotation, "a number")
    limits = "" if about.highest == math.inf else f" from {about.lowest:.15g} to {about.highest:.15g}"
    return f"{kind}{limits}{f' ({about.unit})' if about.unit else ''}"


def check_provider(settings: SampleSettings, provider: str) -> None:
    """Raise BadInput if the settings need a feature that the engine lacks."""
    if provider != "sgm":
        return
    for name in (settings.sampler, settings.discretization):
        if name in MISSING_IN_SGM:
            raise BadInput(f"the sgm engine has no {name}; choose another one or the native engine")
    on = approximated(settings.model_dump())
    if on:
        given = ", ".join(f"{name} {getattr(settings, name)}" for name in on)
        raise BadInput(
            f"the sgm engine has no approximations, got {given}; "
            "leave them at their defaults or choose the native engine"
        )
