"""Opens a source at a byte offset; server responses become a stream, a retryable error or a final error.

Uses urllib because it honors the system's proxies and certificates, and because huggingface_hub's downloader cannot
hash data as it arrives.
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
from img2vid.files import reason

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Retryable HTTP status codes."""


class ConnectionDropped(Exception):
    """A retryable connection failure. pause: seconds from the server's Retry-After header, or None."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Answer:
    """A file stream from byte `start` on (-1: unknown). total: size of the whole file in bytes, or None if unknown."""

    stream: _Readable
    start: int
    total: int | None
    mark: str = ""
    """ETag of the file, or ""."""

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes as soon as any arrive, b"" at the end. Raise ConnectionDropped."""
        try:
            return self.stream.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionDropped(_reason(error)) from error


def open_at(source: Source, offset: int, timeout: float) -> Answer:
    """Open the source at a byte offset. The server may ignore the offset and start at 0.

    timeout: seconds without a byte after which the connection counts as lost. Raise ConnectionDropped for retryable
    failures and Img2VidError, with advice, for all others.
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
        raise Img2VidError(f"{source.url} is not a valid URL: {error}") from error
    return _answer(source, response, offset)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirect handler that keeps the token only within the same server."""

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # missing in Python 3.10

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request to the new address."""
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
        raise Img2VidError(f"cannot read {path} ({reason(error)}); choose a readable file") from error
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
        raise Img2VidError(f"the server of {source.name} sent the wrong part of the file; try another source")
    return Answer(response, offset, None if found[2] == "*" else int(found[2]), mark)


class _EmptyStream:
    def read1(self, size: int, /) -> bytes:
        """Return b""."""
        return b""

    def close(self) -> None:
        """Do nothing."""


def _no_such_range(headers: Any) -> Answer:
    """Return an empty answer for status 416: the file ends at the offset or is shorter."""
    found = re.match(r"bytes \*/(\d+)$", headers.get("Content-Range") or "")
    total = int(found[1]) if found else None
    return Answer(_EmptyStream(), -1 if total is None else total, total)


def _refusal(source: Source, error: urllib.error.HTTPError) -> Exception:
    code = error.code
    if code in PASSING:
        busy = "asks to wait" if code == 429 else f"answers HTTP {code}"
        return ConnectionDropped(f"the server {busy}", _seconds(error.headers.get("Retry-After")))
    if code in (401, 403):
        return Img2VidError(_access_hint(source, code))
    if code in (404, 410):
        return Img2VidError(f"{source.url} was not found (HTTP {code}); choose another source with --from, or a mirror")
    return Img2VidError(f"cannot download {source.url} (HTTP {code}); try another source with --from")


def _access_hint(source: Source, code: int) -> str:
    """Return the error message for a denied download, with the steps that grant access."""
    if not source.page:
        return f"{source.url} is not public (HTTP {code}); add --token, which asks for one, or choose another source"
    if source.token is None:
        return (
            f"access to {source.name} requires accepting its license: sign in, open {source.page} and agree. "
            f"Then create a token of type Read at {HUB}/settings/tokens, and set it as HF_TOKEN, enter it after adding "
            "--token, or use the Token field of the Models page"
        )
    if code == 401:
        return (
            f"{source.name} rejected the token; create one of type Read at {HUB}/settings/tokens, and copy all of it, "
            "including hf_"
        )
    return (
        f"the token's account has no access to {source.name} yet: open {source.page} with that account and agree to "
        "the license. Start the download again once the page says that access is granted"
    )


def _seconds(text: str | None) -> float | None:
    """Parse Retry-After, which is in seconds or a date."""
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
            f"the certificate of {source.name} is not trusted ({inner.verify_message}); if a proxy or virus scanner "
            "intercepts connections, install its certificate"
        )
    return ConnectionDropped(f"no connection to {source.name} ({_reason(error)})")


def _reason(error: Exception) -> str:
    inner: Any = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError):
        return "timed out"
    words = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return " ".join(str(words).split())
