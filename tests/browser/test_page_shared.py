"""The shared dashboard in a browser: a visit with the token, without it, and from another website."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import psutil
import pytest
from dashboard import Dashboard
from playwright.sync_api import Browser, expect
from visitor import SMALL, Visit

from img2vid.media.videos import read_frames, read_metadata


@pytest.fixture(scope="module")
def dashboard(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folders = (tmp_path_factory.mktemp("outputs"), tmp_path_factory.mktemp("checkpoints"))
    dashboard = Dashboard(*folders, "--share", "127.0.0.1", "--allow-folder", str(tmp_path_factory.mktemp("allowed")))
    try:
        dashboard.start()
        yield dashboard
    finally:
        dashboard.stop()
    assert "Traceback" not in dashboard.messages()


ATTACK = """
async ([page, video]) => {
    const outcome = (element, source) => new Promise((resolve) => {
        element.onload = element.onloadeddata = () => resolve("shown")
        element.onerror = () => resolve("refused")
        element.src = source
    })
    const socket = new WebSocket(new URL("/_stcore/stream", page).href.replace("http", "ws"), ["streamlit"])
    const connected = new Promise((resolve) => {
        socket.onopen = () => resolve("connected")
        socket.onerror = () => resolve("refused")
    })
    return [
        await connected,
        await outcome(document.createElement("video"), video),
        await outcome(new Image(), new URL("/favicon.png", page).href),
        await fetch(video, {credentials: "include"}).then(() => "read", () => "refused"),
        await fetch(page, {credentials: "include", method: "PUT"}).then(() => "sent", () => "refused"),
    ]
}
"""


class EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,>")

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def other_website() -> Iterator[str]:
    """Return the address of a page on another port of the same host, to which browsers send the same cookies."""
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def status(address: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_guest_makes_and_downloads_a_video_and_others_cannot(
    visit: Visit, dashboard: Dashboard, browser: Browser, other_website: str, tmp_path: Path
) -> None:
    guest = visit().ready_with({**SMALL, "seed": 5})
    assert "token" not in guest.page.url
    cookies = [cookie for cookie in guest.page.context.cookies() if cookie.get("name", "").startswith("img2vid_")]
    assert [(cookie.get("httpOnly"), cookie.get("sameSite")) for cookie in cookies] == [(True, "Lax")]
    guest.press("Sample")
    guest.wait_for_result(5)
    guest.played()
    guest.download("MP4").save_as(tmp_path / "video.mp4")
    assert len(read_frames(tmp_path / "video.mp4")) == SMALL["T"]
    assert read_metadata(tmp_path / "video.mp4")["settings"]["seed"] == 5

    page = f"http://127.0.0.1:{dashboard.port}/"
    video = urljoin(page, guest.video.get_attribute("src") or "")
    cookie = f"{cookies[0].get('name')}={cookies[0].get('value')}"
    assert status(video) == 403
    assert status(video, Cookie=cookie) == 200
    assert status(video, Cookie=cookie, Range="bytes=10-19") == 206

    folder = guest.page.get_by_role("textbox", name="Save path")
    folder.fill("/etc")
    folder.press("Enter")
    guest.wait_for("'/etc' is outside the folders of this shared dashboard; choose a folder in")

    # A browser with the same cookies on another website.
    attacked = browser.new_page(storage_state=guest.page.context.storage_state())
    attacked.goto(other_website)
    assert attacked.evaluate(ATTACK, [page, video]) == ["refused"] * 5
    attacked.close()

    # Another browser.
    stranger = browser.new_page()
    seen: list[str] = []
    stranger.on("request", lambda request: seen.append(urlsplit(request.url).path))
    for address in (page, urljoin(page, urlsplit(guest.page.url).path), f"{page}?token=wrong", video):
        stranger.goto(address)
        expect(stranger.get_by_text("This dashboard is shared with a token.")).to_be_visible()
    assert not [path for path in seen if path.startswith(("/static", "/_stcore"))]
    stranger.close()


def test_only_the_dashboards_port_answers_without_a_certificate(visit: Visit, dashboard: Dashboard) -> None:
    visit()
    worker = dashboard.worker()
    cluster = worker.parent()
    assert cluster is not None
    server = cluster.parent()
    assert server is not None
    for process in (server, cluster, worker):
        ports = [link.laddr for link in process.net_connections(kind="inet") if link.status == psutil.CONN_LISTEN]
        assert all(address.ip == "127.0.0.1" for address in ports)
        assert [address.port for address in ports if process == server] in ([], [dashboard.port])
