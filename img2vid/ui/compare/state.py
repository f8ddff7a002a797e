"""The columns of the Compare page: what each of them is, how they are kept, and in what they differ.

A column is a model version with its own settings. The picture, and which part of it is seen, is one for all: the tab's.
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
"""What the page begins with: the first pair whose checkpoints are there."""
OF_THE_PICTURE = ("fitting", "crop_offset")
ENGINE = ("provider", "precision", "decoder_precision")
"""How a column's model is run; all else of an EngineChoice is the machine's business and one for all columns."""
ENGINE_LABELS = {"provider": "engine", "precision": "precision", "decoder_precision": "decoder precision"}
CHOICES = ("sampler", "discretization", "guider")
"""Settings with parameters of their own."""
SHOWN = ("seed", "num_steps", "fps", "motion_bucket_id", "cond_aug")
"""Settings that matter most; with the version, T and the guidance they are always in sight."""
GUIDANCE = ("max_scale", "scale")
_ORDER = (*SampleSettings.model_fields, *ENGINE)


@dataclass(frozen=True)
class Column:
    """A version with its settings: `controls` has a value for every field of SampleSettings."""

    controls: dict[str, Any]
    provider: str = "auto"
    precision: str = "auto"
    decoder_precision: str = "auto"

    @property
    def version(self) -> str:
        """The name of its model version."""
        return self.controls["version"]

    def with_controls(self, **values: Any) -> "Column":
        """The same with some settings changed."""
        return replace(self, controls={**self.controls, **values})


@dataclass(frozen=True)
class Comparison:
    """All that the Compare page keeps."""

    columns: tuple[Column, ...]
    touched: bool = False
    """Whether anything was set; before that the columns follow the Sample page."""
    ran: bool = False
    """Whether the columns are still those that Run was pressed with."""
    sent: int = 0
    """How many of the columns the gallery has sent, as long as there is none of another kind."""
    same_seed: bool = True
    study: str = ""
    """What is looked at; empty before the first run."""
    folded: bool = False
    """Whether the settings are out of sight."""
    align: Align = "time"
    axis: Axis = "seconds"


def comparison(page: PageState) -> Comparison:
    """What the tab has kept, or what the page begins with; what cannot be used is left at its default."""
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


def keep(page: PageState, what: Comparison) -> None:
    """Keeps it with the tab."""
    page.tab.pages[PAGE] = asdict(what)
    page.save()


def set_columns(page: PageState, what: Comparison, columns: Sequence[Column]) -> None:
    """Keeps other columns; the clips that are looked at stay until Run is pressed.

    Streamlit may tell of a change twice: the same columns again change nothing.
    """
    if not what.touched or tuple(columns) != what.columns:
        keep(page, replace(what, columns=tuple(columns), touched=True, ran=False, sent=0))


def first_columns(page: PageState) -> tuple[Column, ...]:
    """The Sample page's settings with two versions: a pair that is here, or else as much of one as there is."""
    base, old, versions = page.tab.controls, page.version, page.versions
    elsewhere = resources.open_service().is_remote()  # on machines with checkpoints of their own
    known = [pair for pair in PAIRS if all(name in versions for name in pair)] or [(old.name, old.name)]

    def here(pair: tuple[str, str]) -> int:
        return sum(elsewhere or versions[name].checkpoint_path is not None for name in pair)

    pair = max(known, key=here)
    return tuple(_column(switched(base, old, versions[name]), page.tab.choice) for name in pair)


def change(what: Comparison, index: int, **values: Any) -> tuple[Column, ...]:
    """The columns with settings of one changed; a seed is one for all where that is wanted."""
    columns = list(what.columns)
    columns[index] = columns[index].with_controls(**values)
    if what.same_seed and "seed" in values:
        columns = [column.with_controls(seed=values["seed"]) for column in columns]
    return tuple(columns)


def switch(what: Comparison, index: int, versions: Mapping[str, ModelVersion], name: str) -> tuple[Column, ...]:
    """The columns with another version in one of them, which takes over what suits it."""
    old = what.columns[index]
    return change(what, index, **switched(old.controls, versions[old.version], versions[name]))


def copied(columns: Sequence[Column], index: int) -> tuple[Column, ...]:
    """The columns with a copy of one beside it; raises BadInput where there are as many as there can be."""
    if len(columns) >= MOST:
        raise BadInput(f"there can be {MOST} columns at most; remove one first")
    return (*columns[: index + 1], columns[index], *columns[index + 1 :])


def removed(columns: Sequence[Column], index: int) -> tuple[Column, ...]:
    """The columns without one; raises BadInput where only two are left."""
    if len(columns) <= FEWEST:
        raise BadInput(f"a comparison needs {FEWEST} columns at least; change one of them instead")
    return (*columns[:index], *columns[index + 1 :])


