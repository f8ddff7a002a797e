"""Server of the API: address, access control and the job service, in one process."""

import secrets
import signal
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.web.access import ApiAccess, Rules
from img2vid.web.api import create_app
from img2vid.web.connection import server_options
from img2vid.web.listening import EVERYWHERE, HERE, listen, network_address, own_names, shown_host

PORT = 8700


def serve(announce: Callable[[str], None], share: str | None = None, port: int | None = None) -> None:
    """Serve the API until Ctrl-C or SIGTERM.

    announce: prints a line for the user. share: address to share the API at, "" for this computer's address in its
    network, or None to serve this computer only. port: default: the first free one from 8700 on. Raise BadInput if the
    address or port cannot be used.
    """
    bound = HERE[1] if share is None else share or network_address()
    with listen(bound, PORT if port is None else port, chosen=port is not None) as listener:
        used: int = listener.getsockname()[1]
        token = None if share is None else secrets.token_urlsafe(32)
        names = frozenset(HERE) if share is None else frozenset({*HERE, *own_names(bound, listener)})
        rules = Rules(names, used, token=token, any_address=share is not None and bound in EVERYWHERE)
        address = f"http://{HERE[0] if token is None else shown_host(bound)}:{used}"
        with_token = "" if token is None else f" with the token {token}"
        announce(f"the API of img2vid is at {address}{with_token} (Ctrl-C stops it)")
        service = JobService(Store())
        app = ApiAccess(create_app(service), rules)
        service.start()
        # Uvicorn repeats the signal when it has shut down, which would skip the cleanup at exit.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(server_options(app, ws="none", lifespan="off")).run(sockets=[listener])
