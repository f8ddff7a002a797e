"""Redaction of private data in a text: folders, names, addresses, tokens, passwords.

When in doubt, the text is redacted: an unknown path becomes <path>, an unknown server <server>. Placeholders are
protected from later rules, so no rule can undo an earlier one.
"""

import getpass
import os
import platform
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from img2vid import paths

PUBLIC = (
    "huggingface.co",
    "github.com",
    "pytorch.org",
    "python.org",
    "nvidia.com",
    "microsoft.com",
    "aka.ms",
    "img2vid",
    "localhost",
    "127.0.0.1",
)
"""Public servers, which are not private data; includes their subdomains, such as download.pytorch.org."""
HARMLESS = ("usr", "lib", "lib64", "proc", "dev", "sys", "etc", "bin", "sbin", "opt", "kaggle", "content")
"""Top-level folders that exist on every computer or hosted notebook."""
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY", re.IGNORECASE)
"""Names of environment variables whose values are secret."""
SHORTEST_SECRET, SHORTEST_WORD = 4, 2
KNOWN_USERS = ("root", "user", "admin", "administrator", "runner", "ubuntu", "jovyan", "localhost")
"""Common account names, which identify no person."""

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s'\"<>|]*)")
_TOKENS = re.compile(r"(?:hf_|api_org_|gh[pousr]_|github_pat_|sk-|xox[a-z]-|AKIA|glpat-)[A-Za-z0-9_-]{8,}")
_NAMED = re.compile(
    r"(?P<name>(?:pass(?:word|wd|phrase)?|(?:[a-z]+[_-])?token|secret|(?:api|access)[_-]?key|signature)"
    r"[\"']?\s*[=:]\s*[\"']?)(?P<value>[^\s\"',;&]+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<name>\b(?:bearer|basic)\s+|\bauthorization[\"']?\s*[=:]\s*)(?P<value>\S+(?: \S+)?)", re.I)
_MAIL = re.compile(r"[^\s@<>'\"(),;:]+@[^\s@<>'\"(),;:]+")
_WINDOWS = r"[A-Za-z]:[\\/]|\\\\(?:[?.]\\)?|//(?=[\w.$-]+[\\/])|\\(?=(?:Users|Documents and Settings)[\\/])"
"""Beginnings of Windows paths: drive, UNC with either slash, \\\\?\\, and the users' folder of the current drive."""
_PATH = re.compile(
    rf"(?P<quote>['\"`])(?P<quoted>(?:/|~[\w.-]*[/\\]|{_WINDOWS})[^'\"`\n]*)(?P=quote)"
    # An unquoted path ends at a space, unless the rest of a name with spaces and more path segments follow.
    rf"|(?<![\w.:/\\~\ue001-])(?:/(?=[^\s/])|~[\w.-]*[/\\]|{_WINDOWS})"
    r"[^\s'\"`<>|*?,;()\[\]]*(?:(?: +[^\s'\"`<>|*?,;:()\[\]/\\]+){1,8}(?=[/\\])[^\s'\"`<>|*?,;()\[\]]*)*"
)
_ADDRESS = re.compile(r"(?<![\w.=])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])(?::\d+)?")
_PACKAGES = re.compile(r"[/\\]((?:site|dist)-packages[/\\].*)")
_FIRST, _LAST = "\ue000", "\ue001"
_MARK = re.compile(f"{_FIRST}(\\d+){_LAST}")


@dataclass(frozen=True)
class Redaction:
    """Redaction rules. places, words: folders and words with their placeholders; secrets: values to hide."""

    places: Mapping[str, str] = field(default_factory=dict[str, str])
    words: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Iterable[str] = ()

    def __call__(self, text: str) -> str:
        """Return the redacted text."""
        text = "".join(letter for letter in text if letter not in (_FIRST, _LAST))
        covers: list[str] = []

        def cover(words: str) -> str:
            covers.append(words)
            return f"{_FIRST}{len(covers) - 1}{_LAST}"

        for rule in (self._secrets, _tokens, self._places, _urls, _mails, _paths, _addresses, self._words):
            text = rule(text, cover)
        while _MARK.search(text):
            text = _MARK.sub(lambda mark: covers[int(mark[1])], text)
        return text

    def _secrets(self, text: str, cover: Callable[[str], str]) -> str:
        for secret in sorted({*self.secrets}, key=len, reverse=True):
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, cover("<secret>"))
        return text

    def _places(self, text: str, cover: Callable[[str], str]) -> str:
        """Replace known folders by their placeholders and keep the rest of the path."""
        for place, stands in sorted(self.places.items(), key=lambda one: len(one[0]), reverse=True):
            # Python and Windows mix slashes, and repr doubles backslashes.
            spelled = r"[\\/]+".join(map(re.escape, re.split(r"[\\/]+", place)))
            whole = rf"(?<![\w./\\~-]){spelled}(?!\w|[.-]\w)"
            text = re.sub(whole, lambda _, stands=stands: cover(stands), text, flags=re.IGNORECASE)
        return text

    def _words(self, text: str, cover: Callable[[str], str]) -> str:
        for word, stands in sorted(self.words.items(), key=lambda one: len(one[0]), reverse=True):
            if len(word) >= SHORTEST_WORD:
                whole = rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"
                parts = re.split(f"({_MARK.pattern.replace('(', '(?:')})", text)
                text = "".join(
                    part
                    if _MARK.fullmatch(part)
                    else re.sub(whole, lambda _, stands=stands: cover(stands), part, flags=re.I)
                    for part in parts
                )
        return text


