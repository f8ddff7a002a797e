"""Uvicorn's options, and HTTP connections with limits on clients that send nothing."""

import asyncio
import socket
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

FIRST_REQUEST_SECONDS = 20.0
"""Time in seconds for a new connection to send its first request."""
GRACE_SECONDS = 3
"""Time in seconds for open requests to finish after Ctrl-C."""
MOST_SILENT = 200
"""Maximum number of connections without a request; far below the number of files that a process may open."""


class Connection(H11Protocol):
    """Connection that is closed if its first request is late, or if too many newer connections wait too.

    Uvicorn has no such limits, and each open connection takes a file of the process that saves the videos.
    """

    silent: ClassVar[dict["Connection", asyncio.TimerHandle]] = {}
    """Connections without a complete request and their timers, oldest first."""

    def connection_made(self, transport: Any) -> None:
        """Start the timer, and close the oldest silent connection if there are too many."""
        super().connection_made(transport)
        # asyncio leaves this out for listeners without a protocol number. Without it, the body of a response waits for
        # the client to acknowledge the headers, about 40 ms.
        link = transport.get_extra_info("socket")
        if link is not None:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.silent) >= MOST_SILENT:
            oldest = next(iter(self.silent))
            oldest._no_longer_silent()  # connection_lost follows later
            oldest.transport.abort()
        self.silent[self] = self.loop.call_later(FIRST_REQUEST_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Stop the timer after the first request."""
        super().data_received(data)
        if self.scope:  # set by the first complete request
            self._no_longer_silent()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Close the connection if the websocket cannot parse the request; Uvicorn would neither answer nor close it."""
        super().handle_websocket_upgrade(event)
        websocket: Any = self.transport.get_protocol()
        if not websocket.handshake_initiated:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._no_longer_silent()
        super().connection_lost(exc)

    def _no_longer_silent(self) -> None:
        timer = self.silent.pop(self, None)
        if timer is not None:
            timer.cancel()


def server_options(app: Any, **options: Any) -> uvicorn.Config:
    """Return Uvicorn's options for the dashboard or the API, with those of its own."""
    return uvicorn.Config(
        app,
        http=Connection,
        log_level="error",
        access_log=False,
        server_header=False,
        # Headers of proxies must not change the address of a client.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **options,
    )
