"""Addresses and ports of the dashboard and the API."""

import errno
import socket

from img2vid.errors import BadInput
from img2vid.files import reason

HERE = ("localhost", "127.0.0.1")
EVERYWHERE = ("0.0.0.0", "::")
PORTS = 100
"""Number of ports to try, unless one was chosen."""


def network_address() -> str:
    """Return this computer's address in its network. Raise BadInput if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation; sends nothing
            return probe.getsockname()[0]
        except OSError as error:
            raise BadInput(
                "this computer's address in its network was not found; add it, as in --share 192.168.1.5"
            ) from error


def listen(address: str, first: int, *, chosen: bool) -> socket.socket:
    """Listen on an address at port `first`, or unless it was chosen by the user, on the first free one from there on.

    Raise BadInput if the address or the port cannot be used.
    """
    for port in range(first, min(first + (1 if chosen else PORTS), 65536)):
        try:
            family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
            everywhere = address == "::" and socket.has_dualstack_ipv6()
            return socket.create_server((address, port), family=family, backlog=2048, dualstack_ipv6=everywhere)
        except (OSError, UnicodeError) as error:
            if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise BadInput(
                f"{address!r} is not an address of this computer ({reason(error)}); give one, as in --share 192.168.1.5"
            ) from error
    raise BadInput(f"port {first} is not free; choose another one with --port")


def own_names(bound: str, listener: socket.socket) -> set[str]:
    """Return the names under which other computers may address a shared listener."""
    own = socket.gethostname().lower()
    return {bound.lower(), listener.getsockname()[0], own, f"{own}.local"}


def shown_host(bound: str) -> str:
    """Return the host of a shared listener as a part of an address."""
    host = network_address() if bound in EVERYWHERE else bound
    return f"[{host}]" if ":" in host else host
