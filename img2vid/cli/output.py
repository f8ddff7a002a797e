"""Output of the commands: results on stdout, messages and progress on stderr."""

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn

from img2vid.errors import BadInput, Img2VidError, is_out_of_memory, memory_advice, shown, without_name
from img2vid.files import reason

NAMED = 20
"""Maximum number of failed items in the last line of a batch."""
_CLOSED_PIPE = (errno.EPIPE, errno.EINVAL)
"""Errors of a write to a pipe without a reader; Windows reports EINVAL."""


def print_line(text: str) -> None:
    """Print a result. If the reader has closed the pipe, as `| head` does, the command continues without output."""
    _write(sys.stdout, f"{text}\n")


def say(message: str, sender: str = "img2vid") -> None:
    """Print a message or an error, in one sentence."""
    _write(sys.stderr, f"{sender}: {message}\n")


def say_notice(name: str, notice: str) -> None:
    """Print a notice about a picture or its videos unless it is empty."""
    if notice:
        say(f"{shown(name)}: {notice}")


def flush_output() -> None:
    """Flush stdout, so that the interpreter does not fail to do so at exit."""
    _write(sys.stdout, "")


def reader_has_left(error: Exception) -> bool:
    """Return True for the error of a write to stdout after its reader has closed the pipe."""
    if not isinstance(error, OSError) or error.errno not in _CLOSED_PIPE or error.filename is not None:
        return False
    if error.errno == errno.EPIPE:
        return True
    try:
        sys.stdout.flush()  # EINVAL has other causes too, but this fails again only if stdout is closed
    except (OSError, ValueError):
        return True
    return False


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # a stream without a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if error.errno not in _CLOSED_PIPE:
            raise Img2VidError(f"the output cannot be written ({error.strerror})") from error


def sentence(error: Exception) -> str:
    """Return the message for an error, with the type of an unexpected one."""
    if isinstance(error, Img2VidError):
        return str(error)
    if is_out_of_memory(error):
        return f"out of memory; {memory_advice(error)}"
    if isinstance(error, OSError):
        return reason(error) if error.filename is None else f"{reason(error)}: {shown(error.filename)}"
    hint = "set IMG2VID_TRACEBACK=1 to see the traceback"
    return f"failed with {type(error).__name__}: {shown(' '.join(str(error).split()))} ({hint})"


class Batch:
    """Items of a command that fail independently. Failures are printed at once and again in the last line."""

    def __init__(self, noun: str, total: int) -> None:
        self._noun, self._total = noun, total
        self._failed: list[tuple[str, str, Exception]] = []

    @contextmanager
    def item(self, name: object, fatal: tuple[type[Exception], ...] = ()) -> Generator[None, None, None]:
        """Count an error in the block, except a fatal one, as the failure of this item; see `fail`."""
        try:
            yield
        except Exception as error:
            if isinstance(error, fatal) or os.environ.get("IMG2VID_TRACEBACK"):
                raise
            self.fail(name, error)

    def fail(self, name: object, error: Exception) -> None:
        """Print and count a failure. Raise the error if there is only one item."""
        if self._total == 1:
            raise error
        why = without_name(sentence(error), name)
        self._failed.append((shown(name), why, error))
        say(f"{shown(name)}: {why}")

    def finish(self) -> int:
        """Print a line about the failed items and return the exit code."""
        if not self._failed:
            return 0
        named = [f"{name} ({why})" for name, why, _ in self._failed[:NAMED]]
        more = [f"and {len(self._failed) - NAMED} more"] if len(self._failed) > NAMED else []
        say(f"{len(self._failed)} of {self._total} {self._noun} failed: {'; '.join([*named, *more])}")
        return 2 if all(isinstance(error, BadInput) for *_, error in self._failed) else 1


class Bar:
    """Progress bar if stderr is a terminal, otherwise lines. `columns` follow the description and the bar."""

    def __init__(self, *columns: ProgressColumn, transient: bool = False) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),  # file names may contain brackets
            BarColumn(),
            *columns,
            console=Console(stderr=True),
            redirect_stdout=sys.stdout.isatty(),  # keep results out of the bar when they go to a file or a pipe
            transient=transient,
        )
        self._task: TaskID | None = None
        self._said: object = None
        self.is_terminal = self._progress.console.is_terminal

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._task is not None:
            self._progress.stop()

    def show(
        self,
        description: str,
        done: float,
        total: float | None,
        *,
        restart: bool = False,
        line: tuple[object, str] | None = None,
        **fields: Any,
    ) -> None:
        """Show `done` of `total` (None if unknown) with the fields of the columns; `restart` restarts their times.

        line: a key and the line to print when the key changes and stderr is not a terminal; default: no line.
        """
        if not self.is_terminal:
            if line is not None and line[0] != self._said:
                self._said = line[0]
                say(line[1])
            return
        if self._task is None:
            self._progress.start()
        elif restart:
            self._progress.remove_task(self._task)
        if self._task is None or restart:
            self._task = self._progress.add_task(description, total=total, **fields)
        self._progress.update(self._task, description=description, completed=done, total=total, **fields)
