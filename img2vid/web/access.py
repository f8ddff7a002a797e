"""Access control of the dashboard and of the API: which requests reach the application.

An ASGI layer around the whole application, so it covers pages, media, downloads, uploads, component files and the
websocket alike. Refused browsers get a plain page that says why, refused programs a JSON object.
"""

import html
import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN = "token"
"""Query parameter that carries the token on the first visit."""
SHOWN = 100
"""Maximum number of characters of a request's host or origin that a refusal quotes."""
CLOSED = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
)
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>img2vid</title>
<style>:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.5 sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem }}</style>
<h1>img2vid</h1><p>{text}</p></html>
"""


@dataclass(frozen=True)
class Rules:
    """Conditions that a request must meet.

    hosts: names and addresses under which the dashboard may be opened; `*` matches anything. origins: further origins,
    for proxies. token: secret of a shared dashboard, or None to serve this computer only. any_address: accept every
    numeric address as host; DNS rebinding needs a name. secure: the dashboard uses TLS.
    """

    hosts: frozenset[str]
    port: int
    origins: frozenset[str] = frozenset()
    token: str | None = None
    any_address: bool = False
    secure: bool = False

    @property
    def cookie(self) -> str:
        """Name of the cookie with the token. Browsers send cookies to all ports of a host."""
        return f"img2vid_{self.port}"

    def allows_host(self, host: str) -> bool:
        """Return whether a Host header names this dashboard; the port is ignored because tunnels change it."""
        try:
            parts = urlsplit(f"//{host}")
            name = (parts.hostname or "").rstrip(".")
            _ = parts.port
        except ValueError:
            return False
        if not name or parts.netloc != host or "@" in host:
            return False
        if self.any_address:
            with suppress(ValueError):
                ip_address(name)
                return True
        return any(fnmatchcase(name, pattern) for pattern in self.hosts)

    def is_token(self, text: str) -> bool:
        """Compare with the token in constant time."""
        return self.token is not None and secrets.compare_digest(text.encode(), self.token.encode())


class AccessControl:
    """ASGI application that passes on the requests that `rules` allow."""

    opened = "This page was opened"
    command = "dashboard"
    needs_token = (
        "This dashboard is shared with a token. Open the full address that img2vid prints in its terminal; "
        f"it ends in ?{TOKEN}= and a long code."
    )

    def __init__(self, app: Application, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        refusal = self._wrong_place(scope, headers)
        if refusal is None and scope["type"] == "http" and (clean := self._first_visit(scope)) is not None:
            await self._redirect(clean, send)
            return
        if refusal is None and self._rules.token is not None and not self.has_token(headers):
            refusal = self.needs_token
        if refusal is not None:
            await self.refuse(scope, refusal, send)
            return
        await self._app(scope, receive, _closed_to_others(send))

    def _wrong_place(self, scope: Scope, headers: dict[str, list[str]]) -> str | None:
        """Return why a request comes from the wrong computer, name or website, or None."""
        rules = self._rules
        hosts = headers.get("host", [])
        # An unknown proxy that replaces Host names the browser's address here, and the websocket would be refused.
        forwarded = [] if rules.origins else headers.get("x-forwarded-host", [])
        named = [*hosts, *(name.strip() for line in forwarded for name in line.split(","))]
        foreign = next((name for name in named if not rules.allows_host(name)), None)
        if len(hosts) != 1 or foreign is not None or (rules.token is None and not _is_local(scope.get("client"))):
            opened = "from another computer" if foreign is None else f"as {foreign[:SHOWN]}"
            if rules.token is not None:
                return f"{self.opened} {opened}. Open the address that img2vid prints in its terminal."
            return (
                f"{self.opened} {opened}, but img2vid answers only to its own computer, at "
                f"http://localhost:{rules.port}. To open it to your network, stop img2vid and start it with: "
                f"python3 scripts/run.py {self.command} --share"
            )
        for origin in headers.get("origin", []):
            if origin not in {f"http://{hosts[0]}", f"https://{hosts[0]}", *rules.origins}:
                return f"Another website, {origin[:SHOWN]}, sent this request. Open img2vid at the address it prints."
        return None

    def _first_visit(self, scope: Scope) -> str | None:
        """Return the address without the token if the query has the right one, else None."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] not in ("GET", "HEAD") or not any(
            name == TOKEN and self._rules.is_token(value) for name, value in query
        ):
            return None
        # One slash: two would lead to another host.
        path = "/" + scope["raw_path"].decode("latin-1").lstrip("/\\")
        rest = urlencode([(name, value) for name, value in query if name != TOKEN])
        return f"{path}?{rest}" if rest else path

    async def _redirect(self, location: str, send: Send) -> None:
        secure = "; Secure" if self._rules.secure else ""
        cookie = f"{self._rules.cookie}={self._rules.token}; Path=/; HttpOnly; SameSite=Lax{secure}"
        await _respond(HTTPStatus.SEE_OTHER, "", send, {"Location": location, "Set-Cookie": cookie})

    def has_token(self, headers: dict[str, list[str]]) -> bool:
        """Return whether a cookie of the request has the token."""
        pairs = (pair.strip().partition("=") for line in headers.get("cookie", []) for pair in line.split(";"))
        # Compare all, so that the time does not depend on which one is right.
        return any([self._rules.is_token(value) for name, _, value in pairs if name == self._rules.cookie])

    async def refuse(self, scope: Scope, text: str, send: Send) -> None:
        """Answer a request that `rules` forbid."""
        await _refuse(scope, text, send)


class ApiAccess(AccessControl):
    """Access control of the API: the token is in the Authorization header, which browsers do not send by themselves."""

    opened = "This server was addressed"
    command = "serve"
    needs_token = (
        "This server is shared with a token. Send the header Authorization: Bearer TOKEN, with the one that img2vid "
        "prints in its terminal."
    )

    def has_token(self, headers: dict[str, list[str]]) -> bool:
        """Return whether the Authorization header has the token."""
        given = headers.get("authorization", [])
        kind, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        return kind.casefold() == "bearer" and self._rules.is_token(token.strip())

    def _first_visit(self, scope: Scope) -> str | None:
        return None

    async def refuse(self, scope: Scope, text: str, send: Send) -> None:
        """Answer with a JSON object like the API's other errors."""
        body = "" if scope["type"] != "http" or scope["method"] == "HEAD" else json.dumps({"detail": text})
        await _respond(HTTPStatus.FORBIDDEN, body, send, {"Content-Type": "application/json"})


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _is_local(client: tuple[str, int] | None) -> bool:
    if client is None:
        return False
    address = ip_address(client[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _closed_to_others(send: Send) -> Send:
    """Forbid other websites, also on other ports of this host, to show the page or its videos."""

    async def add_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *CLOSED]
        await send(message)

    return add_headers


async def _refuse(scope: Scope, text: str, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    page = PAGE.format(text=html.escape(text))
    policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
    await _respond(HTTPStatus.FORBIDDEN, "" if scope["method"] == "HEAD" else page, send, policy)


async def _respond(status: HTTPStatus, text: str, send: Send, headers: dict[str, str]) -> None:
    body = text.encode()
    everywhere = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        # Also ends requests whose body is still being sent.
        "Connection": "close",
    }
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in {**everywhere, **headers}.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": pairs})
    await send({"type": "http.response.body", "body": body})
