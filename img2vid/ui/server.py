"""Server of the dashboard: options, address and port, access control, and Streamlit, in one process."""

import os
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import click
import streamlit as st
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from streamlit import config
from streamlit.web import bootstrap
from streamlit.web.cli import configurator_options

from img2vid import paths
from img2vid.errors import BadInput
from img2vid.ui import resources
from img2vid.ui.clip_route import ClipRoute
from img2vid.web.access import TOKEN, AccessControl, Rules
from img2vid.web.connection import server_options
from img2vid.web.listening import EVERYWHERE, HERE, listen, network_address, own_names, shown_host

LONGEST_MESSAGE = 200 * 1024 * 1024
"""Largest websocket message in bytes."""

IMPOSSIBLE_NAMES = (123, 206)
"""Windows' ERROR_INVALID_NAME and ERROR_FILENAME_EXCED_RANGE."""


def serve(announce: Callable[[str], None], share: str | None = None, port: int | None = None) -> None:
    """Run the dashboard until Ctrl-C or SIGTERM. Streamlit's options come from `.streamlit` and `STREAMLIT_*`.

    announce: prints a line for the user. share: address to share the dashboard at, "" for this computer's address in
    its network, or None to serve this computer only. port: default: `STREAMLIT_SERVER_PORT`, or the first free one from
    8501 on. Raise BadInput if the address or port cannot be used.
    """
    app = st.App(paths.PROJECT / "streamlit_app.py", exception_handlers={OSError: answer_impossible_name})
    bootstrap.load_config_options(_options_of_environment())
    if port is not None:
        config.set_option("server.port", port)
    bound = config.get_option("server.address") or HERE[1]
    if share is not None:
        resources.share()
        bound = share or network_address()
        config.set_option("server.allowedHosts", [])  # the access control checks hosts
    with _listen(bound, port) as listener:
        rules = _rules(bound, listener, share)
        address = _address(bound, rules)
        announce(f"img2vid is {'shared' if rules.token else 'running'} at {address} (Ctrl-C stops it)")
        # Starting a browser with the token would show it in the list of processes.
        if rules.token is None and not config.get_option("server.headless"):
            threading.Thread(target=_open_browser, args=(address,), daemon=True).start()
        threading.Thread(target=_resume_jobs, daemon=True).start()
        # Uvicorn repeats the signal when it has shut down, which would skip the cleanup at exit.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(_server_options(AccessControl(ClipRoute(app), rules))).run(sockets=[listener])


def answer_impossible_name(_request: Request, error: Exception) -> PlainTextResponse:
    """Answer 404 if Windows allows no file of the requested name; Starlette only expects files that are missing."""
    if getattr(error, "winerror", None) in IMPOSSIBLE_NAMES:
        return PlainTextResponse("not found", 404)
    raise error


def _resume_jobs() -> None:
    """Start the job service, so that queued jobs run before a browser connects; importing its packages is slow."""
    with suppress(BadInput):  # the pages report it
        resources.start()


def _options_of_environment() -> dict[str, Any]:
    """Return the `STREAMLIT_*` variables as options, which only Streamlit's own command line reads."""

    def collect(**options: Any) -> dict[str, Any]:
        return options

    command = click.command(configurator_options(collect))
    try:
        return cast("dict[str, Any]", command.main([], standalone_mode=False))
    except click.ClickException as error:
        raise BadInput(error.format_message()) from error


def _listen(address: str, chosen: int | None) -> socket.socket:
    is_chosen = chosen is not None or config.is_manually_set("server.port")
    return listen(address, config.get_option("server.port"), chosen=is_chosen)


def _rules(bound: str, listener: socket.socket, share: str | None) -> Rules:
    port: int = listener.getsockname()[1]
    hosts = {str(name).lower() for name in config.get_option("server.allowedHosts")} or {*HERE}
    origins = frozenset(str(origin).rstrip("/") for origin in config.get_option("server.corsAllowedOrigins"))
    secure = bool(config.get_option("server.sslCertFile"))
    if share is None:
        return Rules(frozenset(hosts), port, origins, secure=secure)
    names = {*hosts, *own_names(bound, listener)}
    token = secrets.token_urlsafe(32)
    return Rules(frozenset(names), port, origins, token, bound in EVERYWHERE, secure)


def _address(bound: str, rules: Rules) -> str:
    """Return the address to open, with the token."""
    shown = HERE[0] if rules.token is None else shown_host(bound)
    folder = str(config.get_option("server.baseUrlPath")).strip("/")
    path = f"/{folder}/" if folder else "/" if rules.token else ""
    query = f"?{TOKEN}={rules.token}" if rules.token else ""
    return f"{'https' if rules.secure else 'http'}://{shown}:{rules.port}{path}{query}"


def _server_options(app: AccessControl) -> uvicorn.Config:
    return server_options(
        app,
        ws="websockets-sansio",
        ws_max_size=LONGEST_MESSAGE,
        lifespan="on",
        ssl_certfile=config.get_option("server.sslCertFile"),
        ssl_keyfile=config.get_option("server.sslKeyFile"),
    )


def _open_browser(address: str) -> None:
    # Without a display, Python would start a browser in the terminal.
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)
