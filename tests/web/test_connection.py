"""Options of the sockets of connections."""

import asyncio
import socket

import uvicorn
from uvicorn.server import ServerState

from img2vid.web.connection import Connection
from img2vid.web.listening import listen


def test_a_response_is_sent_without_delay() -> None:
    """The body must not wait for the acknowledgment of the headers."""

    async def connect() -> int:
        made: list[Connection] = []

        def protocol() -> Connection:
            made.append(Connection(uvicorn.Config(lambda: None, log_level="critical"), ServerState(), {}))
            return made[0]

        with listen("127.0.0.1", 8700, chosen=False) as listener:
            server = await asyncio.get_running_loop().create_server(protocol, sock=listener)
            async with server:
                _, writer = await asyncio.open_connection(*listener.getsockname())
                while not made or made[0].transport is None:
                    await asyncio.sleep(0)
                link = made[0].transport.get_extra_info("socket")
                writer.close()
                return link.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert asyncio.run(asyncio.wait_for(connect(), 60)) != 0
