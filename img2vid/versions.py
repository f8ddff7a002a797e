"""Model versions: rows of configs/versions.yaml and of the optional versions.local.yaml beside it."""

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from img2vid import paths
from img2vid.errors import BadInput, CheckpointError, ConfigError
from img2vid.settings import SampleSettings, label_of, limits_of, make_settings, trained_range, unit_of

OWN_FIELDS = ("height", "width", "num_frames")
"""Settings with one trained value per version."""

OUTSIDE = {
    "fps": "may look unnatural",
    "motion_bucket_id": "may distort the picture",
    "cond_aug": "may lose the picture",
    "sigma_max": "may leave traces of noise",
}
"""Effects of values outside the trained range, as ends of warnings."""


class ModelVersion(BaseModel):
    """A model's output size, files and default settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    """Letters, digits, `_`, `-` and `.`, because it becomes part of file names."""
    num_frames: Annotated[int, Field(ge=1, le=128)]
    height: Annotated[int, Field(ge=64, le=2048)]
    width: Annotated[int, Field(ge=64, le=2048)]
    downsampling: Annotated[int, Field(ge=1)]
    """Pixels along one side of a latent."""
    size_step: Annotated[int, Field(ge=1)]
    """Height and width must be multiples of this."""
    config: str
    """File in configs/, or an absolute path."""
    checkpoint: str
    """File name in the checkpoint folders, or an absolute path."""
    defaults: dict[str, Any] = {}
    licence: str
    source: str
    bytes: Annotated[int, Field(gt=0)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    note: str = ""

    @field_validator("defaults")
    @classmethod
    def _known(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name not in SampleSettings.model_fields or name in ("version", *OWN_FIELDS):
                raise ValueError(f"{name!r} is not a setting that can have a default")
        make_settings(value)
        return value

    @model_validator(mode="after")
    def _sizes(self) -> "ModelVersion":
        for side in (self.height, self.width):
            if side % self.size_step:
                raise ValueError(
                    f"the size {self.width} x {self.height} is not a multiple of size_step {self.size_step}"
                )
        return self

    @property
    def config_path(self) -> Path:
        """Path of the model configuration."""
        return paths.CONFIGS / Path(self.config).expanduser()

    @property
    def checkpoint_path(self) -> Path | None:
        """Path of the checkpoint, or None if it is missing."""
        path = Path(self.checkpoint).expanduser()
        if path.is_absolute():
            return path if path.is_file() else None
        return paths.find_checkpoint(self.checkpoint)

    def require_checkpoint(self) -> Path:
        """Return the checkpoint. Raise CheckpointError with the file's name, place, size and source if missing."""
        path = self.checkpoint_path
        if path is not None:
            return path
        file = Path(self.checkpoint).expanduser()
        folder = file.parent if file.is_absolute() else paths.checkpoint_folders()[0]
        size = f" ({self.bytes / 1e9:.2f} GB)" if self.bytes else ""
        name = file.name if file.is_absolute() else self.checkpoint
        command = f"`img2vid models download {self.name}`"
        download = f"download it with {command} or on the Models page, or " if self.is_on_hub else ""
        raise CheckpointError(
            f"the checkpoint of {self.name} is missing; {download}place {name}{size} in {folder} "
            f"(source: {self.source})"
        )

    @property
    def is_on_hub(self) -> bool:
        """True if the source is a repository on Hugging Face."""
        return self.source.startswith(("huggingface.co/", "https://huggingface.co/"))

    def settings(self, overrides: Mapping[str, Any]) -> SampleSettings:
        """Return this version's settings with some values replaced. Raise BadInput for invalid values."""
        base = {
            "version": self.name,
            "height": self.height,
            "width": self.width,
            "num_frames": self.num_frames,
            **self.defaults,
        }
        settings = make_settings({**base, **overrides})
        self.check_size(settings)
        return settings

    def check_size(self, settings: SampleSettings) -> None:
        """Raise BadInput with the nearest valid size if this model cannot make the size of the settings."""
        for name in ("height", "width"):
            side: int = getattr(settings, name)
            if side % self.size_step:
                limits = limits_of(name)
                lowest, highest = math.ceil(limits["ge"] / self.size_step), int(limits["le"]) // self.size_step
                near = min(max(round(side / self.size_step), lowest), highest) * self.size_step
                raise BadInput(f"{name} must be a multiple of {self.size_step} for {self.name}, got {side}; try {near}")

    def help_text(self, name: str) -> str:
        """Return a setting's description with its trained or default value for this model."""
        value = getattr(self.settings({}), name)
        text = SampleSettings.model_fields[name].description or ""
        if name in OWN_FIELDS:
            return f"{text} {self.name} was trained at {value} {unit_of(name)}."
        if self._tuned(name):
            return f"{text} {self.name} was tuned at {_words(value)}."
        return text if value is None or name == "version" else f"{text} Default: {_words(value)}."

    def warnings(self, settings: SampleSettings) -> list[str]:
        """Return a sentence for each setting outside this model's training. Such runs are allowed."""
        found: list[str] = []
        if (settings.width, settings.height) != (self.width, self.height):
            found.append(
                f"{self.name} was trained at {self.width} x {self.height}; at {settings.width} x {settings.height} "
                "it may move less, repeat itself or blur."
            )
        if settings.num_frames != self.num_frames:
            found.append(
                f"{self.name} was trained on {self.num_frames} frames; {settings.num_frames} frames may lose coherence."
            )
        found.extend(self._range_warnings(settings))
        if settings.discretization == "LegacyDDPMDiscretization":
            found.append(
                "LegacyDDPMDiscretization starts at a noise level of about 15 and may leave traces of noise, "
                "because the models were trained to start far higher."
            )
        return found

    def _range_warnings(self, settings: SampleSettings) -> list[str]:
        found: list[str] = []
        used = settings.params_of(settings.discretization)
        for name, outcome in OUTSIDE.items():
            value: float = getattr(settings, name)
            low, high = trained_range(name) or (-math.inf, math.inf)
            if name == "sigma_max" and name not in used:
                continue
            if self._tuned(name) and value != self.defaults[name]:
                found.append(
                    f"{self.name} was tuned at {label_of(name)} {self.defaults[name]} only; {value:g} {outcome}."
                )
            elif not low <= value <= high:
                trained = f"up to {high:g}" if low == 0 else f"at {low:g} to {high:g}"
                subject = f"Trained {trained} fps" if name == "fps" else f"{label_of(name)} was trained {trained}"
                found.append(f"{subject}; {value:g} {outcome}.")
        return found

    def _tuned(self, name: str) -> bool:
        """Return True if the row has its own default for a setting with a trained range."""
        return name in self.defaults and trained_range(name) is not None


