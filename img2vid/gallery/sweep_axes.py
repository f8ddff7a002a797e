"""Settings that vary while all else stays: the axes of a sweep, and the settings of each cell of its grid."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from img2vid.errors import BadInput
from img2vid.settings import MAX_SIGMA, PARAMS, SampleSettings, label_of, make_settings
from img2vid.version_defaults import switched
from img2vid.versions import ModelVersion, find_version

MOST_CELLS = 100
"""Of one sweep; more could neither be waited for nor be looked at."""
MOST_AXES = 2
NEVER_AXES = ("num_samples",)
"""Settings that cannot vary: every cell is one video."""
AXIS_NAMES = tuple(name for name in SampleSettings.model_fields if name not in NEVER_AXES)
EXAMPLE = "write it as motion_bucket_id=20,127,255 or seed=1..5"
_PARTNERS: dict[str, dict[str, Any]] = {
    "sigma_min": {"sigma_max": MAX_SIGMA},
    "sigma_max": {"sigma_min": 1e-4},
    "guidance_sigma_min": {"guidance_sigma_max": MAX_SIGMA},
    "guidance_sigma_max": {"guidance_sigma_min": 0.0},
}
"""Values of other settings beside which every value of a setting will do."""
_SPEAKS_FOR_ITSELF = ("version", "sampler", "discretization", "guider")


@dataclass(frozen=True)
class Axis:
    """A setting, by its name, and the values that it takes, in order."""

    name: str
    values: tuple[Any, ...]


def parse_axis(text: str) -> Axis:
    """An axis from `motion_bucket_id=20,127,255` or, for whole numbers, `seed=1..5`; BadInput where it is none."""
    name, equals, values = text.partition("=")
    if not equals:
        raise BadInput(f"an axis is a setting and its values, got {text!r}; {EXAMPLE}")
    return axis_of(name, values)


def axis_of(name: str, text: str) -> Axis:
    """The axis of a setting, named with `_` or `-`, from values with commas between them, as people type them.

    Raises BadInput for a setting that cannot be an axis, no value, a value that will not do, one that is there twice,
    and more than `MOST_CELLS` of them.
    """
    name = setting_of(name)
    values: list[Any] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        values.extend(_range(name, part) if SampleSettings.model_fields[name].annotation is int else [part])
    axis = Axis(name, tuple(value_of(name, value) for value in values))
    _check_axis(axis)
    return axis


def setting_of(name: str) -> str:
    """The setting that a name written with `_` or `-` stands for; BadInput where it cannot vary."""
    known = name.strip().replace("-", "_")
    if known in NEVER_AXES:
        raise BadInput(f"{known} cannot vary, for every cell is one video; let seed be an axis")
    if known not in AXIS_NAMES:
        raise BadInput(f"there is no setting {name.strip()!r}; the settings are {', '.join(AXIS_NAMES)}")
    return known


def value_of(name: str, text: object) -> Any:
    """A value of a setting, from a text or a plain value; BadInput with one sentence where it will not do."""
    if name == "version":
        return find_version(str(text)).name
    return getattr(make_settings({**_PARTNERS.get(name, {}), name: text}), name)


def check_axes(axes: Sequence[Axis]) -> None:
    """Raises BadInput for no axis, more than two, two of one setting, and for more than `MOST_CELLS` cells."""
    if not 1 <= len(axes) <= MOST_AXES:
        raise BadInput(f"a sweep has one or two axes, got {len(axes)}; {EXAMPLE}")
    for axis in axes:
        _check_axis(axis)
    for one, other in combinations(axes, 2):
        if one.name == other.name:
            raise BadInput(f"both axes are {one.name}; write all of its values into one of them")
    columns, rows = shape(axes)
    if columns * rows > MOST_CELLS:
        raise BadInput(f"a sweep has at most {MOST_CELLS} videos, got {columns} x {rows}; leave some values out")


def shape(axes: Sequence[Axis]) -> tuple[int, int]:
    """Columns and rows of the grid: the first axis runs along a row, the second, where there is one, down the rows."""
    return len(axes[0].values), len(axes[1].values) if len(axes) > 1 else 1


def points(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """The values of the axes' settings in each cell, row by row."""
    first, second = axes[0], axes[1] if len(axes) > 1 else None
    down: list[dict[str, Any]] = [{}] if second is None else [{second.name: value} for value in second.values]
    return [{first.name: value, **row} for row in down for value in first.values]


