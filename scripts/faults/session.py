"""A browser's session with the dashboard, over its websocket, without a browser."""

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import connect

SMALL = {"height": 64, "width": 64, "num_frames": 3, "num_steps": 2, "decode_t": 1}
"""Settings of a video that takes a second."""
PATIENCE = 600.0
"""Seconds to wait for a text or a widget."""


class Session:
    """Open tab of the dashboard at `address`: draws pages, presses buttons, types, uploads and downloads."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._http = requests.Session()
        self._http.get(f"{address}/_stcore/health", timeout=PATIENCE)  # sets the cookie that uploads need
        # Without limits, messages are received and pings answered between reads.
        options: dict[str, Any] = {"max_size": None, "max_queue": None, "ping_interval": None, "open_timeout": PATIENCE}
        self._link = connect(f"ws{address.removeprefix('http')}/_stcore/stream", **options)
        self._drawn: dict[tuple[int, ...], tuple[int, str, Any]] = {}
        """Run, fragment and content of the elements by their place on the page."""
        self._run, self._fragments, self._running = 0, list[str](), False
        self._values: dict[str, WidgetState] = {}
        self._pages: dict[str, str] = {}
        self._page = self._query = self._id = ""
        self._timers: dict[str, list[float]] = {}
        self._answers: dict[str, Any] = {}
        self._ended: dict[str, int] = {}
        """Number of finished runs by fragment; "" is the whole page."""
        self.runs = 0
        """Number of finished script runs."""
        self._rerun()
        self.wait(lambda: self.runs, "the page")

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception: object) -> None:
        self._link.close()
        self._http.close()

    # What the page shows

    def text(self) -> str:
        """Return the texts of the page, line by line."""
        bodies = [getattr(content, "body", "") for _, _, content in self._drawn.values()]
        return "\n".join(filter(None, bodies))

    def errors(self) -> list[str]:
        """Return the errors and warnings that the page shows."""
        return [content.body for _, _, content in self._drawn.values() if type(content).__name__ == "Alert"]

    def has(self, key: str) -> bool:
        """Return True if there is a widget with this key, which can be used."""
        return any(not content.disabled for content, _ in self._widgets(key))

    def keys(self, start: str, field: str = "disabled") -> list[str]:
        """Return the keys of widgets that begin with `start`; `field` is one that only the wanted kind has."""
        names = [content.id.split("-", 2)[-1] for _, _, content in self._drawn.values() if hasattr(content, field)]
        return [name for name in names if name.startswith(start)]

    def wait(self, condition: Callable[[], Any], event: str, seconds: float = PATIENCE) -> Any:
        """Handle messages until the condition returns a true value, and return it."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{event} did not happen in {seconds:.0f} s; the page shows: {self.text()[-2000:]}")
            self.listen(0.5)
        return found

    def listen(self, seconds: float) -> None:
        """Handle the next message, and rerun fragments when it is their time."""
        due = min((times[1] for times in self._timers.values()), default=float("inf")) - time.monotonic()
        with suppress(TimeoutError):
            received = self._link.recv(max(min(seconds, due), 0.0))
            self._handle(ForwardMsg.FromString(received))  # type: ignore[arg-type]
        for fragment, times in self._timers.items():
            if times[1] <= time.monotonic():
                times[1] = time.monotonic() + times[0]
                self._rerun(fragment=fragment, auto=True)

    # What its user does

    def go(self, page: str) -> None:
        """Open a page by its title."""
        self.wait(lambda: page in self._pages, "the navigation")
        self._page = self._pages[page]
        self._drawn.clear()
        self._timers.clear()
        self._values.clear()
        self._finish(self._rerun)

    def press(self, key: str) -> None:
        """Press a button."""
        self._send(key, trigger_value=True)

    def enter(self, key: str, value: bool | float | str) -> None:
        """Set a checkbox, a number or a text."""
        kind = "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else "double_value"
        self._send(key, **{kind: value})

    def make_small(self) -> None:
        """Choose the settings of a video that takes a second."""
        for name, value in SMALL.items():
            self.enter(name, float(value))

    def upload(self, key: str, name: str, data: bytes) -> None:
        """Add a file to an uploader."""
        (urls,) = self._ask("file_urls_request", file_names=[name], session_id=self._id).file_urls
        token = (self._http.cookies.get("_streamlit_xsrf") or "").strip('"')
        sent = self._http.put(
            self._address + urls.upload_url,
            files={name: (name, data)},
            headers={"X-Xsrftoken": token},
            timeout=PATIENCE,
        )
        sent.raise_for_status()
        file = {"file_id": urls.file_id, "name": name, "size": len(data), "file_urls": urls}
        self._send(key, file_uploader_state_value={"uploaded_file_info": [file]})

    def download(self, key: str) -> bytes:
        """Press a download button and return the file. Raise OSError if it is refused."""
        self.listen(1.0)  # a rerun gives the button a new file
        content, _ = self.wait(lambda: self._widgets(key), f"the button {key}")[-1]
        url = content.url
        if content.deferred_file_id:
            deferred = {"file_id": content.deferred_file_id}
            answer = self._ask("backend_operation_request", session_id=self._id, deferred_file=deferred)
            if answer.error_msg:
                raise OSError(f"{answer.error_msg} {answer.error_reason}")
            url = answer.deferred_file.url
        found = self._http.get(self._address + url, timeout=PATIENCE)
        found.raise_for_status()
        return found.content

    # Protocol

    def _widgets(self, key: str) -> list[tuple[Any, str]]:
        return [
            (content, fragment)
            for _, fragment, content in self._drawn.values()
            if hasattr(content, "disabled") and content.id.endswith(f"-{key}")
        ]

    def _send(self, key: str, **value: Any) -> None:
        self.wait(lambda: self.has(key), f"the widget {key}")
        content, fragment = self._widgets(key)[-1]
        state = WidgetState(id=content.id, **value)
        if "trigger_value" not in value:
            self._values[content.id] = state
        self._finish(lambda: self._rerun(state, fragment=fragment), fragment)

    def _finish(self, act: Callable[[], None], fragment: str = "") -> None:
        """Act and wait for the end of the next run, of the fragment or the whole page."""
        names = {fragment, ""}  # a fragment's widget may rerun the page

        def ended() -> int:
            return sum(self._ended.get(name, 0) for name in names)

        before = ended()
        act()
        self.wait(lambda: ended() > before, "the end of the run")

    def _rerun(self, *pressed: WidgetState, fragment: str = "", auto: bool = False) -> None:
        message = BackMsg()
        run = message.rerun_script
        run.query_string, run.page_script_hash, run.fragment_id = self._query, self._page, fragment
        run.is_auto_rerun = auto
        run.context_info.timezone = "UTC"
        states = self._values | {state.id: state for state in pressed}
        run.widget_states.widgets.extend(states.values())
        self._link.send(message.SerializeToString())

    def _ask(self, kind: str, **content: Any) -> Any:
        name = uuid.uuid4().hex
        message: dict[str, Any] = {kind: {"request_id": name, **content}}
        self._link.send(BackMsg(**message).SerializeToString())
        return self.wait(lambda: self._answers.pop(name, None), kind)

    def _handle(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        assert kind != "ref_hash", "the server sends references only to sessions that keep messages"
        handle = getattr(self, f"_on_{kind}", None)
        if handle is not None:
            handle(message)

    def _on_new_session(self, message: ForwardMsg) -> None:
        if self._running:  # the server drops the end of a run if the next one has its own thread
            self._count_end()
        self._run, self._running = self._run + 1, True
        self._fragments = list(message.metadata.run.fragment_ids)
        self._id = message.new_session.initialize.session_id or self._id
        self._page = self._page or message.new_session.page_script_hash

    def _on_delta(self, message: ForwardMsg) -> None:
        if message.delta.WhichOneof("type") != "new_element":
            return
        element = message.delta.new_element
        content = getattr(element, element.WhichOneof("type") or "empty")
        self._drawn[tuple(message.metadata.delta_path)] = self._run, message.delta.fragment_id, content
        if getattr(content, "set_value", False):
            self._values.pop(content.id, None)

    def _on_script_finished(self, message: ForwardMsg) -> None:
        self._running = False
        if message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            return
        self._count_end()
        for place, (run, fragment, _) in list(self._drawn.items()):
            if run != self._run and (not self._fragments or fragment in self._fragments):
                del self._drawn[place]

    def _count_end(self) -> None:
        self.runs += 1
        for fragment in self._fragments or [""]:
            self._ended[fragment] = self._ended.get(fragment, 0) + 1

    def _on_navigation(self, message: ForwardMsg) -> None:
        self._pages = {page.page_name: page.page_script_hash for page in message.navigation.app_pages}

    def _on_page_info_changed(self, message: ForwardMsg) -> None:
        self._query = message.page_info_changed.query_string

    def _on_auto_rerun(self, message: ForwardMsg) -> None:
        repeat = message.auto_rerun
        self._timers[repeat.fragment_id] = [repeat.interval, time.monotonic() + repeat.interval]

    def _on_stop_auto_rerun(self, message: ForwardMsg) -> None:
        for fragment in message.stop_auto_rerun.fragment_ids:
            self._timers.pop(fragment, None)

    def _on_file_urls_response(self, message: ForwardMsg) -> None:
        self._answers[message.file_urls_response.response_id] = message.file_urls_response

    def _on_backend_operation_response(self, message: ForwardMsg) -> None:
        self._answers[message.backend_operation_response.request_id] = message.backend_operation_response
