"""State of the Compare page: its columns, their storage and their differences.

A column is a model version with its own settings. All columns share the tab's input and crop.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from img2vid.errors import BadInput
from img2vid.inference import EngineChoice
from img2vid.media.composites import Align
from img2vid.settings import APPROXIMATIONS, PARAMS, SampleSettings, label_of
from img2vid.ui import resources, tabs
from img2vid.ui.shared.measured import Axis
from img2vid.ui.state import Note, PageState
from img2vid.ui.tabs import Picture
from img2vid.version_defaults import switched
from img2vid.versions import ModelVersion

if TYPE_CHECKING:
    from img2vid.gallery.entries import Entry
    from img2vid.gallery.studies import Study

FEWEST, MOST = 2, 4
PAGE = "compare"
PAIRS = (("svd", "svd_xt"), ("svd_tiny", "svd_tiny_xt"))
"""Initial versions: the first pair whose checkpoints are installed."""
OF_THE_PICTURE = ("fitting", "crop_offset")
ENGINE = ("provider", "precision", "decoder_precision")
"""Engine options of a column; the rest of EngineChoice depends on the machine and is shared by all columns."""
ENGINE_LABELS = {"provider": "engine", "precision": "precision", "decoder_precision": "decoder precision"}
CHOICES = ("sampler", "discretization", "guider")
"""Settings that have their own parameters."""
SHOWN = ("seed", "num_steps", "fps", "motion_bucket_id", "cond_aug")
"""Most important settings, always visible together with the version, T and guidance."""
GUIDANCE = ("max_scale", "scale")
_ORDER = (*SampleSettings.model_fields, *ENGINE)


@dataclass(frozen=True)
class Column:
    """Version with its settings; `controls` has a value for every field of SampleSettings."""

    controls: dict[str, Any]
    provider: str = "auto"
    precision: str = "auto"
    decoder_precision: str = "auto"

    @property
    def version(self) -> str:
        """Name of the model version."""
        return self.controls["version"]

    def with_controls(self, **values: Any) -> "Column":
        """Return a copy with some settings changed."""
        return replace(self, controls={**self.controls, **values})


@dataclass(frozen=True)
class Comparison:
    """Stored state of the Compare page."""

    columns: tuple[Column, ...]
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
    kept = page.tab.pages.get(PAGE)
    values = cast("dict[str, Any]", kept) if isinstance(kept, dict) else {}
    columns = _columns(values.get("columns"), page.versions) if values.get("touched") is True else ()
    touched = FEWEST <= len(columns) <= MOST
    return Comparison(
        columns if touched else first_columns(page),
        touched=touched,
        ran=touched and values.get("ran") is True,
        sent=1 if touched and values.get("sent") == 1 else 0,
        same_seed=values.get("same_seed") is not False,
        study=values["study"] if isinstance(values.get("study"), str) else "",
        folded=values.get("folded") is True,
        align="stretch" if values.get("align") == "stretch" else "time",
        axis="frames" if values.get("axis") == "frames" else "seconds",
    )


def keep(page: PageState, value: Comparison) -> None:
    """Save the comparison with the tab."""
    page.tab.pages[PAGE] = asdict(value)
    page.save()


def set_columns(page: PageState, stored: Comparison, columns: Sequence[Column]) -> None:
    """Save other columns; the shown clips stay until Run is pressed.

    Setting the same columns again has no effect, because Streamlit may report a change twice.
    """
    if not stored.touched or tuple(columns) != stored.columns:
        keep(page, replace(stored, columns=tuple(columns), touched=True, ran=False, sent=0))


def first_columns(page: PageState) -> tuple[Column, ...]:
    """Return the Sample page's settings with the pair of versions that has the most checkpoints installed."""
    base, old, versions = page.tab.controls, page.version, page.versions
    remote = resources.open_service().is_remote()  # remote workers have their own checkpoints
    known = [pair for pair in PAIRS if all(name in versions for name in pair)] or [(old.name, old.name)]

    def installed(pair: tuple[str, str]) -> int:
        return sum(remote or versions[name].checkpoint_path is not None for name in pair)

    pair = max(known, key=installed)
    return tuple(_column(switched(base, old, versions[name]), page.tab.choice) for name in pair)