def cells_from_options(given: Mapping[str, Any], axes: Sequence[Axis]) -> list[SampleSettings]:
    """The settings of each cell, row by row: each version's defaults, then what was given, then the cell's own values.

    Raises BadInput where the axes are none, and for the first cell whose values do not go together.
    """
    return _cells(axes, lambda point: settings_from_options({**given, **point}))


def settings_from_options(given: Mapping[str, Any]) -> SampleSettings:
    """The settings of one video: what was given, and for the rest its version's defaults; raises BadInput."""
    usual = SampleSettings.model_fields["version"].default
    return find_version(str(given.get("version", usual))).settings({**given, "num_samples": 1})


def cells_from_controls(
    controls: Mapping[str, Any], versions: Mapping[str, ModelVersion], axes: Sequence[Axis]
) -> list[SampleSettings]:
    """The same from a page's controls: another version is taken as if it had been chosen there, see `switched`."""
    old = versions[controls["version"]]

    def settle(point: Mapping[str, Any]) -> SampleSettings:
        version = versions[point.get("version", old.name)]
        base = controls if version is old else switched(controls, old, version)
        return version.settings({**base, **point, "num_samples": 1})

    return _cells(axes, settle)


def unused_settings(axes: Sequence[Axis], cells: Sequence[SampleSettings]) -> list[str]:
    """A sentence for each axis that changes no video, because what it sets is not used by any cell."""
    found: list[str] = []
    for axis in axes:
        users = [choice for choice, names in PARAMS.items() if axis.name in names]
        chosen = {choice for cell in cells for choice in (cell.sampler, cell.discretization, cell.guider)}
        if users and not chosen.intersection(users):
            found.append(f"{axis.name} changes nothing here; only {' and '.join(users)} {_use(users)} it")
    return found


def label_of_value(name: str, value: object) -> str:
    """A value with the page's words for its setting: "motion bucket id 127", "svd_xt"."""
    plain = f"{value:.6g}" if isinstance(value, float) else str(value)
    if isinstance(value, bool):
        plain = "on" if value else "off"
    return plain if name in _SPEAKS_FOR_ITSELF else f"{label_of(name)} {plain}"


def labels(axis: Axis) -> list[str]:
    """What stands beside each row or above each column of that axis."""
    return [label_of_value(axis.name, value) for value in axis.values]


def _cells(axes: Sequence[Axis], settle: Callable[[Mapping[str, Any]], SampleSettings]) -> list[SampleSettings]:
    check_axes(axes)
    return [settle(point) for point in points(axes)]


def _check_axis(axis: Axis) -> None:
    if not axis.values:
        raise BadInput(f"the axis {axis.name} has no values; {EXAMPLE}")
    _check_count(axis.name, len(axis.values))
    for value in axis.values:
        if axis.values.count(value) > 1:
            raise BadInput(f"the axis {axis.name} has {value} more than once; leave one of them out")


def _check_count(name: str, count: int) -> None:
    if count > MOST_CELLS:
        raise BadInput(f"a sweep has at most {MOST_CELLS} videos, got {count} values of {name}; leave some out")


def _range(name: str, part: str) -> Sequence[Any]:
    """The whole numbers of "1..5", both ends included; any other text as it is."""
    found = re.fullmatch(r"(\d{1,10})\s*\.\.\s*(\d{1,10})", part)
    if found is None:
        return [part]
    low, high = int(found[1]), int(found[2])
    if low > high:
        raise BadInput(f"a range of {name} goes from a lower number to a higher one, got {part!r}")
    _check_count(name, high - low + 1)
    return range(low, high + 1)


def _use(users: Sequence[str]) -> str:
    return "uses" if len(users) == 1 else "use"
