"""Model versions: rows of configs/versions.yaml and of the optional versions.local.yaml beside it."""

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from img2vid import paths
from img2vid.documents import parse_yaml, read_limited
from img2vid.errors import BadInput, CheckpointError, ConfigError, shown
from img2vid.files import reason
from img2vid.orbit import Orbit, level
from img2vid.settings import ABOUT, GROUPS, SampleSettings, label_of, used_settings, value_text
from img2vid.settings_validation import make_settings

OWN_FIELDS = ("height", "width", "num_frames")
"""Settings with one trained value per version."""


class FileFacts(BaseModel):
    """Size and checksum of a file, None if unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: Annotated[int, Field(gt=0)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class CheckpointRow(BaseModel):
    """A model with its files: the fields and paths that videos' and pictures' models share."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    kind: ClassVar[Literal["video", "image"]] = "video"
    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    """Letters, digits, `_`, `-` and `.`, because it becomes part of file names."""
    checkpoint: str
    """Name in the checkpoint folders, or an absolute path; a file, or a folder in diffusers' layout."""
    unet: str | None = None
    """Likewise for a diffusers file of the UNet to use instead; `bytes` and `sha256` then describe it."""
    licence: str
    source: str
    bytes: Annotated[int, Field(gt=0)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    note: str = ""
    diffusers: dict[str, FileFacts] = {}
    """Files with the weights of this model in diffusers' layout, as published or added."""

    @property
    def checkpoint_path(self) -> Path | None:
        """Path of the checkpoint, a file or a diffusers folder. None if it or the file of `unet` is missing."""
        return None if self.unet is not None and self.unet_path is None else _find(self.checkpoint)

    @property
    def unet_path(self) -> Path | None:
        """Path of the file of `unet`, or None if it is missing or not given."""
        return None if self.unet is None else _find(self.unet)

    @property
    def own_file(self) -> str:
        """Name of the file or folder that belongs to this version alone: `unet` if given, else the checkpoint."""
        return self.checkpoint if self.unet is None else self.unet

    @property
    def own_path(self) -> Path | None:
        """Path of `own_file`, or None if it is missing."""
        return _find(self.own_file)

    @property
    def files(self) -> list[Path]:
        """Files with the model's weights, none if one is missing."""
        path, unet = self.checkpoint_path, self.unet_path
        return [] if path is None else [*paths.weight_files(path), *([] if unet is None else [unet])]

    @property
    def size_on_disk(self) -> int:
        """Bytes of `files`."""
        return sum(file.stat().st_size for file in self.files)

    def require_checkpoint(self) -> Path:
        """Return the checkpoint. Raise CheckpointError with the file's name, place, size and source if missing."""
        path = self.checkpoint_path
        if path is not None:
            return path
        if self.own_path is not None:
            base = next((one.name for one in load_versions().values() if one.own_file == self.checkpoint), None)
            get = (
                f"get it with `img2vid models download {base}`"
                if base
                else f"place it in {paths.checkpoint_folders()[0]}"
            )
            raise CheckpointError(f"{self.name} replaces the UNet of {self.checkpoint}, which is missing; {get}")
        file = Path(self.own_file).expanduser()
        folder = file.parent if file.is_absolute() else paths.checkpoint_folders()[0]
        size = f" ({self.bytes / 1e9:.2f} GB)" if self.bytes else ""
        name = file.name if file.is_absolute() else self.own_file
        command = f"`img2vid models download {self.name}`"
        download = f"download it with {command} or on the Models page, or " if self.is_on_hub else ""
        raise CheckpointError(
            f"the checkpoint of {self.name} is missing; {download}place {name}{size} in {folder} "
            f"(source: {shown(self.source)})"
        )

    @property
    def is_on_hub(self) -> bool:
        """True if the source is a repository on Hugging Face."""
        return self.source.startswith(("huggingface.co/", "https://huggingface.co/"))


class ModelVersion(CheckpointRow):
    """A model's output size, files and default settings."""

    num_frames: Annotated[int, Field(ge=1, le=128)]
    height: Annotated[int, Field(ge=64, le=2048)]
    width: Annotated[int, Field(ge=64, le=2048)]
    downsampling: Annotated[int, Field(ge=1)]
    """Pixels along one side of a latent."""
    size_step: Annotated[int, Field(ge=1)]
    """Height and width must be multiples of this."""
    config: str
    """File in configs/, or an absolute path."""
    orbit: Literal["level", "posed"] | None = None
    """Kind of camera path around an object: at the input's height, or at given angles; None for videos of a scene."""
    defaults: dict[str, Any] = {}
    tuned: tuple[str, ...] = ()
    """Settings that the model was trained at with their default only."""

    @field_validator("defaults")
    @classmethod
    def _known(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name not in SampleSettings.model_fields or name in ("version", *OWN_FIELDS):
                raise ValueError(f"{shown(repr(name))} is not a setting that can have a default")
        make_settings(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "ModelVersion":
        for side in (self.height, self.width):
            if side % self.size_step:
                raise ValueError(
                    f"the size {self.width} x {self.height} is not a multiple of size_step {self.size_step}"
                )
        if unknown := [name for name in self.tuned if name not in self.defaults]:
            raise ValueError(f"{shown(repr(unknown[0]))} of `tuned` has no value in `defaults`")
        return self

    @property
    def config_path(self) -> Path:
        """Path of the model configuration."""
        return paths.CONFIGS / Path(self.config).expanduser()

    def uses(self, name: str) -> bool:
        """Return True if a setting affects this model's videos or the camera poses saved with them."""
        if ABOUT[name].group == "orbit":
            return self.orbit == "posed" or (self.orbit == "level" and name == "elevation")
        return self.orbit is None or ABOUT[name].input_key not in ("fps_id", "motion_bucket_id")

    def camera_path(self, settings: SampleSettings) -> Orbit | None:
        """Return the camera path of a video, or None if the model makes videos of a scene."""
        if self.orbit == "level":
            return level(settings.num_frames, settings.elevation)
        return settings.orbit if self.orbit == "posed" else None

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
        """Raise BadInput with the nearest valid size if this model cannot make the size of the settings.

        Also raise it unless lists of angles have one for each view.
        """
        for name in ("elevations", "azimuths"):
            count = len(getattr(settings, name).split())
            if count not in (0, settings.num_frames):
                raise BadInput(f"{name} must have one number for each of {settings.num_frames} views, got {count}")
        for name in ("height", "width"):
            side: int = getattr(settings, name)
            if side % self.size_step:
                near = self.nearest(name, side)
                raise BadInput(f"{name} must be a multiple of {self.size_step} for {self.name}, got {side}; try {near}")

    def nearest(self, name: str, value: float) -> float:
        """Return the valid value of a number setting that is closest to another value."""
        step = self.size_step if name in ("height", "width") else 0
        lowest, highest = ABOUT[name].lowest, ABOUT[name].highest
        if not step:
            return min(max(value, lowest), highest)
        return min(max(round(value / step), math.ceil(lowest / step)), int(highest) // step) * step

    def help_text(self, name: str) -> str:
        """Return a setting's description with its trained or default value for this model."""
        value = getattr(self.settings({}), name)
        text = SampleSettings.model_fields[name].description or ""
        if name in OWN_FIELDS:
            return f"{text} {self.name} was trained at {value} {ABOUT[name].unit}."
        if name in self.tuned:
            return f"{text} {self.name} was tuned at {value_text(value)}."
        return text if value is None or name == "version" else f"{text} Default: {value_text(value)}."

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
        for name in GROUPS["orbit"]:
            if not self.uses(name) and getattr(settings, name) != SampleSettings.model_fields[name].default:
                found.append(f"{label_of(name)} has no effect with {self.name}; sv3d_p takes camera angles.")
        if settings.discretization == "LegacyDDPMDiscretization":
            found.append(
                "LegacyDDPMDiscretization starts at a noise level of about 15 and may leave traces of noise, "
                "because the models were trained to start far higher."
            )
        if settings.sampler == "ConsistencySampler" and self.defaults.get("sampler") != settings.sampler:
            found.append(
                "ConsistencySampler is for models distilled for few steps, such as AnimateLCM; "
                f"{self.name} is not, and the video may blur."
            )
        return found

    def _range_warnings(self, settings: SampleSettings) -> list[str]:
        found: list[str] = []
        for name in used_settings(settings.model_dump()):
            outcome = ABOUT[name].outside
            if not outcome or not self.uses(name):
                continue
            value: float = getattr(settings, name)
            low, high = ABOUT[name].trained or (-math.inf, math.inf)
            if name in self.tuned and value != self.defaults[name]:
                found.append(
                    f"{self.name} was tuned at {label_of(name)} {self.defaults[name]} only; {value:g} {outcome}."
                )
            elif not low <= value <= high:
                trained = f"up to {high:g}" if low == 0 else f"at {low:g} to {high:g}"
                subject = f"Trained {trained} fps" if name == "fps" else f"{label_of(name)} was trained {trained}"
                found.append(f"{subject}; {value:g} {outcome}.")
        return found


def _find(name: str) -> Path | None:
    """Return the path of a checkpoint, given by an absolute path or by its name in the checkpoint folders."""
    path = Path(name).expanduser()
    if path.is_absolute():
        return path if paths.weight_files(path) else None
    return paths.find_checkpoint(name)


R = TypeVar("R", bound=CheckpointRow)


def load_versions() -> dict[str, ModelVersion]:
    """Return all versions by name, in file order. Raise ConfigError for an invalid row."""
    return read_rows(ModelVersion, paths.CONFIGS / "versions.yaml", paths.local_versions())


def find_version(name: str) -> ModelVersion:
    """Return the version with this name. Raise BadInput with the known names if it is unknown."""
    versions = load_versions()
    if name not in versions:
        raise BadInput(f"there is no model version {shown(repr(name))}; choose one of {', '.join(versions)}")
    return versions[name]


def read_rows(kind: type[R], *files: Path) -> dict[str, R]:
    """Return the rows of those files that exist, by name; later ones replace earlier ones. Raise ConfigError."""
    rows: dict[str, R] = {}
    for path in files:
        if path.is_file():
            try:
                data = read_limited(path)
            except OSError as error:
                raise ConfigError(f"cannot read {path} ({reason(error)})") from error
            rows.update(cast("dict[str, R]", _rows(kind, path, data)))
    return rows


@lru_cache(maxsize=8)
def _rows(kind: type[CheckpointRow], path: Path, data: bytes) -> dict[str, CheckpointRow]:
    """Parse the rows of a file; cached by its contents, as a page reads it several times per run. Do not modify."""
    return {name: _row(kind, path, name, row) for name, row in parse_rows(data, path).items()}


def parse_rows(data: str | bytes, path: Path) -> dict[str, Any]:
    """Return the fields of each version in a file, not validated. Raise ConfigError if it is not such a file."""
    tree: Any = parse_yaml(data, path, error=ConfigError) or {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must map the name of each version to its fields")
    return cast(dict[str, Any], tree)


def _row(kind: type[CheckpointRow], path: Path, name: str, row: Any) -> CheckpointRow:
    if not isinstance(row, dict):
        found = shown(repr(row))
        raise ConfigError(f"{path}, {shown(name)}: the fields of a version belong here, found {found}")
    if "name" in row:
        raise ConfigError(f"{path}, {shown(name)}: a version is named by the line above its fields; leave `name` out")
    try:
        return kind.model_validate({"name": name, **cast(dict[str, Any], row)})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (name, *first["loc"]))
        raise ConfigError(f"{path}, {shown(place)}: {first['msg'].removeprefix('Value error, ')}") from error
    except BadInput as error:
        raise ConfigError(f"{path}, {shown(name)}.defaults: {error}") from error
