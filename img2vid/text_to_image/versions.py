"""Models that make pictures from prompts: rows of configs/image_versions.yaml, and the user's SDXL fine-tunes.

Every SDXL checkpoint in the checkpoint folders is a model, named after its file, without any registration.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from img2vid import paths
from img2vid.checkpoints.header import is_sdxl, read_header
from img2vid.errors import BadInput, CheckpointError, shown
from img2vid.settings import SampleSettings
from img2vid.text_to_image.settings import MULTIPLE, ImageSettings, make_image_settings
from img2vid.versions import CheckpointRow, ModelVersion, find_version, load_versions, read_rows

OWN_FILE = "your file"
"""Source of a fine-tune."""


class ImageVersion(CheckpointRow):
    """A model's files, trained size and default settings."""

    kind: ClassVar[Literal["video", "image"]] = "image"
    config: str
    """File in configs/, or an absolute path."""
    pixels: Annotated[int, Field(ge=64 * 64, le=2048 * 2048)]
    """Pixels of the pictures that it was trained on."""
    steps: Annotated[int, Field(ge=1, le=150)]
    guidance: Annotated[float, Field(ge=1, le=30)]
    sampler: Literal["euler", "euler_ancestral"] = "euler"
    spacing: Literal["leading", "trailing"] = "leading"
    """Steps at which the sampler visits the noise levels of the training; distilled models need `trailing`."""

    @property
    def config_path(self) -> Path:
        """Path of the model configuration."""
        return paths.CONFIGS / Path(self.config).expanduser()

    def size_for(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of a picture for a video of that size.

        They are the video's, or for a small video the first multiple of them with half of the pixels that the model was
        trained on, rounded up to multiples of 8.
        """
        factor = 1
        while factor * factor * width * height < self.pixels / 2 and (factor + 1) * max(width, height) <= 2048:
            factor += 1
        return _multiple(width * factor), _multiple(height * factor)

    def offer(self) -> str:
        """Return the size and the license of the download, as part of a sentence."""
        return ", ".join(filter(None, (f"{self.bytes / 1e9:.1f} GB" if self.bytes else "", f"license: {self.licence}")))


def _multiple(side: int) -> int:
    return math.ceil(side / MULTIPLE) * MULTIPLE


def load_image_versions() -> dict[str, ImageVersion]:
    """Return all models by name: rows in file order, then fine-tunes. Raise ConfigError for an invalid row."""
    local = paths.local_versions().with_name("image_versions.local.yaml")
    rows = read_rows(ImageVersion, paths.CONFIGS / "image_versions.yaml", local)
    known = {one.checkpoint for one in rows.values()}
    for folder in paths.checkpoint_folders():
        for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
            if path.name not in known and path.stem not in rows and _is_sdxl(path):
                rows[path.stem] = _fine_tune(path, rows)
    return rows


def find_image_version(name: str) -> ImageVersion:
    """Return the model with this name. Raise BadInput with the known names if it is unknown."""
    versions = load_image_versions()
    if name not in versions:
        raise BadInput(f"there is no image model {shown(repr(name))}; choose one of {', '.join(versions)}")
    return versions[name]


def image_settings_for(video: SampleSettings, values: Mapping[str, Any]) -> ImageSettings:
    """Return settings for the first frame of a video, by default the image model's and with the video's size.

    Raise BadInput for an unknown model or an invalid value.
    """
    version = find_image_version(values.get("model", ImageSettings.model_fields["model"].default))
    width, height = version.size_for(video.width, video.height)
    usual = {"steps": version.steps, "guidance": version.guidance, "width": width, "height": height}
    return make_image_settings({**usual, "watermark": video.watermark, **values})


def modified_at(name: str) -> float:
    """Return when the files of a model were last modified, in seconds since 1970; 0 if this computer has none."""
    version = load_image_versions().get(name)
    return max((file.stat().st_mtime for file in version.files), default=0.0) if version else 0.0


def load_all_versions() -> list[CheckpointRow]:
    """Return the models of videos, then those of pictures."""
    return [*load_versions().values(), *load_image_versions().values()]


def find_any(name: str) -> ModelVersion | ImageVersion:
    """Return the video or image model with this name. Raise BadInput if it is unknown."""
    images = load_image_versions()
    return images[name] if name in images and name not in load_versions() else find_version(name)


def _fine_tune(path: Path, rows: dict[str, ImageVersion]) -> ImageVersion:
    """Return the row of a fine-tune: that of SDXL-Turbo or SDXL-Lightning if its name says so, else that of SDXL.

    A file of the same name with the suffix .yaml is its configuration.
    """
    word = next((one for one in ("lightning", "turbo") if one in path.stem.lower()), "base")
    base = next((row for name, row in rows.items() if word in name.lower()), next(iter(rows.values())))
    own = path.with_suffix(".yaml")
    config = str(own) if own.is_file() else base.config
    facts: dict[str, Any] = {
        "config": config,
        "source": OWN_FILE,
        "licence": "as its author says",
        "bytes": None,
        "sha256": None,
    }
    note = f"with the settings of {base.name}; docs/text-to-video.md says how to change them"
    return base.model_copy(update={"name": path.stem, "checkpoint": path.name, "note": note, **facts})


def _is_sdxl(path: Path) -> bool:
    try:
        facts = path.stat()
    except OSError:
        return False
    return _read_is_sdxl(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=256)
def _read_is_sdxl(path: Path, size: int, modified: int) -> bool:
    """Return True for an SDXL checkpoint; cached by the file's size and modification time in nanoseconds."""
    try:
        return is_sdxl(read_header(path))
    except CheckpointError:  # still being copied, or no checkpoint at all
        return False
