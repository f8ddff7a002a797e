"""What an open tab holds, kept on disk, so that neither a reload nor a restart of the program loses it.

Each tab has a file of its own in `home()/tabs`, found again by the name in the page's address: a second tab never
writes into the first one's. A tab that is new begins as the last one was left.
"""

import json
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

from img2vid import paths
from img2vid.errors import BadInput
from img2vid.files import whole_file
from img2vid.inference import EngineChoice
from img2vid.settings import SampleSettings, make_settings
from img2vid.versions import ModelVersion

KEPT = 40
"""Files of tabs that are kept, the newest; the others are of tabs that were closed long ago."""


@dataclass(frozen=True)
class Picture:
    """An input: `file` lies in the store's inputs, `name` is the stem of what the user gave."""

    file: str
    name: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return paths.home() / "inputs" / self.file


@dataclass
class Tab:
    """All that a user can set on the page. `controls` holds a value for every field of SampleSettings."""

    controls: dict[str, Any]
    choice: EngineChoice = field(default_factory=EngineChoice)
    save_locally: bool = True
    save_path: str = ""
    """Empty stands for the folder of the version in the home."""
    picture: Picture | None = None
    shown: str = ""
    """The job whose result was asked for; empty for the newest."""
    dismissed: tuple[str, ...] = ()
    """Jobs that did not finish and that the user does not want to be told of any more."""
    pages: dict[str, Any] = field(default_factory=dict[str, Any])
    """What each further page keeps of its own, by page, as JSON; what is in it, only that page knows."""

    @property
    def folder(self) -> Path | None:
        """Where videos go: the Save path, the program's own folder, or None for each version's folder in the home."""
        if not self.save_locally:
            return paths.home() / "kept"
        return Path(self.save_path).expanduser().absolute() if self.save_path else None


def new_name() -> str:
    """A name for a tab that no other has."""
    return secrets.token_hex(6)


def is_name(text: object) -> bool:
    """Whether a text from the address can be the name of a tab; it becomes a file's name."""
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{12}", text) is not None


def fresh(versions: Mapping[str, ModelVersion], provider: str = "auto") -> Tab:
    """A tab in which nothing was touched."""
    return Tab(defaults_of(_first(versions)), EngineChoice(provider=provider))


def defaults_of(version: ModelVersion) -> dict[str, Any]:
    """A value for every control, as the version has them."""
    return version.settings({}).model_dump()


def write(name: str, tab: Tab) -> None:
    """Keeps a tab, whole or not at all; raises OSError where the disk does not take it."""
    folder = paths.home() / "tabs"
    with whole_file(folder / f"{name}.json") as part:
        part.write_text(json.dumps(asdict(tab), indent=1), encoding="utf-8")
    for old in _newest_first(folder)[KEPT:]:
        with suppress(OSError):
            old.unlink()


def read(name: str, versions: Mapping[str, ModelVersion]) -> Tab | None:
    """The tab of that name, or None where there is none; what cannot be used in its file is left at its default."""
    return _read(paths.home() / "tabs" / f"{name}.json", versions)


def newest(versions: Mapping[str, ModelVersion]) -> Tab | None:
    """The tab that was used last, without what it was looking at, or None where there is none."""
    for path in _newest_first(paths.home() / "tabs"):
        tab = _read(path, versions)
        if tab is not None:
            tab.shown = ""
            return tab
    return None


def _newest_first(folder: Path) -> list[Path]:
    times: list[tuple[float, Path]] = []
    for path in folder.glob("*.json"):
        with suppress(OSError):  # another process may just have removed it
            times.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(times, reverse=True)]


def _read(path: Path, versions: Mapping[str, ModelVersion]) -> Tab | None:
    try:
        kept: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict):
        return None
    values = cast("dict[str, Any]", kept)
    controls = _mapping(values.get("controls"))
    version = versions.get(str(controls.get("version"))) or _first(versions)
    picture = _mapping(values.get("picture"))
    return Tab(
        controls=usable(controls, version),
        choice=_choice(_mapping(values.get("choice"))),
        save_locally=values.get("save_locally") is not False,
        save_path=_text(values.get("save_path")),
        picture=_picture(picture),
        shown=_text(values.get("shown")),
        dismissed=_texts(values.get("dismissed")),
        pages=_mapping(values.get("pages")),
    )


def usable(kept: Mapping[str, Any], version: ModelVersion) -> dict[str, Any]:
    """The version's defaults, with every kept value that a control can show by itself."""
    controls = defaults_of(version)
    for name in SampleSettings.model_fields:
        if name in kept and name != "version":
            with suppress(BadInput):
                controls[name] = getattr(make_settings({name: kept[name]}), name)
    return controls


def _choice(kept: dict[str, Any]) -> EngineChoice:
    known: dict[str, Any] = {}
    for one in fields(EngineChoice):
        value = kept.get(one.name)
        if type(value) is type(one.default):
            with suppress(BadInput):
                replace(EngineChoice(), **{one.name: cast(Any, value)}).check()
                known[one.name] = value
    return EngineChoice(**known)


def _picture(kept: dict[str, Any]) -> Picture | None:
    file, name = _text(kept.get("file")), _text(kept.get("name"))
    # The file's name comes from the disk: it must not lead out of the folder of inputs.
    if not re.fullmatch(r"[0-9a-f]{64}\.[a-z0-9]{1,8}", file):
        return None
    picture = Picture(file, name or "picture")
    return picture if picture.path.is_file() else None


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(text for text in cast("list[object]", value) if isinstance(text, str))


def _first(versions: Mapping[str, ModelVersion]) -> ModelVersion:
    usual = SampleSettings.model_fields["version"].default
    return versions.get(usual) or next(iter(versions.values()))
