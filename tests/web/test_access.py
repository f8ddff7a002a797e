"""Access control as a function of the request: no request without the token reaches the application."""

from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from img2vid.web.access import AccessControl, Rules

TOKEN = "SrB0" * 12
RULES = Rules(frozenset({"localhost"}), 8501, token=TOKEN)
COOKIE = f"img2vid_8501={TOKEN}"
PIECES = [
    "token",
    "=",
    "&",
    ";",
    "img2vid_8501",
    TOKEN[:-1],
    TOKEN.lower(),
    "%00",
    "%",
    "//",
    "..",
    "localhost",
    "http://",
]
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join)
NAMES = st.sampled_from(["cookie", "host", "origin", "authorization", "x-forwarded-host", "x-token", "upgrade"])
HEADERS = st.lists(st.tuples(NAMES, TEXT | st.just("localhost")), max_size=5)


def statuses(kind: str, method: str, path: str, query: str, headers: list[tuple[str, str]]) -> list[int]:
    """Return the status of the response; 200 if the application was called, 1008 if a websocket was refused."""
    sent: list[int] = []

    async def application(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        sent.append(200)

    async def receive() -> MutableMapping[str, Any]:
        return {}

    async def send(message: MutableMapping[str, Any]) -> None:
        if "body" not in message:
            sent.append(message.get("status") or message["code"])

    scope: dict[str, Any] = {
        "type": kind,
        "method": method,
        "raw_path": path.encode("ascii", "replace"),
        "query_string": query.encode("ascii", "replace"),
        "headers": [(name.encode(), value.encode("utf-8")) for name, value in headers],
        "client": ("127.0.0.1", 40000),
    }
    with suppress(StopIteration):  # nothing here waits, so one step runs all
        AccessControl(application, RULES)(scope, receive, send).send(None)
    return sent


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["http", "websocket"]), st.sampled_from(["GET", "HEAD", "PUT"]), TEXT, TEXT, HEADERS)
@example("websocket", "GET", "/_stcore/stream", f"token={TOKEN}", [("host", "localhost")])
@example("http", "PUT", "/", f"token={TOKEN}", [("host", "localhost")])
@example("http", "GET", "/", "", [("host", "localhost"), ("cookie", COOKIE), ("origin", "http://[")])
@example("http", "GET", "/", "", [("host", "localhost"), ("host", "localhost"), ("cookie", COOKIE)])
@example("http", "GET", "/", "", [("cookie", COOKIE)])
def test_no_request_without_the_token_is_served(
    kind: str, method: str, path: str, query: str, headers: list[tuple[str, str]]
) -> None:
    assert statuses(kind, method, f"/{path}", query, headers) == [1008 if kind == "websocket" else 403]


def test_requests_with_the_token_are_served() -> None:
    """Else the test above could not fail."""
    host = ("host", "localhost:8501")
    assert statuses("http", "GET", "/", f"token={TOKEN}", [host]) == [303]
    for kind in ("http", "websocket"):
        assert statuses(kind, "GET", "/", "", [host, ("cookie", f"a=b; {COOKIE}")]) == [200]
        assert statuses(kind, "GET", "/", "", [host, ("cookie", COOKIE), ("origin", "http://localhost:8501")]) == [200]
