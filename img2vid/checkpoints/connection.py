"""Opens a source at any byte of its file; what a server answers becomes a stream, a reason to try again, or a sentence.

urllib asks, because it uses the system's proxies and certificates, and because huggingface_hub's own downloader cannot
compute a checksum of what arrives.
"""

import email.utils
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

import img2vid
from img2vid.checkpoints.sources import HUB, Source
from img2vid.errors import Img2VidError

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same question may well be answered otherwise."""


class ConnectionDropped(Exception):
    """The connection failed in a way that may pass. pause: seconds that the server asks to wait, or None."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Answer:
    """A file from its byte `start` on (-1: from nowhere). total: bytes of all of it, or None where that is not said."""

    stream: _Readable
    start: int
    total: int | None
    mark: str = ""
    """What the server calls this state of the file."""

    def read(self, size: int) -> bytes:
        """At most `size` bytes, as soon as there are any; none at the end. Raises Dropped."""
        try:
            return self.stream.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionDropped(_reason(error)) from error


def open_at(source: Source, offset: int, timeout: float) -> Answer:
    """Opens the source at a byte of its file; a server may also begin anew, at 0.

    timeout: seconds without a byte after which the connection counts as lost. Raises Dropped, and Img2VidError for
    what does not pass, with what to do.
    """
    if source.path is not None:
        return _open_file(source.path, offset)
    request = urllib.request.Request(source.url, headers={"User-Agent": f"img2vid/{img2vid.__version__}"})
    request.add_header("Accept-Encoding", "identity")
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    if source.token:
        request.add_unredirected_header("Authorization", f"Bearer {source.token}")
    try:
        response: Any = urllib.request.build_opener(_Redirects).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and offset:
                return _no_such_range(error.headers)
            raise _refusal(source, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(source, error) from error
    except ValueError as error:
        raise Img2VidError(f"{source.url} is no web address that can be asked: {error}") from error
    return _answer(source, response, offset)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other servers without the token, and to other pages of the same server with it."""

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # Python 3.10 does not know it

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request that follows."""
        plain = super().redirect_request(req, fp, 307 if code == 308 else code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if plain is not None and token and urlsplit(newurl)[:2] == urlsplit(req.full_url)[:2]:
            plain.add_unredirected_header("Authorization", token)
        return plain


def _open_file(path: Any, offset: int) -> Answer:
    try:
        file: BinaryIO = path.open("rb")
        total = path.stat().st_size
    except OSError as error:
        raise Img2VidError(f"{path} cannot be read ({error.strerror}); choose a file that can be") from error
    start = offset if offset <= total else 0
    file.seek(start)
    return Answer(file, start, total)  # type: ignore[arg-type]


def _answer(source: Source, response: Any, offset: int) -> Answer:
    mark = response.headers.get("ETag") or ""
    length = response.headers.get("Content-Length")
    if response.status != 206:
        total = int(length) if length and length.isdigit() else None
        return Answer(response, 0, total, mark)
    found = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", response.headers.get("Content-Range") or "")
    if found is None or int(found[1]) != offset:
        response.close()
        raise Img2VidError(
            f"the server of {source.name} gives another part of the file than was asked for; try another source"
        )
    return Answer(response, offset, None if found[2] == "*" else int(found[2]), mark)


class _EmptyStream:
    def read1(self, size: int, /) -> bytes:
        """No bytes."""
        return b""

    def close(self) -> None:
        """Does nothing."""


def _no_such_range(headers: Any) -> Answer:
    """The server has no such bytes: the file ends there, or is a shorter one than what has arrived."""
    found = re.match(r"bytes \*/(\d+)$", headers.get("Content-Range") or "")
    total = int(found[1]) if found else None
    return Answer(_EmptyStream(), -1 if total is None else total, total)


def _refusal(source: Source, error: urllib.error.HTTPError) -> Exception:
    code = error.code
    if code in PASSING:
        busy = "asks to wait" if code == 429 else f"answers {code}"
        return ConnectionDropped(f"the server {busy}", _seconds(error.headers.get("Retry-After")))
    if code in (401, 403):
        return Img2VidError(_access_hint(source, code))
    if code in (404, 410):
        return Img2VidError(f"there is no {source.url} (answer {code}); name another source with --from, or a mirror")
    return Img2VidError(f"{source.url} cannot be downloaded: the server answers {code}; try another source with --from")


def _access_hint(source: Source, code: int) -> str:
    """What to accept, where, and how to show it."""
    if not source.page:
        return f"{source.url} is not open to everybody (answer {code}); give a token with --token, or another source"
    if source.token is None:
        return (
            f"access to {source.name} is only for people who accepted its conditions: sign in, open {source.page} and "
            f"agree to them, make a token of the kind Read at {HUB}/settings/tokens, and give it with --token, in the "
            "variable HF_TOKEN, or in the field Token of the Models page"
        )
    if code == 401:
        return (
            f"the token is not known to {source.name}; make one of the kind Read at {HUB}/settings/tokens, and give it "
            "whole, as it begins with hf_"
        )
    return (
        f"the token's account has no access to {source.name} yet: open {source.page} with that account, agree to the "
        "conditions, wait until the page says that access is granted, and start the download again"
    )


def _seconds(text: str | None) -> float | None:
    """Retry-After: seconds, or a date."""
    if not text:
        return None
    if re.fullmatch(r"\s*\d+\s*", text):
        return float(text)
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None


def _unreachable(source: Source, error: Exception) -> Exception:
    inner: Any = getattr(error, "reason", error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return Img2VidError(
            f"the certificate of {source.name} is not one that this computer trusts ({inner.verify_message}); a proxy "
            "or a virus scanner may stand between, whose certificate has to be installed"
        )
    return ConnectionDropped(f"no connection to {source.name} ({_reason(error)})")


def _reason(error: Exception) -> str:
    inner: Any = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError):
        return "no answer in time"
    words = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return " ".join(str(words).split())
