"""Picture arguments: files, folders and wildcards become a list of files."""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from img2vid.errors import BadInput, shown
from img2vid.files import reason
from img2vid.media.picture_kinds import SUFFIXES

_SHOWN = 5


@dataclass
class Found:
    """Files of picture arguments."""

    pictures: list[Path] = field(default_factory=list[Path])
    skipped: list[Path] = field(default_factory=list[Path])
    """Files of folders and wildcards whose suffix is not a picture's."""
    refused: list[tuple[Path, BadInput]] = field(default_factory=list[tuple[Path, BadInput]])
    """Arguments that name no picture, and why."""

    def add(self, path: Path) -> None:
        """Add a file, a folder or a pattern."""
        refuse_address(path)
        try:
            exists = path.exists()
        except OSError as error:
            raise BadInput(f"cannot read '{shown(path)}' ({reason(error)}); check the name") from error
        if exists:
            self._add_existing(path)
        elif glob.has_magic(str(path)):
            self._add_matches(path)
        else:
            raise BadInput(f"no such file or folder: '{shown(path)}'; check the name")

    def describe_skipped(self) -> str:
        """Return a sentence that names the skipped files, or "" without any."""
        if not self.skipped:
            return ""
        names = ", ".join(shown(path.name) for path in self.skipped[:_SHOWN])
        more = f" and {len(self.skipped) - _SHOWN} more" if len(self.skipped) > _SHOWN else ""
        files = "1 file" if len(self.skipped) == 1 else f"{len(self.skipped)} files"
        return f"skipped {files} without a picture suffix: {names}{more}; to use such a file, pass its own path"

    def _add_existing(self, path: Path) -> None:
        if not path.is_dir():
            self.pictures.append(path)
            return
        try:
            inside = [file for file in path.iterdir() if file.is_file()]
        except OSError as error:
            raise BadInput(
                f"cannot read the folder '{shown(path)}' ({reason(error)}); check its permissions"
            ) from error
        if not self._add_pictures(inside):
            raise BadInput(f"the folder '{shown(path)}' has no images; supported are {', '.join(sorted(SUFFIXES))}")

    def _add_matches(self, pattern: Path) -> None:
        """Expand wildcards: Windows passes them as they are, other systems' shells expand them first."""
        matches = [Path(match) for match in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207  # absolute ones too
        if not self._add_pictures([path for path in matches if path.is_file()]):
            raise BadInput(f"no picture matches '{shown(pattern)}'; check the folder and the pattern")

    def _add_pictures(self, files: Sequence[Path]) -> bool:
        """Add files in order of their names. Return whether there are pictures."""
        # macOS puts a hidden file `._photo.jpg` next to each file on foreign drives.
        visible = [file for file in files if not file.name.startswith(".")]
        ordered = sorted(visible, key=lambda file: (str(file.parent), file.name.casefold(), file.name))
        pictures = [file for file in ordered if file.suffix.lower() in SUFFIXES]
        self.pictures += pictures
        self.skipped += [file for file in ordered if file.suffix.lower() not in SUFFIXES]
        return bool(pictures)


def refuse_address(path: Path) -> None:
    """Raise BadInput for a web address; it has two letters at least before the colon, a drive one."""
    if re.match(r"[a-z][a-z0-9+.-]+:[\\/]|(data|blob):", str(path), re.IGNORECASE):
        raise BadInput(f"'{shown(path)}' is a web address; download the picture and give the file")


def find_pictures(paths: Sequence[Path]) -> Found:
    """Return the files of arguments: files as given, the pictures directly inside folders, and wildcards' matches."""
    found = Found()
    for path in paths:
        try:
            found.add(path)
        except BadInput as error:
            found.refused.append((path, error))
    return found


def list_pictures(paths: Sequence[Path]) -> list[Path]:
    """Return the pictures of `find_pictures`. Raise BadInput for the first argument that names none."""
    found = find_pictures(paths)
    for _, error in found.refused:
        raise error
    return found.pictures
