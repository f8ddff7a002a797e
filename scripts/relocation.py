"""Repair of an environment that was moved with its folder: its commands and activation scripts name the old one."""

from __future__ import annotations

from pathlib import Path

LONGEST = 126
"""Characters that Linux reads of a first line such as `#!/folder/.venv/bin/python`."""


def relocate(venv: Path, before: str) -> None:
    """Replace the path from before in the environment's own text files. `python -m` needs none of them."""
    for folder in ("bin", "Scripts"):
        for path in (venv / folder).glob("*"):
            if path.is_file() and not path.is_symlink():
                changed = relocated(path.read_bytes(), before, str(venv))
                if changed is not None:
                    path.write_bytes(changed)


def relocated(text: bytes, before: str, now: str) -> bytes | None:
    """Return the text with the new path, or None if it is a program or does not name the old path."""
    if b"\0" in text or before.encode() not in text:
        return None
    first, rest = text.replace(before.encode(), now.encode()).split(b"\n", 1)
    if first.startswith(b"#!/") and first != b"#!/bin/sh" and (b" " in first or len(first) > LONGEST):
        first = b"#!/bin/sh\n'''exec' \"" + first[2:] + b'" "$0" "$@"\n\' \'\'\''  # read by Python as a text
    return first + b"\n" + rest
