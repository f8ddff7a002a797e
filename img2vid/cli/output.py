"""Output of the commands: results on stdout, messages and progress on stderr."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn


def print_line(text: str) -> None:
    """Print a result."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say(message: str, sender: str = "img2vid") -> None:
    """Print a message or an error, in one sentence."""
    sys.stderr.write(f"{sender}: {message}\n")
    sys.stderr.flush()


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
