"""Errors caused by users, files or machines. Each message is short and says what to do.

`BadInput` and its subclasses mean invalid input (exit code 2 on the command line). Every other `Img2VidError` means
that valid work failed (exit code 1).
"""

import errno
import re
import unicodedata
from pathlib import PurePath

PAGING_FILE = 1455
"""Windows error: the paging file is too small for this operation."""
AUTOMATIC_PAGING_FILE = "set the size of the paging file to automatic (search Windows for virtual memory)"
_PAGING_FILE = re.compile(r"paging file|error(?: code:)? <?1455\b", re.IGNORECASE)
_NO_MEMORY = re.compile(
    rf"out of memory|not enough memory|(can't|cannot|unable to) allocate|bad.alloc|ALLOC_FAILED|{_PAGING_FILE.pattern}",
    re.IGNORECASE,
)
"""Messages of plain RuntimeErrors, by which torch reports a failed allocation on a CPU or in a library."""
MOST_FOREIGN = 300
"""Characters of foreign text in a message."""
_LONG_QUOTE = re.compile(rf"'[^']{{{MOST_FOREIGN},}}'")
_JOINERS = "\u200c\u200d"
"""Invisible characters that scripts and emoji need."""


class Img2VidError(Exception):
    """Base class of the errors that are shown to users without a traceback.

    Unsafe characters are escaped, and long text in quotes, which is foreign, is shortened.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_LONG_QUOTE.sub(lambda found: shown(found[0]), _escaped(message)))


class BadInput(Img2VidError):
    """Invalid value, picture or file name; the message names valid ones."""


class ConfigError(BadInput):
    """Invalid or incomplete model configuration or row of versions.yaml."""


class CheckpointError(BadInput):
    """Checkpoint file that is missing, damaged or does not match the configuration."""


class EngineUnavailable(Img2VidError):
    """The requested engine cannot run here; the message contains the command that fixes it."""


class OutOfMemory(Img2VidError):
    """A stage ran out of memory; the message names the setting that helps."""


class NotFinite(Img2VidError):
    """A stage produced NaN or infinity."""


class MediaError(Img2VidError):
    """Failure to encode, write or move a media file."""


class Cancelled(Img2VidError):
    """Run cancelled by the user; raised between steps, never while a file is written."""


class StoreError(Img2VidError):
    """The job database cannot be read or written."""


class DamagedStore(StoreError):
    """The job database is damaged or newer than the program; it can be rebuilt."""


class UnreadableRow(BadInput):
    """A row of the job database that cannot be read; it is damaged or of another version of the program."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return True for an error of Python, numpy, torch or the system that means too little memory, on any device."""
    if isinstance(error, Img2VidError):
        return isinstance(error, OutOfMemory)
    codes = (getattr(error, "errno", None) == errno.ENOMEM, getattr(error, "winerror", None) == PAGING_FILE)
    return isinstance(error, MemoryError) or any(codes) or _NO_MEMORY.search(str(error)) is not None


def memory_advice(error: BaseException, advice: str = "close other programs, or make the video smaller") -> str:
    """Return the remedy for an error that `is_out_of_memory`: its own, if it has one, else `advice`."""
    if getattr(error, "winerror", None) == PAGING_FILE or _PAGING_FILE.search(str(error)):
        return f"the paging file of Windows is too small; {AUTOMATIC_PAGING_FILE}"
    return advice


def shown(text: object) -> str:
    """Return foreign text for a message: at most 300 characters, the middle left out, unsafe characters escaped."""
    full = str(text)
    if len(full) > 2 * MOST_FOREIGN:
        full = full[:MOST_FOREIGN] + full[-MOST_FOREIGN:]
    safe = _escaped(full)
    if len(safe) <= MOST_FOREIGN:
        return safe
    return f"{safe[: MOST_FOREIGN - 103]}...{safe[-100:]}"


def without_name(text: str, name: object) -> str:
    """Return an error's sentence without the item's path or file name, which the line begins with."""
    for known in map(shown, dict.fromkeys((str(name), PurePath(str(name)).name))):
        quoted = rf"(?:the folder )?'{re.escape(known)}'"
        text = re.sub(rf": {quoted}", "", text).removesuffix(f": {known}")
        text = re.sub(rf"^{quoted}|(?<=cannot read ){quoted}|(?<=matches ){quoted}", "it", text)
    return text


def _escaped(text: str) -> str:
    """Escape control characters, line breaks, lone surrogates, and invisible characters such as bidi overrides."""
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _JOINERS
        else character
        for character in text
    )
