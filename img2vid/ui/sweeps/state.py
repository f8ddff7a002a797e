"""Saved state of the Sweeps page: the two axes as typed, and the sweep shown."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from img2vid.errors import BadInput
from img2vid.gallery.studies import Study
from img2vid.gallery.sweep_axes import AXIS_NAMES, MOST_AXES, Axis, axis_of, cells_from_controls
from img2vid.media.composites import Align
from img2vid.settings import SampleSettings, label_of
from img2vid.ui.state import Note, PageState
from img2vid.versions import ModelVersion

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

    names: tuple[str, str] = ("motion_bucket_id", "seed")
    """Settings of the axes, columns first; the second may be `NOTHING`."""
    texts: tuple[str, str] = ("20, 127, 255", "1, 2, 3")
    """Values of the axes, as typed."""
    study: str = ""
    """Id of the study shown; empty before the first run."""
    open: int = -1
    """Index of the cell whose settings are shown, or -1."""
    align: Align = "time"


def sweep(page: PageState) -> Sweep:
    """Return the tab's saved state; missing or invalid values get their defaults."""
    found = page.stored(PAGE, Sweep)
    usable = found.names[0] in AXIS_NAMES and found.names[1] in (*AXIS_NAMES, NOTHING)
    return found if usable else replace(found, names=Sweep.names, texts=Sweep.texts)


def axes(given: Sweep) -> list[Axis]:
    """Parse the typed axes; raise BadInput if one is invalid."""
    pairs = zip(given.names, given.texts, strict=True)
    return [axis_of(name, text) for name, text in pairs if name != NOTHING]


def cells(page: PageState, given: Sweep) -> list[SampleSettings]:
    """Return the settings of all cells, based on the tab's controls; raise BadInput if a combination is invalid."""
    controls = page.tab.controls
    page.require_accepted(name for name in page.used(controls) if name not in given.names)
    return cells_from_controls(controls, page.versions, axes(given))


def name_axis(page: PageState, index: int, name: str) -> None:
    """Put another setting on an axis, with default values; swap the axes if the other one has it."""
    before = sweep(page)
    names, texts = list(before.names), list(before.texts)
    other = 1 - index
    if name == names[other] and name != NOTHING:
        names[other], texts[other] = names[index], texts[index]
        if other == 0 and names[0] == NOTHING:  # the first axis is required
            names[0] = next(one for one in FIRST if one != name)
            texts[0] = suggestion(names[0], page.tab.controls, page.versions)
    names[index] = name
    texts[index] = "" if name == NOTHING else suggestion(name, page.tab.controls, page.versions)
    page.keep(PAGE, names=names, texts=texts)


def set_values(page: PageState, index: int, text: str) -> None:
    """Set the values of an axis, as typed."""
    texts = list(sweep(page).texts)
    texts[index] = text
    page.keep(PAGE, texts=texts)


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


def opened(page: PageState, study: Study) -> None:
    """Show an earlier sweep and its axes. The tab's other settings stay."""
    missing = MOST_AXES - len(study.axes)
    names = [axis.name for axis in study.axes] + [NOTHING] * missing
    texts = [", ".join(map(_written, axis.values)) for axis in study.axes] + [""] * missing
    page.keep(PAGE, names=names, texts=texts, study=study.id, open=-1)


def use(page: PageState, study: Study, settings: SampleSettings) -> None:
    """Copy the settings of a cell and the sweep's input to the Sample page."""
    if settings.version not in page.versions:
        raise BadInput(f"model version {settings.version!r} no longer exists; choose another cell")
    page.reuse_picture(study.picture, study.picture_name)
    page.set(**settings.model_dump())
    page.note = Note("done", "Copied the settings of this video to the Sample page.", place=PAGE)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)
