"""The pictures that jobs start from, kept under the name of their contents: each once, and whole."""

import hashlib
import re
from pathlib import Path, PureWindowsPath

from img2vid.files import whole_file

LONGEST_NAME = 80
"""Letters of a picture's name that its videos keep; with the version and the seed, file names stay below 255 bytes."""


def keep_input(folder: Path, picture: bytes, suffix: str) -> Path:
    """Writes a picture to `folder`, whole or not at all, unless it lies there already; returns its place."""
    ending = re.sub(r"[^a-z0-9]", "", suffix.lower())[:8] or "bin"
    path = folder / f"{hashlib.sha256(picture).hexdigest()}.{ending}"
    if not path.is_file():
        with whole_file(path) as part:
            part.write_bytes(picture)
    return path


def safe_name(name: str) -> str:
    """A name for files on any system, made from whatever an upload was called; never a path out of the folder."""
    # Browsers on Windows may send whole paths, and a backslash ends a folder's name there.
    last = PureWindowsPath(name).name
    # Characters that Windows forbids, control characters, and what looks like one but hides in a terminal.
    plain = re.sub(r"[<>:\"/\\|?*\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ud800-\udfff]", "_", last).strip(" .")
    short = plain.encode("utf-8")[: 2 * LONGEST_NAME].decode("utf-8", "ignore")[:LONGEST_NAME].strip(" .")
    return short or "picture"