def settings_of(page: PageState, column: Column) -> SampleSettings:
    """A column's settings with the tab's view of the picture; raises BadInput where they do not fit together."""
    shared = {name: page.tab.controls[name] for name in OF_THE_PICTURE}
    return page.versions[column.version].settings({**column.controls, **shared, "num_samples": 1})


def choice_of(page: PageState, column: Column) -> EngineChoice:
    """How a column's model is run on this machine."""
    return replace(page.tab.choice, **{name: getattr(column, name) for name in ENGINE})


def send(page: PageState, entry: "Entry") -> None:
    """Puts a video's settings into a column and makes its picture the input; the next video goes beside it.

    Columns that nobody has changed since they were run make room, for they can be opened again.
    """
    what = comparison(page)
    sent = _column(entry.settings.model_dump(), entry.job.choice)
    if not what.touched or what.ran:
        columns, count = (sent, sent), 1
    elif what.sent == 1:
        columns, count = (what.columns[0], sent), 0
    else:
        columns, count = (*what.columns[: MOST - 1], sent), 0
    same = len({column.controls["seed"] for column in columns}) == 1
    keep(page, replace(what, columns=columns, touched=True, ran=False, sent=count, same_seed=same, folded=False))
    page.set(**{name: getattr(entry.settings, name) for name in OF_THE_PICTURE})
    if entry.job.picture.is_file():
        page.set_picture(Picture(entry.job.picture.name, entry.job.picture_name))
    place = "both columns" if count == 1 else f"column {len(columns)}"
    text = f"{entry.job.picture_name}, {entry.settings.version}, seed {entry.settings.seed} is in {place} of Compare."
    page.note = Note("done", text, place=PAGE)


def opened(page: PageState, study: "Study") -> None:
    """Shows an earlier comparison: its columns, its picture and its clips."""
    what = comparison(page)
    columns = tuple(_column(cell.settings.model_dump(), cell.choice) for cell in study.cells)
    same = len({column.controls["seed"] for column in columns}) == 1
    known = all(column.version in page.versions for column in columns) and FEWEST <= len(columns) <= MOST
    changed = {"columns": columns, "touched": True, "ran": True, "sent": 0, "same_seed": same} if known else {}
    keep(page, replace(what, study=study.id, folded=True, **changed))
    page.set(**{name: getattr(study.cells[0].settings, name) for name in OF_THE_PICTURE})
    if study.picture.is_file():
        page.set_picture(Picture(study.picture.name, study.picture_name))


def visible(controls: Mapping[str, Any]) -> list[str]:
    """The settings of a column that are always in sight, beside version and T."""
    return [*SHOWN, *(name for name in PARAMS[controls["guider"]] if name in GUIDANCE)]


def hidden(controls: Mapping[str, Any]) -> list[str]:
    """The other settings, in the order in which they are drawn."""
    shown = {*visible(controls), *OF_THE_PICTURE}
    grouped = [name for kind in CHOICES for name in (kind, *PARAMS[controls[kind]])]
    order = ["height", "width", *grouped, *APPROXIMATIONS, "decode_t", "saving_fps", "watermark"]
    return [name for name in order if name not in shown]


def facts(settings: SampleSettings, choice: EngineChoice) -> dict[str, Any]:
    """All that columns can differ in, by its name."""
    return {**settings.model_dump(), **{name: getattr(choice, name) for name in ENGINE}}


def facts_of(column: Column) -> dict[str, Any]:
    """The same of a column, whether or not its settings fit together."""
    return {**column.controls, **{name: getattr(column, name) for name in ENGINE}}


def differing(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of the facts in which two differ, of those that a run depends on."""
    used = {*_in_use(first), *_in_use(other)}
    return [name for name in _ORDER if name in used and first[name] != other[name]]


def fact_text(name: str, value: object) -> str:
    """A setting with its value, in words: "steps 30", "watermark off"; a version by its name alone."""
    if name == "version":
        return str(value)
    if value is None:
        return f"{label_of(name)} as fps"
    if isinstance(value, bool):
        return f"{label_of(name)} {'on' if value else 'off'}"
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{ENGINE_LABELS.get(name) or label_of(name)} {number}"


def labels(runs: Sequence[Mapping[str, Any]], versions: Mapping[str, ModelVersion]) -> list[str]:
    """A short name for each of several runs: the version, and in what they differ other than by versions' defaults.

    No two are alike.
    """
    names = {name for other in runs[1:] for name in differing(runs[0], other)} - {"version"}
    telling = [name for name in _ORDER if name in names and any(not _is_default(run, name, versions) for run in runs)]
    plain = [", ".join([run["version"], *(fact_text(name, run[name]) for name in telling)]) for run in runs]
    return [
        label if plain.count(label) == 1 else f"{label} ({plain[:index].count(label) + 1})"
        for index, label in enumerate(plain)
    ]


def _in_use(run: Mapping[str, Any]) -> list[str]:
    """What a run depends on: not the parameters of what was not chosen, nor the number of videos."""
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
    """The columns of a file, those whose version is still there."""
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
