"""State of the Compare page: its columns, their storage and their differences.

A column has a value for every setting and for the engine options that are compared, by name, as `differences.facts`.
All columns share the tab's input and crop, and the engine options that depend on the machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from img2vid.errors import BadInput
from img2vid.gallery.entries import Entry
from img2vid.gallery.studies import Study, Wanted
from img2vid.gallery.sweep_axes import FEWEST_COLUMNS, MOST_COLUMNS
from img2vid.jobs.job import Job
from img2vid.media.composites import Align
from img2vid.options import LoadOptions
from img2vid.presets import find_preset, switched
from img2vid.settings import CONDITIONING, PARAMS, SampleSettings, used_settings
from img2vid.ui import resources, tabs
from img2vid.ui.shared.measured import Axis
from img2vid.ui.state import Note, PageState
from img2vid.ui.studies.differences import ENGINE, facts
from img2vid.versions import ModelVersion

PAGE = "compare"
KEY = "column_"
"""Start of the widget keys of the columns."""
PAIRS = (("svd", "svd_xt"), ("svd_tiny", "svd_tiny_xt"))
"""Initial versions: the first pair whose checkpoints are installed."""
OF_THE_PICTURE = ("fitting", "crop_offset", "object_share")
SHOWN = ("seed", "num_steps", *CONDITIONING)
"""Most important settings, always visible together with the version, T and guidance."""
GUIDANCE = ("max_scale", "scale")


Column = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Stored state of the Compare page."""

    columns: tuple[Column, ...] = ()
    touched: bool = False
    """True once the user has changed a column; until then the columns follow the Sample page."""
    ran: bool = False
    """True while the columns are unchanged since Run was pressed."""
    sent: int = 0
    """1 after the gallery has sent one video to fresh columns, else 0."""
    same_seed: bool = True
    study: str = ""
    """Id of the shown study; empty before the first run."""
    folded: bool = False
    """True while the settings are hidden."""
    align: Align = "time"
    axis: Axis = "seconds"


def comparison(page: PageState) -> Comparison:
    """Return the tab's comparison or the initial one; invalid stored values get their defaults."""
    found = page.stored(PAGE, Comparison)
    columns = tuple(filter(None, (_usable(one, page.versions) for one in found.columns)))
    if found.touched and FEWEST_COLUMNS <= len(columns) <= MOST_COLUMNS:
        return replace(found, columns=columns)
    return replace(found, columns=first_columns(page), touched=False, ran=False, sent=0)


def set_columns(page: PageState, stored: Comparison, columns: Sequence[Column], *, keep_rejected: bool = False) -> None:
    """Save other columns; the shown clips stay until Run is pressed.

    Setting the same columns again has no effect, because Streamlit may report a change twice. keep_rejected: rejected
    values stay in the other fields, as after a change of one field.
    """
    if not stored.touched or tuple(columns) != stored.columns:
        if not keep_rejected:
            page.drop_rejected(KEY)
        page.keep(PAGE, columns=columns, touched=True, ran=False, sent=0)


def first_columns(page: PageState) -> tuple[Column, ...]:
    """Return the Sample page's settings with the pair of versions that has the most checkpoints installed."""
    base, old, versions = page.tab.controls, page.version, page.versions
    remote = resources.open_service().is_remote()  # remote workers have their own checkpoints
    known = [pair for pair in PAIRS if all(name in versions for name in pair)] or [(old.name, old.name)]

    def installed(pair: tuple[str, str]) -> int:
        return sum(remote or versions[name].checkpoint_path is not None for name in pair)

    pair = max(known, key=installed)
    engine = {name: getattr(page.tab.options, name) for name in ENGINE}
    return tuple({**switched(base, old, versions[name]), **engine, "num_samples": 1} for name in pair)


def preset_columns(page: PageState) -> tuple[Column, ...]:
    """Return the Sample page's settings with the presets Reference and Fast; raise BadInput if one is unsuitable."""
    engine = {name: getattr(page.tab.options, name) for name in ENGINE}
    return tuple(
        {**find_preset(name).applied(page.tab.controls, page.version), **engine, "num_samples": 1}
        for name in ("Reference", "Fast")
    )


def change(stored: Comparison, index: int, **values: Any) -> tuple[Column, ...]:
    """Return the columns with values of one changed; a seed changes in all columns if `same_seed` is set."""
    shared = {"seed": values["seed"]} if stored.same_seed and "seed" in values else {}
    changed = [values if place == index else shared for place in range(len(stored.columns))]
    return tuple({**column, **own} for column, own in zip(stored.columns, changed, strict=True))


def switch(stored: Comparison, index: int, versions: Mapping[str, ModelVersion], name: str) -> tuple[Column, ...]:
    """Return the columns with another version in one of them, whose settings are adapted to it."""
    old = stored.columns[index]
    return change(stored, index, **switched(_controls(old), versions[old["version"]], versions[name]))


