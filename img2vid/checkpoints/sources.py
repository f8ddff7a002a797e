"""Checkpoint sources: a Hugging Face repository or a mirror of it, a URL, or a local file."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from img2vid.errors import BadInput, shown
from img2vid.versions import CheckpointRow

HUB = "https://huggingface.co"
_REPOSITORY = re.compile(r"(?:https?://)?huggingface\.co/([\w.-]+/[\w.-]+)/?(?=\s|$)")


@dataclass(frozen=True)
class Source:
    """One file, given by URL or by path."""

    name: str
    """Display name."""
    url: str = ""
    path: Path | None = None
    token: str | None = field(default=None, repr=False)
    page: str = ""
    """Web page that grants access to the repository, or ""."""


def repository(text: str) -> str | None:
    """Return the `owner/name` of a text that begins with huggingface.co, or None."""
    found = _REPOSITORY.match(text)
    return found[1] if found else None


def can_be_downloaded(version: CheckpointRow) -> bool:
    """Return True if a version's row says where to download its checkpoint."""
    return repository(version.source) is not None or _is_address(version.source)


def _is_address(text: str) -> bool:
    return re.match(r"https?://", text) is not None


def find_source(
    version: CheckpointRow,
    given: str | None = None,
    mirror: str | None = None,
    token: str | None = None,
    file: str | None = None,
) -> Source:
    """Return the source of a version's checkpoint.

    file: one file of its diffusers folder instead, by its name in the repository. given: overrides the version's own
    source with a file, a folder that contains the file, a URL, or huggingface.co/OWNER/NAME. mirror: replaces
    https://huggingface.co; default `HF_ENDPOINT`. token: for gated repositories; default the one stored by
    huggingface_hub. Raise BadInput.
    """
    token = None if token is None else token.strip()
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        raise BadInput("the token contains characters that tokens cannot have; copy it again, from hf_ to its end")
    text = given or version.source
    part, file = file is not None, file or Path(version.own_file).name
    if (found := repository(text)) is not None:
        return _on_hub(found, file, mirror, token)
    if _is_address(text) and part:
        raise BadInput(f"the diffusers layout has several files; pass their folder or repository, got {shown(text)}")
    if _is_address(text):
        # Send a token only to the server it was given for, never to an address from a row.
        return Source(text, url=text.split()[0], token=token if given else None)
    if given is None:
        raise BadInput(
            f"{version.name} has no download address (source: {shown(version.source)}); pass a file or URL with --from"
        )
    path = Path(given).expanduser()
    if path.is_dir():
        path = path / file
    if not path.is_file():
        raise BadInput(f"no such file: {path}; pass a file, a URL or huggingface.co/OWNER/NAME")
    return Source(str(path), path=path)


def _on_hub(repo: str, file: str, mirror: str | None, token: str | None) -> Source:
    # Imported late because it is slow and most commands do not need it.
    from huggingface_hub import get_token, hf_hub_url

    endpoint = (mirror or os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    if not re.match(r"https?://\S+$", endpoint):
        raise BadInput(f"the mirror must be a URL such as https://hub.example.org, got {endpoint!r}")
    if token is None and not mirror:  # never send the stored token to a mirror
        token = get_token()
    url = hf_hub_url(repo, file, endpoint=endpoint)
    return Source(f"{endpoint.split('://')[1]}/{repo}", url=url, token=token, page=f"{endpoint}/{repo}")
