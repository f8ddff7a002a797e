"""Errors caused by users, files or machines. Each message is short and says what to do.

`BadInput` and its subclasses mean invalid input (exit code 2 on the command line). Every other `Img2VidError` means
that valid work failed (exit code 1).
"""


class Img2VidError(Exception):
    """Base class of the errors that are shown to users without a traceback."""


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


class MediaError(Img2VidError):
    """Failure to encode, write or move a media file."""


class Cancelled(Img2VidError):
    """Run cancelled by the user; raised between steps, never while a file is written."""


class StoreError(Img2VidError):
    """The job database cannot be read or written."""
