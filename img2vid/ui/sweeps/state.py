"""What the Sweeps page keeps: the two axes as they were typed, and the sweep that is looked at."""

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
"""Settings that are offered first, for they are varied most."""
ORDER = (*FIRST, *(name for name in AXIS_NAMES if name not in FIRST))
NAMES = {label_of(name): name for name in ORDER}
"""The settings by the page's labels, in the order in which they are offered."""
NOTHING = ""
"""In place of a setting: there is no second axis."""
SUGGESTED = {
    "motion_bucket_id": "20, 127, 255",
    "cond_aug": "0.02, 0.06, 0.14",
    "fps": "6, 12, 24",
    "num_steps": "10, 25, 50",
    "max_scale": "1.5, 2.5, 4",
    "scale": "1.5, 2.5, 4",
    "watermark": "true, false",
}
"""Values to begin with, as they are typed."""


@dataclass(frozen=True)
class Sweep:
    """All that the page keeps."""

    names: tuple[str, ...] = ("motion_bucket_id", "seed")
    """The settings of the axes, that of the columns first; the second may be `NOTHING`."""
    texts: tuple[str, ...] = ("20, 127, 255", "1, 2, 3")
    """Their values, as they were typed."""
    study: str = ""
    """What is looked at; empty before the first run."""
    open: int = -1
    """The cell whose settings are shown, or -1."""
    align: Literal["time", "stretch"] = "time"


def sweep(page: PageState) -> Sweep:
    """What the tab has kept, or what the page begins with; what cannot be used is left at its default."""
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


def keep(page: PageState, what: Sweep) -> None:
    """Keeps it with the tab."""
    page.tab.pages[PAGE] = asdict(what)
    page.save()


def axes(what: Sweep) -> list[Axis]:
    """The axes as they were typed; raises BadInput where one is none."""
    pairs = zip(what.names, what.texts, strict=True)
    return [axis_of(name, text) for name, text in pairs if name != NOTHING]


def cells(page: PageState, what: Sweep) -> list[SampleSettings]:
    """The settings of all cells, with the tab's for what does not vary; raises BadInput where they do not fit."""
    return cells_from_controls(page.tab.controls, page.versions, axes(what))


def named(page: PageState, what: Sweep, index: int, name: str) -> Sweep:
    """The same with another setting on an axis, and values to begin with; what the other axis has is exchanged."""
    names, texts = list(what.names), list(what.texts)
    other = 1 - index
    if name == names[other] and name != NOTHING:
        names[other], texts[other] = names[index], texts[index]
        if other == 0 and names[0] == NOTHING:  # there is always a first axis
            names[0] = next(one for one in FIRST if one != name)
            texts[0] = suggestion(names[0], page.tab.controls, page.versions)
    names[index] = name
    texts[index] = "" if name == NOTHING else suggestion(name, page.tab.controls, page.versions)
    return replace(what, names=tuple(names), texts=tuple(texts))


def typed(what: Sweep, index: int, text: str) -> Sweep:
    """The same with other values on an axis."""
    return replace(what, texts=tuple(text if place == index else old for place, old in enumerate(what.texts)))


def choices(name: str, versions: Mapping[str, ModelVersion]) -> list[str]:
    """All values of a setting that are names; empty for numbers."""
    if name == "version":
        return list(versions)
    return [choice for choice in get_args(SampleSettings.model_fields[name].annotation) if isinstance(choice, str)]


def suggestion(name: str, controls: Mapping[str, Any], versions: Mapping[str, ModelVersion]) -> str:
    """Values to begin with, as they are typed: what is often compared, or the present one."""
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
    """Shows an earlier sweep: its grid, and its axes to be run again or changed. The tab's settings stay."""
    texts = [", ".join(_written(value) for value in axis.values) for axis in study.axes]
    names = [axis.name for axis in study.axes]
    missing = MOST_AXES - len(names)
    names, texts = names + [NOTHING] * missing, texts + [""] * missing
    keep(page, replace(sweep(page), names=tuple(names), texts=tuple(texts), study=study.id, open=-1))


def use(page: PageState, study: "Study", settings: SampleSettings) -> None:
    """Makes the settings of a cell those of the tab, and the sweep's picture its input."""
    if settings.version not in page.versions:
        raise BadInput(f"there is no model version {settings.version!r} any more; choose another cell")
    if study.picture.is_file():
        page.set_picture(Picture(study.picture.name, study.picture_name))
    page.set(**settings.model_dump())
    page.note = Note("done", "Sample has the settings of this video now.", place=PAGE)


def _written(value: object) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.12g}" if isinstance(value, float) else str(value)
    )


def _texts(value: object) -> tuple[str, ...]:
    given = cast("list[object]", value) if isinstance(value, (list, tuple)) else []
    return tuple(text for text in given if isinstance(text, str))
