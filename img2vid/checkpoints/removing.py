"""Removal of checkpoints and of the user's own version rows."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from img2vid import paths
from img2vid.checkpoints.download import broken_of, exclusive, folder_files, lock_of, part_of, places
from img2vid.checkpoints.rows import is_local, remove_row
from img2vid.errors import BadInput
from img2vid.files import clear_read_only, is_read_only, reason, remove_if_empty
from img2vid.files import remove as delete
from img2vid.versions import CheckpointRow, load_versions

SHIPPED = "comes with img2vid"
"""Source of the versions whose files are part of the project."""


@dataclass(frozen=True)
class Removal:
    """Files to delete with a version, and its row in versions.local.yaml if `row`."""

    version: CheckpointRow
    files: tuple[Path, ...]
    row: bool
    others: tuple[str, ...]
    """Other versions that use the same checkpoint."""

    def sentence(self) -> str:
        """Return a description of the removal."""
        parts = [
            f"{path} ({path.stat().st_size / 1e9:.2f} GB{', marked read-only' if is_read_only(path) else ''})"
            for path in self.files
        ]
        if self.row:
            parts.append(f"the entry {self.version.name} in versions.local.yaml")
        shared = f"; also used by {', '.join(self.others)}" if self.others and self.files else ""
        return f"deletes {' and '.join(parts)}{shared}"


def plan_removal(
    version: CheckpointRow, known: Iterable[CheckpointRow] | None = None, *, shipped: bool = False
) -> Removal:
    """Return what would be deleted: only files in the checkpoint folders, never files elsewhere.

    known: versions that may use the same files; None: those of videos. shipped: also allow a file that comes with
    img2vid. Raise BadInput if there is nothing to delete or it is not allowed.
    """
    if version.source == SHIPPED and not shipped:
        raise BadInput(f"{version.name} comes with img2vid; pass --shipped to remove it anyway")
    folders = [folder.resolve() for folder in paths.checkpoint_folders()]
    place = version.own_path
    every = [version, *folder_files(version).values()]
    candidates = [path for one in every for at in places(one) for path in (part_of(at), broken_of(at))]
    # For a symlink the location of the link counts, not its target, which is kept.
    if place is not None and any(folder in (place.parent.resolve() / place.name).parents for folder in folders):
        candidates = [*paths.weight_files(place), *candidates]
    files = tuple(path for path in candidates if path.is_file())
    row = is_local(version.name)
    if not files and not row:
        raise BadInput(f"{version.name} is not installed, so there is nothing to remove")
    others = [
        other.name
        for other in (load_versions().values() if known is None else known)
        if other.name != version.name and not {*files}.isdisjoint(other.files)
    ]
    return Removal(version, files, row, tuple(others))


def remove(removal: Removal) -> None:
    """Delete the planned files. Raise BadInput if a file cannot be deleted or is being downloaded."""
    with ExitStack() as stack:
        for one in (removal.version, *folder_files(removal.version).values()):
            for place in places(one):
                if part_of(place) in removal.files:
                    stack.enter_context(exclusive(place))
        for path in removal.files:
            try:
                clear_read_only(path)
                delete(path)
            except OSError as error:
                raise BadInput(
                    f"cannot delete {path} ({reason(error)}); if the model is loaded, untick Load Model or close "
                    "the program that uses it"
                ) from error
    for path in removal.files:
        if path.parent.name in paths.COMPONENTS:
            delete(lock_of(path.with_name(path.name.removesuffix(".part").removesuffix(".broken"))))
            remove_if_empty(path.parent)
            remove_if_empty(path.parent.parent)
    if removal.row:
        remove_row(removal.version.name)