def change(stored: Comparison, index: int, **values: Any) -> tuple[Column, ...]:
    """Return the columns with settings of one changed; a seed changes in all columns if `same_seed` is set."""
    columns = list(stored.columns)
    columns[index] = columns[index].with_controls(**values)
    if stored.same_seed and "seed" in values:
        columns = [column.with_controls(seed=values["seed"]) for column in columns]
    return tuple(columns)


def switch(stored: Comparison, index: int, versions: Mapping[str, ModelVersion], name: str) -> tuple[Column, ...]:
    """Return the columns with another version in one of them, whose settings are adapted to it."""
    old = stored.columns[index]
    return change(stored, index, **switched(old.controls, versions[old.version], versions[name]))


def copied(columns: Sequence[Column], index: int) -> tuple[Column, ...]:
    """Return the columns with one duplicated. Raise BadInput if there are MOST columns already."""
    if len(columns) >= MOST:
        raise BadInput(f"a comparison can have at most {MOST} columns; remove one first")
    return (*columns[: index + 1], columns[index], *columns[index + 1 :])


def removed(columns: Sequence[Column], index: int) -> tuple[Column, ...]:
    """Return the columns without one. Raise BadInput if only FEWEST columns are left."""
    if len(columns) <= FEWEST:
        raise BadInput(f"a comparison needs at least {FEWEST} columns; change one instead")
    return (*columns[:index], *columns[index + 1 :])


def settings_of(page: PageState, column: Column) -> SampleSettings:
    """Return a column's settings with the tab's crop. Raise BadInput if they are incompatible."""
    shared = {name: page.tab.controls[name] for name in OF_THE_PICTURE}
    return page.versions[column.version].settings({**column.controls, **shared, "num_samples": 1})


def choice_of(page: PageState, column: Column) -> EngineChoice:
    """Return a column's engine choice on this machine."""
    return replace(page.tab.choice, **{name: getattr(column, name) for name in ENGINE})


def send(page: PageState, entry: "Entry") -> None:
    """Put a video's settings into a column and its image into the input; the next video goes beside it.

    Columns that are unchanged since they ran are replaced: they can be opened again from the history.
    """
    stored = comparison(page)
    sent = _column(entry.settings.model_dump(), entry.job.choice)
    if not stored.touched or stored.ran:
        columns, count = (sent, sent), 1
    elif stored.sent == 1:
        columns, count = (stored.columns[0], sent), 0
    else:
        columns, count = (*stored.columns[: MOST - 1], sent), 0
    same = len({column.controls["seed"] for column in columns}) == 1
    keep(page, replace(stored, columns=columns, touched=True, ran=False, sent=count, same_seed=same, folded=False))
    page.set(**{name: getattr(entry.settings, name) for name in OF_THE_PICTURE})
    if entry.job.picture.is_file():
        page.set_picture(Picture(entry.job.picture.name, entry.job.picture_name))
    place = "both columns" if count == 1 else f"column {len(columns)}"
    text = f"Sent {entry.job.picture_name}, {entry.settings.version}, seed {entry.settings.seed} to {place}."
    page.note = Note("done", text, place=PAGE)


def opened(page: PageState, study: "Study") -> None:
    """Open an earlier comparison: its columns, its input and its clips."""
    stored = comparison(page)
    columns = tuple(_column(cell.settings.model_dump(), cell.choice) for cell in study.cells)
    same = len({column.controls["seed"] for column in columns}) == 1
    known = all(column.version in page.versions for column in columns) and FEWEST <= len(columns) <= MOST
    changed = {"columns": columns, "touched": True, "ran": True, "sent": 0, "same_seed": same} if known else {}
    keep(page, replace(stored, study=study.id, folded=True, **changed))
    page.set(**{name: getattr(study.cells[0].settings, name) for name in OF_THE_PICTURE})
    if study.picture.is_file():
        page.set_picture(Picture(study.picture.name, study.picture_name))


