"""Videos of the gallery by number, beside the pages."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fake_service import FakeService

from img2vid.gallery.entries import Entries
from img2vid.options import LoadOptions
from img2vid.settings_validation import make_settings
from img2vid.ui.clip_route import ClipRoute


def answer(path: str, kind: str = "http", headers: list[tuple[bytes, bytes]] | None = None) -> tuple[int, bytes]:
    """Return status and body; the application behind answers with 299."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()  # the client stays
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "GET", "path": path, "headers": headers or []}
    asyncio.run(ClipRoute(app)(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


@pytest.fixture
def video(service: FakeService) -> tuple[int, Path]:
    """Return the number and the file of a video."""
    job = service.submit([(make_settings({}), LoadOptions())], b"a picture", "dogs", ".png")[0]
    service.finishes(job)
    (entry,) = Entries(service.store).find()
    return entry.number, entry.result.video


def test_a_video_is_sent_whole_or_in_part(video: tuple[int, Path]) -> None:
    number, path = video
    assert answer(f"/clip/{number}") == (200, path.read_bytes())
    assert answer(f"/base/clip/{number}", headers=[(b"range", b"bytes=0-9")]) == (206, path.read_bytes()[:10])


def test_missing_videos_are_not_found(video: tuple[int, Path]) -> None:
    number, path = video
    assert answer(f"/clip/{number + 1}")[0] == 404
    path.unlink()
    assert answer(f"/clip/{number}")[0] == 404


@pytest.mark.parametrize("path", ["/", "/clip/", "/clip/1/x", "/clip/-1", "/clip/..%2f1", f"/clip/{'9' * 19}"])
def test_other_addresses_reach_the_pages(service: FakeService, path: str) -> None:
    assert answer(path)[0] == 299
    assert answer("/clip/1", kind="websocket")[0] == 299
