"""Input pictures of jobs, stored once each under their checksum."""

import hashlib
import re
from pathlib import Path, PureWindowsPath

from img2vid.files import whole_file

LONGEST_NAME = 80
"""Maximum length of a picture's name in file names. With version and seed, they stay below 255 bytes."""


def keep_input(folder: Path, picture: bytes, suffix: str) -> Path:
    """Write a picture to `folder` atomically unless it exists; return its path."""
    ending = re.sub(r"[^a-z0-9]", "", suffix.lower())[:8] or "bin"
    path = folder / f"{hashlib.sha256(picture).hexdigest()}.{ending}"
    if not path.is_file():
        with whole_file(path) as part:
            part.write_bytes(picture)
    return path


def safe_name(name: str) -> str:
    """Return a file name that is valid on any system, from any upload name. It never leaves the folder."""
    # Browsers on Windows may send whole paths with backslashes.
    last = PureWindowsPath(name).name
    # Characters that Windows forbids, control characters, and invisible Unicode characters.
    plain = re.sub(r"[<>:\"/\\|?*\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ud800-\udfff]", "_", last).strip(" .")
    short = plain.encode("utf-8")[: 2 * LONGEST_NAME].decode("utf-8", "ignore")[:LONGEST_NAME].strip(" .")
    return short or "picture"
