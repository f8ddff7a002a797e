"""The dashboard's server as a process: who gets in, with and without a token, and who does not."""

import asyncio
import base64
import http.client
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import uvicorn
from distributed import Security
from processes import IN_OWN_GROUP, interrupt
from uvicorn.server import ServerState

from img2vid import paths
from img2vid.errors import BadInput
from img2vid.ui.server import answer_impossible_name
from img2vid.web import connection
from img2vid.web.access import Rules
from img2vid.web.listening import network_address

PAGES = ("/", "/gallery", "/favicon.png", "/static/js/index.js", "/_stcore/health", "/_stcore/host-config")
FILES = ("/media/0123abcd.mp4", "/component/player/player.js", "/_stcore/bidi-components/player/player.js")
EVIL = "http://evil.example"


@dataclass
class Server:
    """Running dashboard. `address` is the printed one."""

    process: "subprocess.Popen[str]"
    address: str

    @property
    def host(self) -> str:
        return urlsplit(self.address).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    @property
    def token(self) -> str:
        return dict(parse_qsl(urlsplit(self.address).query)).get("token", "")

    @property
    def cookie(self) -> str:
        return f"img2vid_{self.port}={self.token}"

    def ask(
        self, target: str = "/", method: str = "GET", body: bytes = b"", peer: str = "", **headers: str
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """Return status, headers and body of a response. `peer` is the address to connect to."""
        link = http.client.HTTPConnection(peer or self.host, self.port, timeout=60)
        link.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in ({"Host": f"{self.host}:{self.port}"} | headers).items():
            link.putheader(name.replace("_", "-"), value)
        link.putheader("Content-Length", str(len(body)))
        link.endheaders(body)
        answer = link.getresponse()
        text = answer.read().decode("utf-8", "replace")
        link.close()
        return answer.status, answer.headers, text

    def websocket(self, **headers: str) -> int:
        """Return the status of a websocket handshake; 101 means that it was accepted."""
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": key}
        upgrade |= {"Sec_WebSocket_Version": "13", "Sec_WebSocket_Protocol": "streamlit"}
        with socket.create_connection((self.host, self.port), timeout=60) as link:
            lines = {"Host": f"{self.host}:{self.port}"} | upgrade | headers
            text = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
            link.sendall(f"GET /_stcore/stream HTTP/1.1\r\n{text}\r\n".encode())
            return int(link.recv(4096).split()[1])


def start(home: Path, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    own = {name: value for name, value in os.environ.items() if not name.startswith(("IMG2VID_", "STREAMLIT_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "img2vid", "dashboard", *arguments],
        env=own | {"IMG2VID_HOME": str(home), "STREAMLIT_SERVER_HEADLESS": "true", **variables},
        cwd=paths.PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **IN_OWN_GROUP,
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def printed_address(process: "subprocess.Popen[str]") -> str:
    """Return the address that the dashboard prints; older releases of Streamlit log warnings before it."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if found := re.search(r"^img2vid is .* at (https?://\S+)", line):
            return found[1]
    raise AssertionError("".join(lines))


def running(home: Path, *arguments: str, **variables: str) -> Iterator[Server]:
    process = start(home, "--port", str(free_port()), *arguments, **variables)
    try:
        yield Server(process, printed_address(process))
    finally:
        process.terminate()
        assert process.wait(timeout=60) == (1 if os.name == "nt" else 0)  # Windows has no SIGTERM
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(tmp_path_factory.mktemp("shared"), "--share", "127.0.0.1")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Dashboard that is not shared, but listens on every address."""
    yield from running(tmp_path_factory.mktemp("own"), STREAMLIT_SERVER_ADDRESS="0.0.0.0")


# With a token


def test_the_token_opens_everything_and_leaves_the_address(shared: Server) -> None:
    assert len(shared.token) >= 43, "256 bits"
    status, headers, text = shared.ask(f"/gallery?tab=abc&token={shared.token}&x=%26")
    assert (status, headers["Location"], text) == (303, "/gallery?tab=abc&x=%26", "")
    assert headers["Set-Cookie"] == f"{shared.cookie}; Path=/; HttpOnly; SameSite=Lax"
    assert headers["Cache-Control"] == "no-store"
    status, headers, text = shared.ask("/gallery", Cookie=f"other=1; {shared.cookie}")
    assert (status, headers["X-Frame-Options"]) == (200, "SAMEORIGIN")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "<script" in text
    origin = f"http://{shared.host}:{shared.port}"
    assert shared.websocket(Cookie=shared.cookie, Origin=origin) == 101
    assert shared.websocket(Cookie=shared.cookie) == 101, "programs without an Origin have the cookie themselves"


def test_polling_does_not_collect_all_garbage() -> None:
    """Regression: Streamlit's collection after each run blocked all threads, so that ten tabs starved the server."""
    assert "postScriptGC = false\n" in (paths.PROJECT / ".streamlit" / "config.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", [*PAGES, *FILES])
def test_nothing_is_served_without_the_token(shared: Server, target: str) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        status, headers, text = shared.ask(target, method)
        assert (status, headers["Connection"], headers["Set-Cookie"]) == (403, "close", None)
        assert ("shared with a token" in text and shared.token not in text) or method == "HEAD"


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_uploads_need_the_token_and_the_xsrf_cookie(shared: Server, method: str) -> None:
    target = "/_stcore/upload_file/session/file"
    assert shared.ask(target, method, b"x")[0] == 403
    assert shared.ask(f"{target}?token={shared.token}", method, b"x")[0] == 403, "only a visit may carry the token"
    if method != "POST":
        # Refused by Streamlit, which serves the request.
        assert "XSRF" in shared.ask(target, method, b"x", Cookie=shared.cookie)[2]


def test_wrong_tokens_and_other_places_for_it_are_refused(shared: Server) -> None:
    token = shared.token
    wrong = (
        "",
        "x",
        token[:-1],
        f"{token}x",
        token.swapcase(),
        f"{token}%00",
        f"%20{token}",
        quote("\N{SNOWMAN}" * 43),
    )
    for value in wrong:
        assert shared.ask(f"/?token={value}")[0] == 403
        name = shared.cookie.partition("=")[0]
        assert shared.ask(Cookie=f"{name}={value}")[0] == 403
    for target in (f"/?TOKEN={token}", f"/?token[]={token}", f"/{token}", f"/;token={token}", f"/?a=?token={token}"):
        assert shared.ask(target)[0] == 403
    for headers in ({"Authorization": f"Bearer {token}"}, {"X_Token": token}, {"Cookie": f"token={token}"}):
        assert shared.ask("/", "GET", b"", **headers)[0] == 403
    assert shared.ask(f"/?token=x&token={token}")[0] == 303, "the same token, after a wrong one"


def test_the_token_leads_to_no_other_website(shared: Server) -> None:
    for path in ("//evil.example", "/%5C/evil.example", "///evil.example/%2e%2e", "/\\evil.example"):
        status, headers, _ = shared.ask(f"{path}?token={shared.token}")
        assert status == 303
        assert re.match(r"/[^/\\]", headers["Location"]), headers["Location"]


def test_paths_do_not_lead_out_of_the_served_folders(shared: Server) -> None:
    for root in ("", "/static", "/media", "/component/x", "/_stcore/bidi-components/x", "/app/static"):
        for way in ("../" * 12, "%2e%2e/" * 12, "..%2f" * 12, "..\\" * 12, "/", "%00/", "....//" * 12):
            status, _, text = shared.ask(f"{root}/{way}etc/passwd", Cookie=shared.cookie)
            assert "root:" not in text
            assert "<script" in text or status in (400, 403, 404)


@pytest.mark.parametrize("name", ["a%3Fb", "a%2Ab", "%3C", "a%7Cb", "x" * 300])
def test_files_with_names_that_windows_forbids_are_not_found(shared: Server, name: str) -> None:
    for target in (f"/{name}", f"/static/{name}", f"/media/{name}", f"/component/x/{name}", f"/app/static/{name}"):
        status, _, text = shared.ask(target, Cookie=shared.cookie)
        assert "<script" in text or status == 404, target


def test_only_errors_about_names_become_answers() -> None:
    error = OSError("Invalid name")
    request: Any = None
    with pytest.raises(OSError, match="Invalid name"):
        answer_impossible_name(request, error)
    error.winerror = 123  # type: ignore[attr-defined]
    assert answer_impossible_name(request, error).status_code == 404


def test_other_websites_and_names_are_refused_even_with_the_token(shared: Server) -> None:
    cookie = shared.cookie
    own = f"{shared.host}:{shared.port}"
    origins = (
        EVIL,
        "null",
        "",
        "http://[",
        f"http://{shared.host}",
        f"http://{own}.evil.example",
        f"http://a@{own}",
        own,
    )
    for origin in origins:
        assert shared.websocket(Cookie=cookie, Origin=origin) == 403
        assert shared.ask("/media/x.mp4", Cookie=cookie, Origin=origin)[0] == 403
    for host in (
        "evil.example",
        f"evil.example:{shared.port}",
        f"{shared.host}.evil.example",
        f"{shared.host}@evil.example",
        "",
        "127.0.0.1:x",
        "[::1",
        "0x7f.1",
        "127.1",
        "2130706433",
        "evil.example/127.0.0.1",
    ):
        assert shared.websocket(Cookie=cookie, Host=host) in (400, 403)
        status, _, text = shared.ask(f"/?token={shared.token}", Host=host)
        assert status in (400, 403)
        assert shared.token not in text
    assert shared.ask(Cookie=cookie, X_Forwarded_Host="evil.example")[0] == 403
    assert shared.ask(Cookie=cookie, Host=f"localhost:{shared.port}")[0] == 200


def test_a_refusal_quotes_a_request_safely(shared: Server) -> None:
    status, headers, text = shared.ask(Cookie=shared.cookie, Origin="http://<script>alert(1)</script>" + "x" * 5000)
    assert status == 403
    assert "&lt;script&gt;" in text and "<script" not in text and len(text) < 1500
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_websockets_need_the_cookie(shared: Server) -> None:
    origin = f"http://{shared.host}:{shared.port}"
    assert shared.websocket(Origin=origin) == 403
    assert shared.websocket(Origin=origin, Cookie=f"{shared.cookie}x") == 403
    assert shared.websocket(Origin=origin, Authorization=f"Bearer {shared.token}") == 403


def test_silent_connections_do_not_keep_others_out(shared: Server) -> None:
    links: list[socket.socket] = []
    try:
        for number in range(connection.MOST_SILENT + 100):
            links.append(socket.create_connection((shared.host, shared.port), timeout=60))
            links[-1].sendall(b"" if number % 2 else b"GET / HTTP/1.1\r\nHost: ")
        assert shared.ask("/_stcore/health", Cookie=shared.cookie)[0] == 200
        for link in links[:50]:
            with suppress(ConnectionResetError):
                assert link.recv(1) == b"", "the oldest are closed"
        # A body that never comes does not keep a refused connection open.
        with socket.create_connection((shared.host, shared.port), timeout=60) as link:
            link.sendall(f"PUT / HTTP/1.1\r\nHost: {shared.host}\r\nContent-Length: 999999\r\n\r\nx".encode())
            text = b""
            while part := link.recv(65536):
                text += part
            assert text.startswith(b"HTTP/1.1 403")
    finally:
        for link in links:
            link.close()


def test_websocket_requests_that_cannot_be_parsed_are_closed(shared: Server) -> None:
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    for extra in ("Content-Length: 9\r\n", "Transfer-Encoding: chunked\r\n", f"X: {'x' * 20000}\r\n", "X: 1\r\n" * 300):
        with socket.create_connection((shared.host, shared.port), timeout=20) as link:
            link.sendall(f"GET / HTTP/1.1\r\nHost: {shared.host}\r\n{upgrade}{extra}\r\n".encode())
            with suppress(ConnectionResetError):
                assert link.recv(1) == b"", extra[:20]


def test_a_connection_without_a_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_REQUEST_SECONDS", 0.05)

    async def wait_for_the_end() -> bytes:
        config = uvicorn.Config(lambda: None, log_level="critical")
        server = await asyncio.get_running_loop().create_server(
            lambda: connection.Connection(config, ServerState(), {}), "127.0.0.1", 0
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

    assert asyncio.run(asyncio.wait_for(wait_for_the_end(), 60)) == b""
    assert not connection.Connection.silent


def test_a_certificate_encrypts_the_shared_page(tmp_path: Path) -> None:
    security: Any = Security.temporary()
    (tmp_path / "cert.pem").write_text(security.tls_ca_file, encoding="utf-8")
    (tmp_path / "key.pem").write_text(security.tls_client_key, encoding="utf-8")
    files = {f"STREAMLIT_SERVER_SSL_{name.upper()}_FILE": str(tmp_path / f"{name}.pem") for name in ("cert", "key")}
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    trusting.check_hostname = False
    for server in running(tmp_path, "--share", "127.0.0.1", **files):
        assert server.address.startswith("https://")
        link = http.client.HTTPSConnection(server.host, server.port, timeout=60, context=trusting)
        link.request("GET", f"/?token={server.token}")
        answer = link.getresponse()
        assert answer.status == 303
        assert answer.headers["Set-Cookie"] == f"{server.cookie}; Path=/; HttpOnly; SameSite=Lax; Secure"
        link.close()


# Without a token


def test_this_computer_needs_no_token(own: Server) -> None:
    assert own.address == f"http://localhost:{own.port}"
    for host in ("localhost", "127.0.0.1", f"LOCALHOST:{own.port}"):
        status, _, text = own.ask(peer="127.0.0.1", Host=host)
        assert status == 200
        assert "<script" in text
    assert own.websocket(Origin=own.address) == 101
    assert own.websocket(Origin=EVIL) == 403
    assert own.websocket(Origin=f"http://localhost:{own.port + 1}") == 403, "another program's page"
    assert own.websocket(Host="evil.example", Origin="http://evil.example") == 403


def test_under_another_name_the_page_says_why_it_is_not_shown(own: Server) -> None:
    for headers in ({"Host": f"machine:{own.port}"}, {"X_Forwarded_Host": "machine"}):
        status, headers, text = own.ask("/", "GET", b"", **headers)
        assert status == 403
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert "opened as machine" in text
        assert f"http://localhost:{own.port}" in text
        assert "dashboard --share" in text
    status, _, text = own.ask(Origin=EVIL)
    assert status == 403
    assert f"Another website, {EVIL}, sent this request" in text


def test_other_computers_are_refused_whatever_name_they_give(own: Server) -> None:
    try:
        peer = network_address()
    except BadInput:
        pytest.skip("this computer has no network")
    status, _, text = own.ask(peer=peer)
    assert status == 403
    assert "opened from another computer" in text
    assert own.ask(peer=peer, Host=f"{peer}:{own.port}")[0] == 403


# Starting and stopping


def test_ctrl_c_stops_it_while_a_page_is_open(tmp_path: Path) -> None:
    process = start(tmp_path, "--port", str(free_port()))
    server = Server(process, printed_address(process))
    with socket.create_connection((server.host, server.port), timeout=60) as silent:
        assert server.ask("/_stcore/health")[0] == 200
        interrupt(process)
        assert process.wait(timeout=60) == 0
        silent.close()
    assert process.stdout is not None
    assert process.stdout.read() == ""
    process.stdout.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--share", "198.51.100.7"), "'198.51.100.7' is not an address of this computer"),
        (("--share", "no such name"), "'no such name' is not an address of this computer"),
        (("--share", "127.0.0.1", "--allow-folder", "/no/such"), "the allowed folder '/no/such' does not exist"),
        (("--allow-folder", "."), "--allow-folder limits a shared dashboard"),
        (("--port", "0"), "must be a number from 1 to 65535, got '0'"),
    ],
)
def test_what_cannot_be_shared_is_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    process = start(tmp_path, *arguments)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said in text.splitlines()[-1]
    assert "Traceback" not in text


def test_a_port_in_use_is_said_and_a_default_one_is_replaced(tmp_path: Path, own: Server) -> None:
    process = start(tmp_path, STREAMLIT_SERVER_PORT=str(own.port), STREAMLIT_SERVER_ADDRESS="0.0.0.0")
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert text.endswith(f"img2vid: port {own.port} is not free; choose another one with --port\n")


def test_the_printed_address_has_the_path_of_streamlits_option(tmp_path: Path) -> None:
    for server in running(tmp_path, "--share", "127.0.0.1", STREAMLIT_SERVER_BASE_URL_PATH="/videos"):
        assert server.address.startswith(f"http://{server.host}:{server.port}/videos/?token=")
        assert server.ask(f"/videos/?token={server.token}")[1]["Location"] == "/videos/"
        assert server.ask("/videos/", Cookie=server.cookie)[0] == 200


def test_every_numeric_address_is_a_host_of_a_dashboard_on_all_addresses() -> None:
    """DNS rebinding needs a name."""
    rules = Rules(frozenset({"machine", "*.lan"}), 8501, token="t", any_address=True)
    good = ("192.168.1.5:8501", "[fe80::1]:8501", "machine", "MACHINE:80", "a.lan", "10.0.0.1")
    bad = ("evil.example", "192.168.1.5.evil.example", "lan", "a@machine", "machine/", "", "[::1", "machine:99999999")
    assert [host for host in good if not rules.allows_host(host)] == []
    assert [host for host in bad if rules.allows_host(host)] == []
