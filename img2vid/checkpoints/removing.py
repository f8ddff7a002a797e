"""Deletes checkpoints and the rows of one's own versions; says before what that would be."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from img2vid import paths
from img2vid.checkpoints.download import broken_of, exclusive, part_of, places
from img2vid.checkpoints.rows import is_local, remove_row
from img2vid.errors import BadInput
from img2vid.versions import ModelVersion, load_versions

SHIPPED = "comes with img2vid"
"""The source of the versions whose files are part of the project."""


@dataclass(frozen=True)
class Removal:
    """What goes with a version: files, and perhaps its row in versions.local.yaml."""

    version: ModelVersion
    files: tuple[Path, ...]
    row: bool
    others: tuple[str, ...]
    """Versions that use the same checkpoint."""

    def sentence(self) -> str:
        """What would be deleted."""
        parts = [f"{path} ({path.stat().st_size / 1e9:.2f} GB)" for path in self.files]
        if self.row:
            parts.append(f"the row of {self.version.name} in versions.local.yaml")
        shared = f"; {', '.join(self.others)} would lack its checkpoint too" if self.others and self.files else ""
        return f"deletes {' and '.join(parts)}{shared}"


def plan_removal(version: ModelVersion, *, shipped: bool = False) -> Removal:
    """Looks what there is to delete: files in the checkpoint folders alone, never those that lie elsewhere.

    shipped: also a file that comes with img2vid. Raises BadInput where there is nothing, or where it may not be.
    """
    if version.source == SHIPPED and not shipped:
        raise BadInput(f"{version.name} comes with img2vid and stays; --shipped removes it all the same")
    folders = [folder.resolve() for folder in paths.checkpoint_folders()]
    place = version.checkpoint_path
    candidates = [path for at in places(version) for path in (part_of(at), broken_of(at))]
    # Of a link the place counts, not what it leads to: that stays.
    if place is not None and any(folder in (place.parent.resolve() / place.name).parents for folder in folders):
        candidates.insert(0, place)
    files = tuple(path for path in candidates if path.is_file())
    row = is_local(version.name)
    if not files and not row:
        raise BadInput(f"there is nothing of {version.name} to remove")
    others = [
        other.name
        for other in load_versions().values()
        if place is not None and other.name != version.name and other.checkpoint_path == place
    ]
    return Removal(version, files, row, tuple(others))


def remove(removal: Removal) -> None:
    """Deletes what was planned. Raises BadInput where a file cannot be deleted, or is being downloaded."""
    with ExitStack() as stack:
        for place in places(removal.version):
            if part_of(place) in removal.files:
                stack.enter_context(exclusive(place))
        for path in removal.files:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise BadInput(
                    f"{path} cannot be deleted ({error.strerror}); if the model is loaded, untick Load Model or close "
                    "the program that uses it"
                ) from error
    if removal.row:
        remove_row(removal.version.name)
