"""Every error that a user, a file or a machine can cause, each one sentence long and with a way out.

`BadInput` and its children mean that what was asked for cannot be done as asked (exit code 2 on the command line);
every other `Img2VidError` means that something failed on the way (exit code 1).
"""


class Img2VidError(Exception):
    """Base of all errors that are shown to the user as they are, without a traceback."""


class BadInput(Img2VidError):
    """A value, a picture or a file name that cannot be used; the message says what would do."""


class ConfigError(BadInput):
    """A model configuration or a row of versions.yaml that does not say what it has to say."""


class CheckpointError(BadInput):
    """A checkpoint file that is missing, damaged or of another kind than the configuration asks for."""


class EngineUnavailable(Img2VidError):
    """The engine that was asked for cannot run here; the message holds the command that mends it."""


class OutOfMemory(Img2VidError):
    """A stage needed more memory than there is; the message names the setting that helps."""


class MediaError(Img2VidError):
    """A video could not be encoded or written."""


class Cancelled(Img2VidError):
    """The user stopped the run; raised between two steps, never in the middle of writing a file."""


class StoreError(Img2VidError):
    """The store of jobs cannot be read or written."""
