"""Installation of packages with uv, or with pip where uv cannot be used, and its progress in a few lines.

uv needs a fifth of pip's time. It does not read pip's settings, so those that name indexes, servers and certificates
are passed to it. Everything that uv and pip print goes to a log.
"""

from __future__ import annotations

import ast
import locale
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

EVERY = 10.0
"""Seconds between progress lines if the output is not a terminal."""
TAIL = 15
"""Lines of the log that are printed after a failure."""
UNITS = {"B": 1e-6, "KiB": 2**10 / 1e6, "MiB": 2**20 / 1e6, "GiB": 2**30 / 1e6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}

OPTIONS = {
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
    "no-binary": "--no-binary",
    "only-binary": "--only-binary",
}
"""pip's settings with values, and the options of uv that mean the same."""
FLAGS = {"no-index": "--no-index", "no-cache-dir": "--no-cache", "require-hashes": "--require-hashes"}
VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX",),
    "extra-index-url": ("UV_INDEX",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
    "retries": ("UV_HTTP_RETRIES",),
}
"""pip's settings, and the environment variables of uv that mean the same. Addresses may hold passwords."""
WITHOUT_EFFECT = re.compile(
    r"cache-dir|(?:no-)?compile|config-file|debug|disable-pip-version-check|exists-action|format|log|no-color|no-input|"
    r"no-python-version-warning|no-warn-script-location|prefer-binary|progress-bar|quiet|require-virtualenv|"
    r"root-user-action|user|verbose"
)
"""pip's settings that do not decide what is installed in an environment."""

CAUSES = (
    (
        r"No space left|not enough space on the disk|os error (?:28|112)\b|ENOSPC",
        "the disk is full; free at least 7 GB",
    ),
    (
        r"certificate verify failed|invalid peer certificate|CERTIFICATE_VERIFY_FAILED|SSLError",
        "the connection is not trusted; name your network's certificate with `pip config set global.cert FILE`",
    ),
    (r"\b407 Proxy|ProxyError|proxy.*(?:refused|failed)", "the proxy refuses the connection; check HTTPS_PROXY"),
    (
        r"(?i)dns error|name resolution|name or service not known|getaddrinfo|dns error|failed to lookup address|"
        r"network is unreachable|connection refused|connection reset|connection aborted|timed out|operation timeout|"
        r"error sending request|NewConnectionError|Remote end closed|IncompleteRead|connection broken|"
        r"error decoding response body|no route to host",
        "the network connection failed; check it, and HTTPS_PROXY if you need a proxy",
    ),
    (
        r"Permission denied|Access is denied|os error (?:5|13|32)\b|WinError (?:5|32)\b",
        "a file of the environment is in use; close all programs that use it",
    ),
    (
        r"No matching distribution|no versions? of|not found in the package registry",
        "a package cannot be found; check the network and the index",
    ),
    (r"conflicting dependencies|unsatisfiable|No solution found", "some requirements exclude each other"),
)
"""Patterns in the output of uv and pip, the likeliest cause first: a dead network also looks like a conflict."""


@dataclass
class Settings:
    """pip's settings in the terms of uv. obstacle: the setting that uv does not have, or ""."""

    arguments: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    obstacle: str = ""


def translated(settings: Mapping[str, str]) -> Settings:
    """Return pip's settings, by their names without sections, for uv."""
    found = Settings()
    for name, value in settings.items():
        if name in OPTIONS:
            for part in value.split():
                found.arguments += [OPTIONS[name], as_path(part)]
        elif name in FLAGS:
            if enabled(value):
                found.arguments.append(FLAGS[name])
        elif name in VARIABLES:
            found.variables.update(dict.fromkeys(VARIABLES[name], " ".join(value.split())))
        elif name == "pre":
            found.arguments += ["--prerelease", "allow"] if enabled(value) else []
        elif not WITHOUT_EFFECT.fullmatch(name):
            found.obstacle = found.obstacle or name
    if "extra-index-url" in settings:  # pip takes the best version of all indexes
        found.arguments += ["--index-strategy", "unsafe-best-match"]
    return found