def of_this_computer(
    folders: Mapping[Path, str] | None = None,
    words: Mapping[str, str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Redaction:
    """Return the rules for this computer. folders, words: further ones with their placeholders."""
    places = {str(paths.PROJECT): "<project>", str(paths.home()): "<home>"}
    for number, folder in enumerate(paths.checkpoint_folders()[1:], start=1):
        places[str(folder.absolute())] = f"<checkpoints {number}>"
    places |= {str(folder): stands for folder, stands in (folders or {}).items()}
    for prefix in (sys.prefix, sys.base_prefix):
        places.setdefault(prefix, "<python>")
    places.setdefault(tempfile.gettempdir(), "<temp>")
    return Redaction(
        # A drive, and on POSIX a top-level folder such as /usr, is not private and is the prefix of many paths.
        {place: stands for place, stands in places.items() if len(Path(place).parts) > (1 if Path(place).drive else 2)},
        {**(words or {}), **_names(environment)},
        [value for name, value in environment.items() if SECRET_NAME.search(name)],
    )


def _names(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the names of the user and the computer with their placeholders."""
    users = {Path.home().name, *(environment.get(name, "") for name in ("USER", "LOGNAME", "USERNAME"))}
    with suppress(OSError, KeyError, ImportError):  # the account may have no name
        users.add(getpass.getuser())
    hosts = {socket.gethostname(), platform.node()}
    hosts |= {environment.get(name, "") for name in ("HOSTNAME", "COMPUTERNAME")}
    hosts |= {host.partition(".")[0] for host in hosts}
    found = {host: "<host>" for host in hosts} | {user: "<user>" for user in users}
    return {name: stands for name, stands in found.items() if name.lower() not in ("", *KNOWN_USERS)}


def _tokens(text: str, cover: Callable[[str], str]) -> str:
    text = _TOKENS.sub(lambda _: cover("<token>"), text)
    for pattern in (_BEARER, _NAMED):
        text = pattern.sub(lambda found: found["name"] + cover("<secret>"), text)
    return text


def _urls(text: str, cover: Callable[[str], str]) -> str:
    """Keep URLs of public servers without their query, which may hold signatures; redact all others."""

    def without(found: re.Match[str]) -> str:
        server, slash, path = re.split(r"[?#]", found["rest"])[0].partition("/")
        name, _, port = server.rpartition("@")[2].partition(":")
        public = any(name == one or name.endswith(f".{one}") for one in PUBLIC)
        if not public or (port and not port.isdecimal()):
            return cover(f"{found['scheme']}://<server>")
        return cover(f"{found['scheme']}://{name}{f':{port}' if port else ''}{slash}{path}")

    return _URL.sub(without, text)


def _mails(text: str, cover: Callable[[str], str]) -> str:
    return _MAIL.sub(lambda _: cover("<address>"), text)


def _paths(text: str, cover: Callable[[str], str]) -> str:
    """Redact absolute paths, except those that exist on every computer."""

    def without(found: re.Match[str]) -> str:
        quote = found["quote"] or ""
        path = found["quoted"] if quote else found[0]
        package = _PACKAGES.search(path)
        if package is not None:
            return f"{quote}{cover('<python>/')}{package[1]}{quote}"
        if re.match(rf"/(?:{'|'.join(HARMLESS)})(?:/|$)", path) and ".." not in path:
            return found[0]
        return f"{quote}{cover('<path>')}{quote}"

    return _PATH.sub(without, text)


def _addresses(text: str, cover: Callable[[str], str]) -> str:
    return _ADDRESS.sub(lambda found: found[0] if found[0].startswith("127.") else cover("<address>"), text)
