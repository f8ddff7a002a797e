"""Videos of the gallery by number, for cards that play while the pointer is over them.

Streamlit would copy each video of a page into memory, also those that are never played.
"""

import asyncio
import re
from pathlib import Path

from starlette.responses import FileResponse, PlainTextResponse

from img2vid.errors import Img2VidError
from img2vid.gallery.entries import Entries
from img2vid.ui import resources
from img2vid.web.access import Application, Receive, Scope, Send

ADDRESS = re.compile(r"/clip/([0-9]{1,18})\Z")


class ClipRoute:
    """ASGI application that answers `/clip/NUMBER` and passes on all other requests."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        found = ADDRESS.search(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        path = await asyncio.to_thread(_video, int(found[1]))
        answer = PlainTextResponse("no such video", 404) if path is None else FileResponse(path, media_type="video/mp4")
        await answer(scope, receive, send)


def _video(number: int) -> Path | None:
    """Return the file of a video, or None if it does not exist."""
    try:
        path = Entries(resources.open_service().store).entry(number).result.video
    except Img2VidError:
        return None
    return path if path.is_file() else None