def as_path(place: str) -> str:
    """Return the path of a file URL, which uv does not take, and any other text as it is."""
    return url2pathname(urlsplit(place).path) if place.startswith("file:") else place


def enabled(value: str) -> bool:
    return value.strip().lower() in ("1", "true", "yes", "on")


def read_settings(listed: str) -> dict[str, str]:
    """Return the effective settings from the output of `pip config list`; a variable outranks a file."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in sections:
            sections[section][name] = str(ast.literal_eval(value))
    return {**sections["global"], **sections["install"], **sections[":env:"]}


def decoded(output: bytes) -> str:
    """Decode pip's output, which Windows writes in its code page: with -I, Python ignores PYTHONIOENCODING."""
    try:
        return output.decode()
    except UnicodeDecodeError:
        return output.decode(locale.getpreferredencoding(False), "replace")


class Progress:
    """State of an installation, from the lines that uv or pip prints."""

    def __init__(self) -> None:
        self.phase, self.count, self.done = "Looking for packages", 0, 0
        self.sizes: dict[str, float] = {}
        self.arrived: set[str] = set()
        self._begin = self._latest = time.monotonic()

    def feed(self, line: str) -> None:
        """Update the state from one line."""
        before = len(self.arrived)
        self._read(line.strip())
        if len(self.arrived) > before:
            self._latest = time.monotonic()

    def _read(self, words: str) -> None:
        if found := re.match(r"Resolved (\d+) packages?", words):
            self.phase, self.count = "Downloading", int(found[1])
        elif found := re.match(r"Downloading (\S+(?<!\.metadata)) \(([\d.]+)\s*(\w+)(?:/[^)]*)?\)", words):
            self.phase = "Downloading"
            self.sizes[found[1]] = float(found[2]) * UNITS.get(found[3], 0.0)
            self._finish_earlier(found[1])
        elif found := re.match(r"Downloaded (\S+)", words):
            self.arrived.add(found[1])
        elif found := re.match(r"Prepared (\d+)", words):
            self.phase, self.arrived = "Installing", set(self.sizes)
        elif found := re.match(r"Installing collected packages: (.*)", words):
            self.phase, self.count, self.arrived = "Installing", len(found[1].split(",")), set(self.sizes)
        elif re.match(r"Collecting \S+", words):
            self.done += 1

    def _finish_earlier(self, name: str) -> None:
        """pip downloads one file after another and names files, uv names packages."""
        if name.endswith((".whl", ".gz", ".zip")):
            self.arrived = set(self.sizes) - {name}

    def __str__(self) -> str:
        """Return the phase, the packages, the megabytes and the time left."""
        words = [self.phase]
        if self.count:
            words[0] += f" {self.count} package{'s' if self.count > 1 else ''}"
        elif self.done:
            words[0] += f", package {self.done}"
        total, arrived = sum(self.sizes.values()), sum(self.sizes[name] for name in self.arrived)
        if self.phase == "Downloading" and total:
            words.append(f"{len(self.arrived)} of {len(self.sizes)} large files")
            words.append(f"{arrived:,.0f} of {total:,.0f} MB")
            if arrived > total / 20:
                needed = (self._latest - self._begin) / arrived * (total - arrived)
                left = needed - (time.monotonic() - self._latest)  # a large file arrives at once
                words.append(f"about {left:.0f} s left" if left > 1 else "nearly done")
        return ", ".join(words)