def copied(columns: Sequence[Column], index: int) -> tuple[Column, ...]:
    """Return the columns with one duplicated. Raise BadInput if there are MOST_COLUMNS columns already."""
    if len(columns) >= MOST_COLUMNS:
        raise BadInput(f"a comparison can have at most {MOST_COLUMNS} columns; remove one first")
    return (*columns[: index + 1], columns[index], *columns[index + 1 :])


def removed(columns: Sequence[Column], index: int) -> tuple[Column, ...]:
    """Return the columns without one. Raise BadInput if only FEWEST_COLUMNS columns are left."""
    if len(columns) <= FEWEST_COLUMNS:
        raise BadInput(f"a comparison needs at least {FEWEST_COLUMNS} columns; change one instead")
    return (*columns[:index], *columns[index + 1 :])


def settings_of(page: PageState, column: Column) -> SampleSettings:
    """Return a column's settings with the tab's crop. Raise BadInput if they are incompatible."""
    shared = {name: page.tab.controls[name] for name in OF_THE_PICTURE}
    return page.versions[column["version"]].settings({**_controls(column), **shared})


def require_accepted(page: PageState, column: Column, index: int) -> None:
    """Raise BadInput if a field of a column, or of the input, has a rejected value."""
    page.require_accepted(f"{KEY}{index}_{name}" for name in page.used(column))
    page.require_accepted(name for name in page.used(page.tab.controls) if name in OF_THE_PICTURE)


def wanted(page: PageState, columns: Sequence[Column]) -> list[Wanted]:
    """Return the settings and engine options of all columns on this machine. Raise BadInput if one is incompatible."""
    for index, column in enumerate(columns):
        require_accepted(page, column, index)
    return [
        (settings_of(page, column), replace(page.tab.options, **{name: column[name] for name in ENGINE}))
        for column in columns
    ]


def send(page: PageState, entry: Entry) -> None:
    """Put a video's settings into a column and its image into the input; the next video goes beside it.

    Columns that are unchanged since they ran are replaced: they can be opened again from the history.
    """
    stored = comparison(page)
    sent = facts(entry.settings, entry.job.options)
    if not stored.touched or stored.ran:
        columns, count = (sent, sent), 1
    elif stored.sent == 1:
        columns, count = (stored.columns[0], sent), 0
    else:
        columns, count = (*stored.columns[: MOST_COLUMNS - 1], sent), 0
    _replace(page, columns, ran=False, sent=count, folded=False)
    _take_input(page, entry.settings, entry.job)
    place = "both columns" if count == 1 else f"column {len(columns)}"
    text = f"Sent {entry.job.picture_name}, {entry.settings.version}, seed {entry.settings.seed} to {place}."
    page.note = Note("done", text, place=PAGE)


def opened(page: PageState, study: Study) -> None:
    """Open an earlier comparison: its columns, its input and its clips."""
    columns = [facts(cell.settings, cell.options) for cell in study.cells]
    page.keep(PAGE, study=study.id, folded=True)
    if all(column["version"] in page.versions for column in columns):
        _replace(page, columns, ran=True, sent=0)
    _take_input(page, study.cells[0].settings, study)


def _replace(page: PageState, columns: Sequence[Column], **values: Any) -> None:
    """Replace all columns."""
    page.drop_rejected(KEY)
    same = len({column["seed"] for column in columns}) == 1
    page.keep(PAGE, columns=columns, touched=True, same_seed=same, **values)


def _take_input(page: PageState, settings: SampleSettings, of: Job | Study) -> None:
    """Use the input of a job or a study, with its crop."""
    page.set(**{name: getattr(settings, name) for name in OF_THE_PICTURE})
    page.reuse_picture(of.picture, of.picture_name)


def visible(controls: Mapping[str, Any]) -> list[str]:
    """Return the settings of a column that are always visible, besides version and T."""
    return [*SHOWN, *(name for name in PARAMS[controls["guider"]] if name in GUIDANCE)]


def hidden(controls: Mapping[str, Any]) -> list[str]:
    """Return the other settings in display order."""
    elsewhere = {*visible(controls), *OF_THE_PICTURE, "version", "num_frames", "num_samples"}
    return [name for name in used_settings(controls) if name not in elsewhere]


def _controls(column: Column) -> dict[str, Any]:
    return {name: value for name, value in column.items() if name not in ENGINE}


def _usable(stored: Column, versions: Mapping[str, ModelVersion]) -> Column | None:
    """Return a stored column with defaults for its invalid values, or None if its version no longer exists."""
    known = {**tabs.mapping(stored.get("controls")), **stored}  # older files keep the settings apart
    version = versions.get(str(known.get("version")))
    if version is None:
        return None
    options = LoadOptions.of_stored(known)
    return {**tabs.usable(known, version), **{name: getattr(options, name) for name in ENGINE}, "num_samples": 1}
