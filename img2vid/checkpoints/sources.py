"""Where a checkpoint can come from: a repository on Hugging Face or a mirror of it, any web address, a local file."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from img2vid.errors import BadInput
from img2vid.versions import ModelVersion

HUB = "https://huggingface.co"
_REPOSITORY = re.compile(r"(?:https?://)?huggingface\.co/([\w.-]+/[\w.-]+)/?(?=\s|$)")


@dataclass(frozen=True)
class Source:
    """One file: either a web address or a path."""

    name: str
    """What it is called in sentences."""
    url: str = ""
    path: Path | None = None
    token: str | None = field(default=None, repr=False)
    page: str = ""
    """Of a repository, the page on which access to it is asked for."""


def repository(text: str) -> str | None:
    """The `owner/name` in a text that begins with huggingface.co, or None."""
    found = _REPOSITORY.match(text)
    return found[1] if found else None


def can_be_downloaded(version: ModelVersion) -> bool:
    """Whether a version's row says where on the web its checkpoint is."""
    return repository(version.source) is not None or _is_address(version.source)


def _is_address(text: str) -> bool:
    return re.match(r"https?://", text) is not None


def find_source(
    version: ModelVersion, given: str | None = None, mirror: str | None = None, token: str | None = None
) -> Source:
    """The source of a version's checkpoint.

    given: in place of the version's own source a file, a folder that holds the file, a web address of the file, or
    huggingface.co/OWNER/NAME. mirror: an address that stands for https://huggingface.co; by default `HF_ENDPOINT`.
    token: for repositories that ask for one; by default the one that huggingface_hub knows. Raises BadInput.
    """
    text = given or version.source
    file = Path(version.checkpoint).name
    if (found := repository(text)) is not None:
        return _on_hub(found, file, mirror, token)
    if _is_address(text):
        # A token is for the server that it was meant for, not for whatever address a row gives.
        return Source(text, url=text.split()[0], token=token if given else None)
    if given is None:
        raise BadInput(
            f"there is no place to download {version.name} from (its source is: {version.source}); name a file or a "
            "web address with --from"
        )
    path = Path(given).expanduser()
    if path.is_dir():
        path = path / file
    if not path.is_file():
        raise BadInput(f"there is no file {path}; give a file, a web address or huggingface.co/OWNER/NAME")
    return Source(str(path), path=path)


def _on_hub(repo: str, file: str, mirror: str | None, token: str | None) -> Source:
    # Imported late: it takes a while, and most commands download nothing.
    from huggingface_hub import get_token, hf_hub_url

    endpoint = (mirror or os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    if not re.match(r"https?://\S+$", endpoint):
        raise BadInput(f"the mirror must be a web address such as https://hub.example.org, got {endpoint!r}")
    if token is None and not mirror:  # a mirror is given no token but one that was meant for it
        token = get_token()
    url = hf_hub_url(repo, file, endpoint=endpoint)
    return Source(f"{endpoint.split('://')[1]}/{repo}", url=url, token=token, page=f"{endpoint}/{repo}")
