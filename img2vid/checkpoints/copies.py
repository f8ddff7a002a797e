"""Versions whose checkpoint is a copy of another one in a shorter number format."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from img2vid.checkpoints.download import require_room
from img2vid.checkpoints.rows import require_free
from img2vid.errors import BadInput, Img2VidError
from img2vid.files import whole_file
from img2vid.versions import ModelVersion

Written = TypeVar("Written")


def plan_copy(
    version: ModelVersion, precision: str, name: str | None, size: Callable[[Path, str], int]
) -> ModelVersion:
    """The row of a copy, without its size and checksum; `size` tells how large the copy of a file will be.

    Raises BadInput for a name in use, a disk that is full, or a checkpoint that can have no copy.
    """
    source = version.require_checkpoint()
    if source.suffix != ".safetensors":
        raise BadInput(f"{source} is not a .safetensors file, and only those can be converted")
    name = name or f"{version.name}_{precision}"
    require_free(name)
    file = Path(version.checkpoint).with_name(f"{name}.safetensors")
    copy = version.model_copy(
        update={
            "name": name,
            "checkpoint": str(file),
            "bytes": None,
            "sha256": None,
            "source": f"converted from {version.name}",
            "note": f"{version.name} in {precision}",
        }
    )
    # Beside the file that it is made of, which may lie in any of the folders.
    target = source.with_name(file.name)
    if target.exists():
        raise BadInput(f"{target} is there already; remove it first, or choose another name with --name")
    require_room(target.parent, size(source, precision), name)
    return copy


def copy_path(version: ModelVersion, copy: ModelVersion) -> Path:
    """Where a copy belongs: beside the file that it is made of."""
    return version.require_checkpoint().with_name(Path(copy.checkpoint).name)


def write_copy(target: Path, write: Callable[[BinaryIO], Written]) -> Written:
    """Has a copy written, whole or not at all. Raises Img2VidError where the disk does not take it."""
    try:
        with whole_file(target) as part, part.open("wb") as file:
            return write(file)
    except OSError as error:
        raise Img2VidError(f"{target} cannot be written ({error.strerror}); is the disk full?") from error
