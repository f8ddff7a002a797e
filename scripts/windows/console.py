"""Console output, prompts and the installation log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from environment import SetupError


class Tee:
    """Console stream that also writes to the log. Subprocesses use the console's file descriptor directly."""

    def __init__(self, stream: TextIO, log: TextIO) -> None:
        self.stream = stream
        self.log = log

    def write(self, text: str) -> int:
        self.stream.write(text)
        self.log.write(text)
        self.log.flush()
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream.isatty()


@contextmanager
def logged(path: Path | None) -> Iterator[None]:
    """Log the block's output, and that of every pip it starts, to `path`; None disables logging."""
    if path is None:
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("a", encoding="utf-8")
    except OSError as error:
        raise SetupError(f"Cannot write the log {path} ({error.strerror}); choose another with -LogPath.") from error
    out, err = sys.stdout, sys.stderr
    with log:
        log.write(f"\n==== {time.strftime('%Y-%m-%d %H:%M:%S')} {sys.executable} {' '.join(sys.argv)}\n")
        sys.stdout, sys.stderr = Tee(out, log), Tee(err, log)
        os.environ["PIP_LOG"] = str(path)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = out, err
            os.environ.pop("PIP_LOG", None)


class Questions:
    """Console prompts. With `silent`, every prompt returns its default."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent

    def confirm(self, question: str, default: bool) -> bool:
        if self.silent:
            return default
        while True:
            answer = self._answer(f"{question} [{'Y/n' if default else 'y/N'}] ").lower()
            if answer in ("", "y", "yes", "n", "no"):
                return answer.startswith("y") if answer else default
            print(f"Please answer y or n, not {answer!r}.")

    def text(self, question: str) -> str:
        """Return the text typed by the user, "" for Enter."""
        return "" if self.silent else self._answer(f"{question} ")

    def _answer(self, question: str) -> str:
        print(question, end="", flush=True)
        line = sys.stdin.readline()
        if not line:  # end of input: not interactive
            self.silent = True
            print()
        return line.strip()
