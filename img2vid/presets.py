"""Values of the controls after a change of model version, a reset or the choice of a preset.

A preset is a named set of settings. configs/presets.yaml has those of img2vid, presets.yaml in the home the user's own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from img2vid import paths
from img2vid.documents import format_yaml, read_yaml
from img2vid.errors import BadInput, ConfigError, Img2VidError, shown
from img2vid.files import reason, whole_file
from img2vid.settings import GROUPS, SampleSettings
from img2vid.settings_validation import make_settings
from img2vid.versions import ModelVersion

OF_PICTURE = ("fitting", "crop_offset", "object_share", *GROUPS["orbit"])
KEPT = ("version", "seed", "num_samples", "saving_fps", "watermark", *OF_PICTURE)
"""Settings that a preset does not change."""
LONGEST_NAME = 40


def switched(controls: Mapping[str, Any], old: ModelVersion, new: ModelVersion) -> dict[str, Any]:
    """Return the controls for `new`, coming from `old`.

    If the versions' defaults for a control differ, it gets the new default, as in the reference demo: 25 frames suit
    svd_xt but harm svd. If they agree, the user's value stays, for example fitting, seed, or a small decode_t chosen
    because memory is short. A size that the new model cannot make becomes its training size.
    """
    before, after = old.settings({}).model_dump(), new.settings({}).model_dump()
    kept = {name: value for name, value in controls.items() if before[name] == after[name]}
    values = {**after, **kept, "version": new.name}
    if old.orbit != new.orbit:  # the camera path of one kind of model means nothing to the other
        values.update({name: after[name] for name in values if not new.uses(name)})
    if values["height"] % new.size_step or values["width"] % new.size_step:
        values.update(height=new.height, width=new.width)
    return values


def reset(controls: Mapping[str, Any], version: ModelVersion) -> dict[str, Any]:
    """Return the version's defaults for all controls except the seed, which keeps its value."""
    return {**version.settings({}).model_dump(), "seed": controls["seed"]}


class Preset(BaseModel):
    """Settings that differ from the model version's defaults; all others but `KEPT` get their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str = Field(default="", max_length=200)
    settings: dict[str, Any]
    own: bool = Field(default=False, exclude=True)
    """True for the user's own presets."""

    @field_validator("settings")
    @classmethod
    def _valid(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in values:
            if name not in SampleSettings.model_fields or name in KEPT:
                raise ValueError(f"{shown(repr(name))} is not a setting that a preset can have")
        try:
            make_settings(values)
        except BadInput as error:
            raise ValueError(str(error)) from error
        return values

    def applied(self, controls: Mapping[str, Any], version: ModelVersion) -> dict[str, Any]:
        """Return the controls with this preset. Raise BadInput if the version cannot make such a video."""
        kept = {name: controls[name] for name in KEPT}
        return version.settings({**self.settings, **kept}).model_dump()


def own_presets() -> Path:
    """Return the path of the file with the user's own presets."""
    return paths.home() / "presets.yaml"


def load_presets() -> tuple[dict[str, Preset], list[str]]:
    """Return the presets by name, and a sentence for each of the user's that cannot be used."""
    presets = {name: Preset(**row) for name, row in _rows(paths.CONFIGS / "presets.yaml").items()}
    problems: list[str] = []
    try:
        rows = _rows(own_presets())
    except Img2VidError as error:
        return presets, [str(error)]
    for name, row in rows.items():
        try:
            presets.setdefault(name, Preset(**row, own=True))
        except (ValidationError, TypeError) as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ") if isinstance(error, ValidationError) else ""
            problems.append(f"the preset {shown(repr(name))} in {own_presets()} is not valid: {said or 'no settings'}")
    return presets, problems


def find_preset(name: str) -> Preset:
    """Return the preset with this name. Raise BadInput with the known names if it is unknown."""
    presets, problems = load_presets()
    if name not in presets:
        known = "; ".join([f"there is no preset {shown(repr(name))}", *problems])
        raise BadInput(f"{known}; choose one of {', '.join(presets)}")
    return presets[name]


def save_preset(name: str, controls: Mapping[str, Any], version: ModelVersion) -> None:
    """Save controls as the user's preset, replacing an older one of that name. Raise BadInput for an unusable name."""
    name = " ".join(name.split())
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise BadInput(f"the name of a preset must have 1 to {LONGEST_NAME} characters, got {shown(repr(name))}")
    presets, _ = load_presets()
    if name in presets and not presets[name].own:
        raise BadInput(f"{name} is a preset of img2vid; choose another name")
    defaults = version.settings({}).model_dump()
    changed = {key: controls[key] for key in defaults if key not in KEPT and controls[key] != defaults[key]}
    _write({**_rows(own_presets()), name: Preset(settings=changed).model_dump(exclude_defaults=True)})


def delete_preset(name: str) -> None:
    """Delete one of the user's presets, if it exists."""
    _write({key: row for key, row in _rows(own_presets()).items() if key != name})


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    try:
        rows: Any = read_yaml(path, error=ConfigError) or {}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read {path} ({reason(error)})") from error
    if not isinstance(rows, dict):
        raise ConfigError(f"{path} must map the name of each preset to its settings")
    return {str(name): row for name, row in cast(dict[Any, Any], rows).items()}


def _write(rows: Mapping[str, Any]) -> None:
    try:
        with whole_file(own_presets()) as part:
            part.write_text(format_yaml(dict(rows)), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {own_presets()} ({reason(error)})") from error
