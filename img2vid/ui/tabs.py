"""Tab contents on disk, which survive reloads and restarts.

Each tab has its own file in `home()/tabs`, named by the query parameter, so tabs do not overwrite each other. A new
tab starts as a copy of the last one.
"""

import json
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from img2vid import paths
from img2vid.documents import read_json
from img2vid.errors import BadInput
from img2vid.files import remove, whole_file
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings
from img2vid.settings_validation import make_settings
from img2vid.versions import ModelVersion

KEPT = 40
"""Number of tab files that are kept; older ones are deleted."""


@dataclass(frozen=True)
class Picture:
    """Input image: `file` is its name in the store's inputs, `name` the stem of the user's file name."""

    file: str
    name: str

    @property
    def path(self) -> Path:
        """Path of the stored file."""
        return paths.home() / "inputs" / self.file


@dataclass
class Tab:
    """All user settings of a tab. `controls` has a value for every field of SampleSettings."""

    controls: dict[str, Any]
    options: LoadOptions = field(default_factory=LoadOptions)
    save_locally: bool = True
    save_path: str = ""
    """Empty means the version's folder in the home."""
    picture: Picture | None = None
    more_pictures: tuple[Picture, ...] = ()
    """The other pictures of a batch; empty without `picture`."""
    shown: str = ""
    """Job whose result is shown; empty for the newest."""
    dismissed: tuple[str, ...] = ()
    """Unfinished jobs whose message the user dismissed."""
    pages: dict[str, Any] = field(default_factory=dict[str, Any])
    """State of the other pages as JSON, by page name; each page validates its own."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All input images; Sample makes videos of each."""
        return () if self.picture is None else (self.picture, *self.more_pictures)

    @property
    def folder(self) -> Path | None:
        """Output folder: the Save path, the program's own folder, or None for each version's folder in the home.

        Raise BadInput if the Save path is not allowed.
        """
        if not self.save_locally:
            return paths.home() / "kept"
        return paths.chosen_folder(self.save_path) if self.save_path else None


def new_name() -> str:
    """Return a new, unique tab name."""
    return secrets.token_hex(6)


def is_name(text: object) -> bool:
    """Return whether text from the URL is a valid tab name; it becomes a file name."""
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{12}", text) is not None


def fresh(versions: Mapping[str, ModelVersion], provider: str = "auto") -> Tab:
    """Return a tab with default settings."""
    return Tab(defaults_of(_first(versions)), LoadOptions(provider=cast(Any, provider)))


def defaults_of(version: ModelVersion) -> dict[str, Any]:
    """Return the version's default for every control."""
    return version.settings({}).model_dump()


def write(name: str, tab: Tab) -> None:
    """Write a tab atomically and delete old tab files. Raise OSError if the disk write fails."""
    folder = paths.home() / "tabs"
    with whole_file(folder / f"{name}.json") as part:
        values = asdict(tab)
        values["choice"] = values.pop("options")  # its name in the files of all versions
        part.write_text(json.dumps(values, indent=1), encoding="utf-8")
    for old in _newest_first(folder)[KEPT:]:
        with suppress(OSError):
            remove(old)


def read(name: str, versions: Mapping[str, ModelVersion]) -> Tab | None:
    """Return the tab with this name, or None. Invalid values in its file get their defaults."""
    return _read(paths.home() / "tabs" / f"{name}.json", versions)


def newest(versions: Mapping[str, ModelVersion]) -> Tab | None:
    """Return the most recently used tab without its shown result, or None."""
    for path in _newest_first(paths.home() / "tabs"):
        tab = _read(path, versions)
        if tab is not None:
            tab.shown = ""
            return tab
    return None


def _newest_first(folder: Path) -> list[Path]:
    times: list[tuple[float, Path]] = []
    for path in folder.glob("*.json"):
        with suppress(OSError):  # another process may have deleted it
            times.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(times, reverse=True)]


def _read(path: Path, versions: Mapping[str, ModelVersion]) -> Tab | None:
    try:
        kept: object = read_json(path)
    except (OSError, BadInput):
        return None
    if not isinstance(kept, dict):
        return None
    values = cast("dict[str, Any]", kept)
    controls = mapping(values.get("controls"))
    version = versions.get(str(controls.get("version"))) or _first(versions)
    pictures = _pictures([values.get("picture"), *_list(values.get("more_pictures"))])
    return Tab(
        controls=usable(controls, version),
        options=LoadOptions.of_stored(mapping(values.get("choice"))),
        save_locally=values.get("save_locally") is not False,
        save_path=_text(values.get("save_path")),
        picture=next(iter(pictures), None),
        more_pictures=tuple(pictures[1:]),
        shown=_text(values.get("shown")),
        dismissed=_texts(values.get("dismissed")),
        pages=mapping(values.get("pages")),
    )


def usable(kept: Mapping[str, Any], version: ModelVersion) -> dict[str, Any]:
    """Return the version's defaults, updated with every stored value that is valid by itself."""
    controls = defaults_of(version)
    for name in SampleSettings.model_fields:
        if name in kept and name != "version":
            with suppress(BadInput):
                controls[name] = getattr(make_settings({name: kept[name]}), name)
    return controls


def _pictures(kept: list[object]) -> list[Picture]:
    """Return the stored pictures whose files exist."""
    pairs = [(_text(one.get("file")), _text(one.get("name"))) for one in map(mapping, kept)]
    # File names are untrusted: they must not lead out of the inputs folder.
    valid = [(file, name) for file, name in pairs if re.fullmatch(r"[0-9a-f]{64}\.[a-z0-9]{1,8}", file)]
    return [picture for file, name in valid if (picture := Picture(file, name or "picture")).path.is_file()]


def mapping(value: object) -> dict[str, Any]:
    """Return a stored JSON object, or an empty one if the value is something else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _texts(value: object) -> tuple[str, ...]:
    return tuple(text for text in _list(value) if isinstance(text, str))


def _first(versions: Mapping[str, ModelVersion]) -> ModelVersion:
    usual = SampleSettings.model_fields["version"].default
    return versions.get(usual) or next(iter(versions.values()))
