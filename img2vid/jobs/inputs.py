"""Input pictures of jobs, stored once each under their checksum."""

import hashlib
import re
from pathlib import Path

from img2vid.files import whole_file


def keep_input(folder: Path, picture: bytes, suffix: str) -> Path:
    """Write a picture to `folder` atomically unless it exists; return its path."""
    ending = re.sub(r"[^a-z0-9]", "", suffix.lower())[:8] or "bin"
    path = folder / f"{hashlib.sha256(picture).hexdigest()}.{ending}"
    if not path.is_file():
        with whole_file(path) as part:
            part.write_bytes(picture)
    return path
