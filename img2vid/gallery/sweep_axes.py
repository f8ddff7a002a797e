"""Sweep axes, and the settings of each cell of the grid."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import Any

from img2vid.errors import BadInput
from img2vid.presets import switched
from img2vid.settings import MAX_SIGMA, METHODS, PARAMS, SampleSettings, label_of, value_text
from img2vid.settings_validation import make_settings
from img2vid.versions import ModelVersion, find_version

MOST_CELLS = 100
"""Maximum number of cells; more would take too long to make and to compare."""
MOST_AXES = 2
FEWEST_COLUMNS, MOST_COLUMNS = 2, 4
"""Limits of a comparison."""
NEVER_AXES = {
    "num_samples": "because every cell is one video; use seed instead",
    "elevations": "because it is a list; use elevation instead",
    "azimuths": "because it is a list; use elevation instead",
}
"""Settings that cannot be an axis, with the reason."""
AXIS_NAMES = tuple(name for name in SampleSettings.model_fields if name not in NEVER_AXES)
EXAMPLE = "write it as motion_bucket_id=20,127,255 or seed=1..5"
_PARTNERS: dict[str, dict[str, Any]] = {
    "sigma_min": {"sigma_max": MAX_SIGMA},
    "sigma_max": {"sigma_min": 1e-4},
    "guidance_sigma_min": {"guidance_sigma_max": MAX_SIGMA},
    "guidance_sigma_max": {"guidance_sigma_min": 0.0},
}
"""Values of related settings with which every value of a setting is valid."""
_UNLABELLED = ("version", *METHODS)


@dataclass(frozen=True)
class Axis:
    """Setting name and its values, in order."""

    name: str
    values: tuple[Any, ...]


def parse_axis(text: str) -> Axis:
    """Parse an axis such as `motion_bucket_id=20,127,255` or `seed=1..5` (whole numbers). Raise BadInput if invalid."""
    name, equals, values = text.partition("=")
    if not equals:
        raise BadInput(f"an axis is a setting and its values, got {text!r}; {EXAMPLE}")
    return axis_of(name, values)


def axis_of(name: str, text: str) -> Axis:
    """Return the axis of a setting, named with `_` or `-`, from comma-separated values.

    Raise BadInput for a setting that cannot be an axis, for missing, invalid or duplicate values, and for more than
    `MOST_CELLS` values.
    """
    name = setting_of(name)
    values: list[Any] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        values.extend(_range(name, part) if SampleSettings.model_fields[name].annotation is int else [part])
    axis = Axis(name, tuple(value_of(name, value) for value in values))
    _check_axis(axis)
    return axis


def setting_of(name: str) -> str:
    """Return the setting for a name written with `_` or `-`. Raise BadInput if it cannot be an axis."""
    known = name.strip().replace("-", "_")
    if known in NEVER_AXES:
        raise BadInput(f"{known} cannot be an axis, {NEVER_AXES[known]}")
    if known not in AXIS_NAMES:
        raise BadInput(f"there is no setting {name.strip()!r}; the settings are {', '.join(AXIS_NAMES)}")
    return known


def value_of(name: str, text: object) -> Any:
    """Validate a value of a setting, given as text or as a plain value. Raise BadInput if it is invalid."""
    if name == "version":
        return find_version(str(text)).name
    return getattr(make_settings({**_PARTNERS.get(name, {}), name: text}), name)


def check_axes(axes: Sequence[Axis]) -> None:
    """Raise BadInput for no axis, more than two axes, two of one setting, or more than `MOST_CELLS` cells."""
    if not 1 <= len(axes) <= MOST_AXES:
        raise BadInput(f"a sweep has one or two axes, got {len(axes)}; {EXAMPLE}")
    for axis in axes:
        _check_axis(axis)
    for one, other in combinations(axes, 2):
        if one.name == other.name:
            raise BadInput(f"both axes are {one.name}; put all values into one axis")
    counts = [len(axis.values) for axis in axes]
    if prod(counts) > MOST_CELLS:
        raise BadInput(
            f"a sweep has at most {MOST_CELLS} videos, got {' x '.join(map(str, counts))}; remove some values"
        )


def points(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Return the axis values of each cell, row by row."""
    first, second = axes[0], axes[1] if len(axes) > 1 else None
    down: list[dict[str, Any]] = [{}] if second is None else [{second.name: value} for value in second.values]
    return [{first.name: value, **row} for row in down for value in first.values]