class Display:
    """One line on stderr that is updated in place, or a line every ten seconds if it is not a terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown, self._last = "", time.monotonic()

    def show(self, text: str) -> None:
        """Show the current state."""
        if self._terminal and text != self._shown:
            text = text[: shutil.get_terminal_size().columns - 1]
            print(f"\r{text:<{len(self._shown)}}", end="", file=sys.stderr, flush=True)
            self._shown = text
        elif not self._terminal and time.monotonic() - self._last >= EVERY:
            print(text, file=sys.stderr, flush=True)
            self._last = time.monotonic()

    def clear(self) -> None:
        """Remove the line, so that another text can follow."""
        if self._terminal and self._shown:
            print(f"\r{'':<{len(self._shown)}}\r", end="", file=sys.stderr, flush=True)
            self._shown = ""


class Failed(Exception):
    """An installation that failed; the message is its cause."""


@dataclass
class Installer:
    """Installs packages in one environment. python: its interpreter; log: file for the whole output."""

    python: Path
    log: Path

    def install(self, *arguments: str) -> None:
        """Install with uv, or else with pip, options that both have. Raise Failed after pip's failure."""
        settings = self._settings()
        uv = self._find_uv(settings)
        if isinstance(uv, Path):
            command = [str(uv), "pip", "install", "--python", str(self.python), *settings.arguments]
            if "--index-url" in arguments:
                settings.variables.pop("UV_DEFAULT_INDEX", None)
            output = self._run([*command, *arguments], settings.variables)
            if output is None:
                return
            uv = f"uv failed: {cause(output)}"
        print(f"Installing with pip, which is slower, because {uv}.", file=sys.stderr, flush=True)
        output = self._run(self.pip("install", "--progress-bar", "off", *arguments))
        if output is not None:
            print("\n".join(output[-TAIL:]), file=sys.stderr, flush=True)
            raise Failed(cause(output))

    def uninstall(self, *names: str) -> None:
        """Uninstall packages, as far as possible."""
        self._run(self.pip("uninstall", "--yes", *names))

    def reaches(self, index: str, seconds: float) -> bool:
        """Return True if a package index answers in time, through pip's proxy. A process, as DNS has no timeout."""
        settings = self._settings()
        program = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read(1)"
        command = [sys.executable, "-I", "-c", program, f"{index}/torch/"]
        if "--no-index" in settings.arguments:
            return False
        surroundings = {**os.environ, **settings.variables}
        try:
            subprocess.run(command, env=surroundings, timeout=seconds, capture_output=True, check=True)
        except (OSError, subprocess.SubprocessError):
            return False
        return True

    def pip(self, *arguments: str) -> list[str]:
        """Return a pip command of the environment."""
        return [str(self.python), "-I", "-m", "pip", "--disable-pip-version-check", *arguments]

    def _settings(self) -> Settings:
        command = self.pip("config", "list")
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            return Settings(obstacle="a setting that cannot be read")
        return translated(read_settings(decoded(done.stdout)))

    def _find_uv(self, settings: Settings) -> Path | str:
        """Return uv, which is installed if necessary, or why it cannot be used."""
        if settings.obstacle:
            return f"uv does not have pip's setting {settings.obstacle}"
        own = self.python.with_name("uv.exe" if os.name == "nt" else "uv")
        for place in (shutil.which("uv"), own):
            if place and Path(place).is_file():
                return Path(place)
        project = Path(__file__).resolve().parent.parent / "requirements"
        pinned = ("-c", str(project / "lock.txt"), "-r", str(project / "uv.txt"))
        output = self._run(self.pip("install", "--retries", "1", *pinned))
        return own if output is None and own.is_file() else f"uv cannot be installed: {cause(output or [])}"

    def _run(self, command: Sequence[str], variables: Mapping[str, str] | None = None) -> list[str] | None:
        """Run a command and show its progress. Return None after success, else its output."""
        output: list[str] = []
        progress, display = Progress(), Display()
        surroundings = {**os.environ, **(variables or {}), "PYTHONIOENCODING": "utf-8"}
        with (
            self.log.open("a", encoding="utf-8") as log,
            subprocess.Popen(
                command,
                env=surroundings,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                close_fds=False,  # the lock of the environment is inherited
            ) as process,
        ):
            print(f"> {subprocess.list2cmdline(command)}", file=log, flush=True)
            for line in lines_of(process):
                if line:
                    output.append(line)
                    print(line, file=log, flush=True)
                progress.feed(line)
                display.show(str(progress))
            display.clear()
        return output if process.wait() else None


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield the output's lines, and an empty line after each half second without one."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=0.5)
        except queue.Empty:
            line = ""
        if line is None:
            return
        yield line


def cause(output: Sequence[str]) -> str:
    """Return the likeliest cause of a failure."""
    text = "\n".join(output)
    return next((words for pattern, words in CAUSES if re.search(pattern, text)), "see the log")
