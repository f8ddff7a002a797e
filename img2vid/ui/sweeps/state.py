"""Saved state of the Sweeps page: the two axes as typed, and the sweep shown."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from img2vid.errors import BadInput
from img2vid.gallery.sweep_axes import AXIS_NAMES, MOST_AXES, Axis, axis_of, cells_from_controls
from img2vid.settings import SampleSettings, label_of
from img2vid.ui.state import Note, PageState
from img2vid.ui.tabs import Picture
from img2vid.versions import ModelVersion

if TYPE_CHECKING:
    from img2vid.gallery.studies import Study

PAGE = "sweeps"
FIRST = ("version", "motion_bucket_id", "seed", "cond_aug", "fps", "num_steps", "max_scale", "sampler")
"""Settings listed first because they are varied most."""
ORDER = (*FIRST, *(name for name in AXIS_NAMES if name not in FIRST))
NAMES = {label_of(name): name for name in ORDER}
"""Setting names by their label, in display order."""
NOTHING = ""
"""Setting name that stands for no second axis."""
SUGGESTED = {
    "motion_bucket_id": "20, 127, 255",
    "cond_aug": "0.02, 0.06, 0.14",
    "fps": "6, 12, 24",
    "num_steps": "10, 25, 50",
    "max_scale": "1.5, 2.5, 4",
    "scale": "1.5, 2.5, 4",
    "watermark": "true, false",
}
"""Default values of an axis, as text."""


@dataclass(frozen=True)
class Sweep:
    """State of the page, saved with the tab."""

    names: tuple[str, ...] = ("motion_bucket_id", "seed")
    """Settings of the axes, columns first; the second may be `NOTHING`."""
    texts: tuple[str, ...] = ("20, 127, 255", "1, 2, 3")
    """Values of the axes, as typed."""
    study: str = ""
    """Id of the study shown; empty before the first run."""
    open: int = -1
    """Index of the cell whose settings are shown, or -1."""
    align: Literal["time", "stretch"] = "time"


def sweep(page: PageState) -> Sweep:
    """Return the tab's saved state; missing or invalid values get their defaults."""
    kept = page.tab.pages.get(PAGE)
    values = cast("dict[str, Any]", kept) if isinstance(kept, dict) else {}
    names, texts = _texts(values.get("names")), _texts(values.get("texts"))
    usable = len(names) == len(texts) == MOST_AXES and names[0] in AXIS_NAMES and names[1] in (*AXIS_NAMES, NOTHING)
    number = values.get("open")
    return Sweep(
        names if usable else Sweep.names,
        texts if usable else Sweep.texts,
        study=values["study"] if isinstance(values.get("study"), str) else "",
        open=number if isinstance(number, int) else -1,
        align="stretch" if values.get("align") == "stretch" else "time",
    )


def keep(page: PageState, after: Sweep) -> None:
    """Save the state with the tab."""
    page.tab.pages[PAGE] = asdict(after)
    page.save()


def axes(given: Sweep) -> list[Axis]:
    """Parse the typed axes; raise BadInput if one is invalid."""
    pairs = zip(given.names, given.texts, strict=True)
    return [axis_of(name, text) for name, text in pairs if name != NOTHING]


def cells(page: PageState, given: Sweep) -> list[SampleSettings]:
    """Return the settings of all cells, based on the tab's controls; raise BadInput if a combination is invalid."""
    return cells_from_controls(page.tab.controls, page.versions, axes(given))


def named(page: PageState, before: Sweep, index: int, name: str) -> Sweep:
    """Return the state with another setting on an axis, with default values; swap if the other axis has it."""
    names, texts = list(before.names), list(before.texts)
    other = 1 - index
    if name == names[other] and name != NOTHING:
        names[other], texts[other] = names[index], texts[index]
        if other == 0 and names[0] == NOTHING:  # the first axis is required
            names[0] = next(one for one in FIRST if one != name)
            texts[0] = suggestion(names[0], page.tab.controls, page.versions)
    names[index] = name
    texts[index] = "" if name == NOTHING else suggestion(name, page.tab.controls, page.versions)
    return replace(before, names=tuple(names), texts=tuple(texts))


def typed(before: Sweep, index: int, text: str) -> Sweep:
    """Return the state with other values on an axis."""
    return replace(before, texts=tuple(text if place == index else old for place, old in enumerate(before.texts)))


def choices(name: str, versions: Mapping[str, ModelVersion]) -> list[str]:
    """Return all named values of a setting; empty for numeric settings."""
    if name == "version":
        return list(versions)
    return [choice for choice in get_args(SampleSettings.model_fields[name].annotation) if isinstance(choice, str)]


def suggestion(name: str, controls: Mapping[str, Any], versions: Mapping[str, ModelVersion]) -> str:
    """Return default values for an axis as text: commonly compared ones, or the current value."""
    if name == "version":
        return ", ".join(one.name for one in versions.values() if one.checkpoint_path is not None)
    if name == "seed":
        first = min(controls[name], 2**32 - 3)
        return ", ".join(str(first + step) for step in range(3))
    if found := choices(name, versions):
        return ", ".join(found)
    value = controls["fps"] if controls[name] is None else controls[name]
    return SUGGESTED.get(name) or (f"{value:g}" if isinstance(value, float) else str(value))


def opened(page: PageState, study: "Study") -> None:
    """Show an earlier sweep and its axes. The tab's other settings stay."""
    texts = [", ".join(_written(value) for value in axis.values) for axis in study.axes]
    names = [axis.name for axis in study.axes]
    missing = MOST_AXES - len(names)
    names, texts = names + [NOTHING] * missing, texts + [""] * missing
    keep(page, replace(sweep(page), names=tuple(names), texts=tuple(texts), study=study.id, open=-1))


def use(page: PageState, study: "Study", settings: SampleSettings) -> None:
    """Copy the settings of a cell and the sweep's input to the Sample page."""
    if settings.version not in page.versions:
        raise BadInput(f"model version {settings.version!r} no longer exists; choose another cell")
    if study.picture.is_file():
        page.set_picture(Picture(study.picture.name, study.picture_name))
    page.set(**settings.model_dump())
    page.note = Note("done", "Copied the settings of this video to the Sample page.", place=PAGE)


def _written(value: object) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.12g}" if isinstance(value, float) else str(value)
    )


def _texts(value: object) -> tuple[str, ...]:
    given = cast("list[object]", value) if isinstance(value, (list, tuple)) else []
    return tuple(text for text in given if isinstance(text, str))