def cells_from_options(given: Mapping[str, Any], axes: Sequence[Axis]) -> list[SampleSettings]:
    """Return the settings of each cell, row by row: version defaults, then `given`, then the cell's own values.

    Raise BadInput if the axes are invalid, and for the first cell with an invalid combination of values.
    """
    return _cells(axes, lambda point: settings_from_options({**given, **point}))


def settings_from_options(given: Mapping[str, Any]) -> SampleSettings:
    """Return the settings of one video: `given`, and the version's defaults for the rest. Raise BadInput if invalid."""
    usual = SampleSettings.model_fields["version"].default
    return find_version(str(given.get("version", usual))).settings({**given, "num_samples": 1})


def cells_from_controls(
    controls: Mapping[str, Any], versions: Mapping[str, ModelVersion], axes: Sequence[Axis]
) -> list[SampleSettings]:
    """Return the settings of each cell from a page's controls. Other versions change the controls as in `switched`."""
    old = versions[controls["version"]]

    def settings_of(point: Mapping[str, Any]) -> SampleSettings:
        version = versions[point.get("version", old.name)]
        base = controls if version is old else switched(controls, old, version)
        return version.settings({**base, **point, "num_samples": 1})

    return _cells(axes, settings_of)


def unused_settings(axes: Sequence[Axis], cells: Sequence[SampleSettings]) -> list[str]:
    """Return a sentence for each axis without effect, because no cell uses its setting."""
    found: list[str] = []
    for axis in axes:
        users = [choice for choice, names in PARAMS.items() if axis.name in names]
        chosen = {choice for cell in cells for choice in (cell.sampler, cell.discretization, cell.guider)}
        if users and not chosen.intersection(users):
            found.append(f"{axis.name} has no effect here; only {' and '.join(users)} {_use(users)} it")
    return found


def label_of_value(name: str, value: object) -> str:
    """Return a value with its setting's label, such as "motion bucket id 127", or just "svd_xt"."""
    return value_text(value) if name in _UNLABELLED else f"{label_of(name)} {value_text(value)}"


def labels(axis: Axis) -> list[str]:
    """Return the row or column labels of an axis."""
    return [label_of_value(axis.name, value) for value in axis.values]


def cell_names(axes: Sequence[Axis], separator: str = ", ") -> list[str]:
    """Return the values of each cell as text, such as "motion bucket id 127, seed 1"."""
    return [separator.join(label_of_value(*pair) for pair in point.items()) for point in points(axes)]


def _cells(axes: Sequence[Axis], settings_of: Callable[[Mapping[str, Any]], SampleSettings]) -> list[SampleSettings]:
    check_axes(axes)
    return [settings_of(point) for point in points(axes)]


def _check_axis(axis: Axis) -> None:
    if not axis.values:
        raise BadInput(f"the axis {axis.name} has no values; {EXAMPLE}")
    _check_count(axis.name, len(axis.values))
    for value in axis.values:
        if axis.values.count(value) > 1:
            raise BadInput(f"the axis {axis.name} has {value} more than once; remove the duplicate")


def _check_count(name: str, count: int) -> None:
    if count > MOST_CELLS:
        raise BadInput(f"a sweep has at most {MOST_CELLS} videos, got {count} values of {name}; remove some")


def _range(name: str, part: str) -> Sequence[Any]:
    """Expand "1..5" to whole numbers, both ends included; return any other text unchanged."""
    found = re.fullmatch(r"(\d{1,10})\s*\.\.\s*(\d{1,10})", part)
    if found is None:
        return [part]
    low, high = int(found[1]), int(found[2])
    if low > high:
        raise BadInput(f"a range of {name} must go from the lower to the higher number, got {part!r}")
    _check_count(name, high - low + 1)
    return range(low, high + 1)


def _use(users: Sequence[str]) -> str:
    return "uses" if len(users) == 1 else "use"