def visible(controls: Mapping[str, Any]) -> list[str]:
    """Return the settings of a column that are always visible, besides version and T."""
    return [*SHOWN, *(name for name in PARAMS[controls["guider"]] if name in GUIDANCE)]


def hidden(controls: Mapping[str, Any]) -> list[str]:
    """Return the other settings in display order."""
    shown = {*visible(controls), *OF_THE_PICTURE}
    grouped = [name for kind in CHOICES for name in (kind, *PARAMS[controls[kind]])]
    order = ["height", "width", *grouped, *APPROXIMATIONS, "decode_t", "saving_fps", "watermark"]
    return [name for name in order if name not in shown]


def facts(settings: SampleSettings, choice: EngineChoice) -> dict[str, Any]:
    """Return all settings and engine options by name, for finding differences."""
    return {**settings.model_dump(), **{name: getattr(choice, name) for name in ENGINE}}


def facts_of(column: Column) -> dict[str, Any]:
    """Return a column's facts; its settings may be incompatible."""
    return {**column.controls, **{name: getattr(column, name) for name in ENGINE}}


def differing(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of the facts that differ, ignoring those that neither run uses."""
    used = {*_in_use(first), *_in_use(other)}
    return [name for name in _ORDER if name in used and first[name] != other[name]]


def fact_text(name: str, value: object) -> str:
    """Return a setting and its value as text: "steps 30", "watermark off"; a version is its name only."""
    if name == "version":
        return str(value)
    if value is None:
        return f"{label_of(name)} as fps"
    if isinstance(value, bool):
        return f"{label_of(name)} {'on' if value else 'off'}"
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{ENGINE_LABELS.get(name) or label_of(name)} {number}"


def labels(runs: Sequence[Mapping[str, Any]], versions: Mapping[str, ModelVersion]) -> list[str]:
    """Return a unique short label for each run: its version, and differences other than the versions' defaults."""
    names = {name for other in runs[1:] for name in differing(runs[0], other)} - {"version"}
    unusual = [name for name in _ORDER if name in names and any(not _is_default(run, name, versions) for run in runs)]
    plain = [", ".join([run["version"], *(fact_text(name, run[name]) for name in unusual)]) for run in runs]
    return [
        label if plain.count(label) == 1 else f"{label} ({plain[:index].count(label) + 1})"
        for index, label in enumerate(plain)
    ]


def _in_use(run: Mapping[str, Any]) -> list[str]:
    """Return the facts that a run uses: no parameters of unselected choices, and not the number of videos."""
    parameters = {name for names in PARAMS.values() for name in names}
    chosen = {name for kind in CHOICES for name in PARAMS[run[kind]]}
    return [name for name in run if name != "num_samples" and (name not in parameters or name in chosen)]


def _is_default(run: Mapping[str, Any], name: str, versions: Mapping[str, ModelVersion]) -> bool:
    if name in ENGINE:
        return run[name] == getattr(EngineChoice(), name)
    version = versions.get(run["version"])
    return version is not None and tabs.defaults_of(version)[name] == run[name]


def _column(controls: Mapping[str, Any], choice: EngineChoice) -> Column:
    return Column({**controls, "num_samples": 1}, **{name: getattr(choice, name) for name in ENGINE})


def _columns(kept: object, versions: Mapping[str, ModelVersion]) -> tuple[Column, ...]:
    """Return the stored columns whose version still exists."""
    found: list[Column] = []
    for one in cast("list[object]", kept) if isinstance(kept, (list, tuple)) else ():
        values = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
        controls = values.get("controls")
        if isinstance(controls, dict):
            known = cast("dict[str, Any]", controls)
            if known.get("version") in versions:
                usable = tabs.usable(known, versions[known["version"]])
                found.append(_column(usable, _engine(values)))
    return tuple(found)


def _engine(values: Mapping[str, Any]) -> EngineChoice:
    choice = EngineChoice()
    for name in ENGINE:
        with suppress(BadInput):
            tried = replace(choice, **{name: str(values.get(name))})
            tried.check()
            choice = tried
    return choice
