"""Versions whose checkpoint is a copy of another one in a smaller number format."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from img2vid.checkpoints.download import require_room
from img2vid.checkpoints.rows import require_free
from img2vid.errors import BadInput, Img2VidError
from img2vid.files import reason, whole_file
from img2vid.versions import ModelVersion

Written = TypeVar("Written")


def plan_copy(version: ModelVersion, precision: str, name: str | None, size: Callable[[], int]) -> ModelVersion:
    """Return the row of a copy, a single file, without its size and checksum. `size` returns the copy's bytes.

    Raise BadInput for a name in use, insufficient disk space, or a checkpoint that cannot be converted.
    """
    source = version.require_checkpoint()
    if source.suffix != ".safetensors" and not source.is_dir():
        raise BadInput(f"{source} is not a .safetensors file; only those can be converted")
    name = name or f"{version.name}_{precision}"
    require_free(name)
    file = Path(version.checkpoint).with_name(f"{name}.safetensors")
    copy = version.model_copy(
        update={
            "name": name,
            "checkpoint": str(file),
            "bytes": None,
            "sha256": None,
            "unet": None,
            "diffusers": {},
            "source": f"converted from {version.name}",
            "note": f"{version.name} in {precision}",
        }
    )
    # Stored next to the source, which can be in any of the folders.
    target = source.with_name(file.name)
    if target.exists():
        raise BadInput(f"{target} already exists; remove it or choose another name with --name")
    require_room(target.parent, size(), name)
    return copy


def copy_path(version: ModelVersion, copy: ModelVersion) -> Path:
    """Return the path of a copy, next to its source."""
    return version.require_checkpoint().with_name(Path(copy.checkpoint).name)


def write_copy(target: Path, write: Callable[[BinaryIO], Written]) -> Written:
    """Write a copy atomically. Raise Img2VidError if writing fails."""
    try:
        with whole_file(target) as part, part.open("wb") as file:
            return write(file)
    except OSError as error:
        raise Img2VidError(f"cannot write {target} ({reason(error)})") from error