def _words(value: object) -> str:
    """Format a default for a help text: on or off for a switch, numbers without trailing zeros."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def load_versions() -> dict[str, ModelVersion]:
    """Return all versions by name, in file order. Raise ConfigError for an invalid row."""
    rows: dict[str, ModelVersion] = {}
    for path in (paths.CONFIGS / "versions.yaml", paths.CONFIGS / "versions.local.yaml"):
        if path.is_file():
            rows.update(_read(path))
    return rows


def find_version(name: str) -> ModelVersion:
    """Return the version with this name. Raise BadInput with the known names if it is unknown."""
    versions = load_versions()
    if name not in versions:
        raise BadInput(f"there is no model version {name!r}; choose one of {', '.join(versions)}")
    return versions[name]


def _read(path: Path) -> dict[str, ModelVersion]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    return _rows(path, text)


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}")


@lru_cache(maxsize=4)
def _rows(path: Path, text: str) -> dict[str, ModelVersion]:
    """Parse the rows of a file; cached by its text, as a page reads it several times per run. Do not modify."""
    try:
        tree: Any = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise _unreadable(path, error) from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must map the name of each version to its fields")
    return {name: _row(path, name, row) for name, row in cast(dict[str, Any], tree).items()}


def _row(path: Path, name: str, row: Any) -> ModelVersion:
    if not isinstance(row, dict):
        raise ConfigError(f"{path}, {name}: the fields of a version belong here, found {row!r}")
    if "name" in row:
        raise ConfigError(f"{path}, {name}: a version is named by the line above its fields; leave `name` out")
    try:
        return ModelVersion.model_validate({"name": name, **cast(dict[str, Any], row)})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (name, *first["loc"]))
        raise ConfigError(f"{path}, {place}: {first['msg'].removeprefix('Value error, ')}") from error
    except BadInput as error:
        raise ConfigError(f"{path}, {name}.defaults: {error}") from error
