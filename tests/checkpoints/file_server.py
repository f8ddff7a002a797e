"""Local server of one file with scripted faults: each request gets the next part of a script."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Part = Callable[["Handler"], None]
"""Response to one request."""


def checkpoint_bytes(kilobytes: int = 600) -> bytes:
    """Return a file in checkpoint format: a network with temporal layers and distinct values."""
    unet = "model.diffusion_model."
    values = kilobytes * 512
    rows: dict[str, tuple[list[int], int]] = {
        f"{unet}input_blocks.0.0.weight": ([8, 8, 4, 4], 1024),
        f"{unet}input_blocks.1.0.time_stack.in_layers.2.weight": ([values], values),
    }
    header: dict[str, object] = {}
    end = 0
    for name, (shape, count) in rows.items():
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + 2 * count]}
        end += 2 * count
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes((i * 7 + (i >> 8) * 13) % 251 for i in range(end))


class Handler(BaseHTTPRequestHandler):
    """Handler that responds with the next part of the script, or correctly if it has ended."""

    protocol_version = "HTTP/1.1"
    server: "FileServer"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        part = self.server.script.pop(0) if self.server.script else serve
        with suppress(OSError):  # some tests close the connection early
            part(self)

    def log_message(self, *args: Any) -> None:
        """Do not log."""

    @property
    def asked_from(self) -> int:
        """Return the first requested byte."""
        wanted = self.headers.get("Range")
        return int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0

    def start(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()

    def begin(self) -> bytes:
        """Send the headers of a correct response. Return the body."""
        data, start = self.server.data, self.asked_from
        if start == 0:
            self.start(200, len(data), ETag=self.server.mark)
        else:
            span = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.start(206, len(data) - start, Content_Range=span, ETag=self.server.mark)
        return data[start:]


class FileServer(ThreadingHTTPServer):
    """Server with a `script` of the next responses, and `requests`, the path and headers of previous requests."""

    daemon_threads = True

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = data
        self.mark = '"one"'
        self.script: list[Part] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.gate = threading.Event()
        """Gate that `hold_after` waits for."""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.gate.set()
        self.shutdown()
        self.server_close()

    def ranges(self) -> list[str | None]:
        """Return the requested byte ranges."""
        return [headers.get("range") for _, headers in self.requests]


def serve(handler: Handler) -> None:
    """Respond correctly."""
    data, start = handler.server.data, handler.asked_from
    if start >= len(data) > 0 and start:
        handler.start(416, 0, Content_Range=f"bytes */{len(data)}")
        return
    handler.wfile.write(handler.begin())


def without_ranges(handler: Handler) -> None:
    """Respond with the whole file, ignoring ranges."""
    handler.start(200, len(handler.server.data))
    handler.wfile.write(handler.server.data)


def drop_after(count: int, *, ranges: bool = True) -> Part:
    """Break the connection after that many bytes."""

    def part(handler: Handler) -> None:
        if ranges:
            data = handler.begin()
        else:
            data = handler.server.data
            handler.start(200, len(data))
        handler.wfile.write(data[:count])
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    return part


def hold_after(count: int) -> Part:
    """Send that many bytes, and the rest when the gate opens."""

    def part(handler: Handler) -> None:
        data = handler.begin()
        handler.wfile.write(data[:count])
        handler.wfile.flush()
        handler.server.gate.wait(30)
        handler.wfile.write(data[count:])

    return part


def drip(size: int) -> Part:
    """Send the file in small separate pieces."""

    def part(handler: Handler) -> None:
        handler.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = handler.begin()
        for start in range(0, len(data), size):
            handler.wfile.write(data[start : start + size])
            handler.wfile.flush()

    return part


def status(code: int, **headers: str) -> Part:
    """Respond with only a status code."""
    return lambda handler: handler.start(code, 0, **headers)


def give(data: bytes, *, claimed: int | None = None) -> Part:
    """Send a wrong file. claimed: a wrong Content-Length."""

    def part(handler: Handler) -> None:
        handler.start(200, len(data) if claimed is None else claimed)
        handler.wfile.write(data)

    return part


def redirect(url: str, code: int = 302) -> Part:
    return lambda handler: handler.start(code, 0, Location=url)
