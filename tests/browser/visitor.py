"""Simulated user: one browser tab with mouse and keyboard actions."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dashboard import Dashboard, until
from playwright.sync_api import Browser, ConsoleMessage, Download, FilePayload, Locator, Page, TimeoutError, expect

from img2vid import paths
from img2vid.settings import SampleSettings, label_of

PHOTO = paths.PROJECT / "assets" / "dogs.jpg"
PATIENCE, DOWNLOAD_TIMEOUT, LIST_TIMEOUT = 180_000, 60_000, 10_000
"""Timeouts of waits, downloads and options in open lists, in milliseconds; no test measures time."""
HERE = ("localhost", "127.0.0.1")
SMALL = {"H": 64, "W": 64, "T": 3, "steps": 2}
"""Settings of a video that takes about a second."""
NAMES = {label_of(name): name for name in SampleSettings.model_fields}
"""Setting names by control label."""

expect.set_options(timeout=PATIENCE)

OVERHANG = """
() => {
    const wider = (name) => { const one = document.querySelector(name); return one.scrollWidth - one.clientWidth }
    return Math.max(wider('html'), wider('.stMain'))
}
"""
"""JavaScript: pixels by which the page is wider than its window."""
PLAYED = """
() => {
    const video = document.querySelector('video')
    if (!video || video.readyState < 2 || video.error || !video.played.length) return false
    return video.played.end(video.played.length - 1) > video.duration - 0.4
}
"""
GOES_ON = """
() => {
    const video = document.querySelector('video')
    return video.played.length && !video.paused && video.currentTime < video.duration / 2
}
"""
FACTS = """
() => {
    const video = document.querySelector('video')
    return {width: video.videoWidth, height: video.videoHeight, duration: video.duration}
}
"""


class Visitor:
    """Browser tab. Its screenshots go to `folder`."""

    def __init__(self, browser: Browser, dashboard: Dashboard, folder: Path) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 800})
        self.page.set_default_timeout(PATIENCE)
        self.url, self.home, self.folder = dashboard.url, dashboard.home, folder
        self.console_errors: list[str] = []
        """Errors in the browser's console."""
        self.foreign_hosts: set[str] = set()
        """URLs of requests to other hosts."""
        self.expects_to_lose_the_server = False
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self._add_error(str(error)))
        self.page.on("request", lambda request: self._on_request(request.url))

    def open(self) -> "Visitor":
        """Open the page without a tab name, as in a new tab."""
        self.page.goto(self.url)
        return self._arrived()

    def reload(self) -> "Visitor":
        self.page.reload()
        return self._arrived()

    @property
    def tab(self) -> str:
        """Tab name from the URL."""
        return parse_qs(urlsplit(self.page.url).query)["tab"][0]

    # Page elements

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def number(self, label: str) -> Locator:
        return self.page.get_by_role("spinbutton", name=label, exact=True)

    def box(self, label: str) -> Locator:
        return self.page.get_by_role("checkbox", name=label, exact=True)

    def choice(self, label: str) -> Locator:
        return self.page.get_by_role("combobox", name=label, exact=True)

    def text(self, words: str | re.Pattern[str]) -> Locator:
        return self.page.get_by_text(words)

    @property
    def input(self) -> Locator:
        """Preview of the input: as the model sees it, or whole with the crop in a frame."""
        return self.page.get_by_role("img", name=re.compile("^The (input, .+, as the model sees it|whole input, .+)$"))

    @property
    def video(self) -> Locator:
        return self.page.locator("video")

    @property
    def preview(self) -> Locator:
        """Animated preview of the video in progress."""
        return self.page.get_by_role("img", name="Preview of the video in progress")

    def wait_for(self, words: str | re.Pattern[str]) -> None:
        """Wait until the page shows the text."""
        expect(self.text(words).first).to_be_visible()

    def wait_for_step(self, step: int, total: int) -> None:
        """Wait until sampling reaches a step, or a later one."""
        later = "|".join(map(str, range(step, total + 1)))
        self.wait_for(re.compile(rf"Sampling, step ({later}) of {total}\b"))

    def wait_for_result(self, seed: int) -> None:
        """Wait until the page shows the video of that seed."""
        expect(self.page.locator(".st-key-result").get_by_text(f"seed {seed} ·")).to_be_visible()
        expect(self.video.first).to_be_visible()

    def played(self) -> dict[str, float]:
        """Return the video's size and duration after it has played to its end and looped."""
        self.page.wait_for_function(PLAYED)
        self.page.wait_for_function(GOES_ON)
        return self.page.evaluate(FACTS)

    # User actions

    def press(self, name: str) -> None:
        self.button(name).click()

    def download(self, name: str) -> Download:
        """Press a download button, up to three times: Streamlit drops files if the page reruns before it sends them."""
        reason = "no download"
        for _ in range(3):
            try:
                with self.page.expect_download(timeout=DOWNLOAD_TIMEOUT) as waiting:
                    self.press(name)
            except TimeoutError:
                continue
            if (reason := waiting.value.failure()) is None:
                return waiting.value
        raise AssertionError(f"{name}: {reason}")

    def tick(self, label: str) -> None:
        """Click the label of a checkbox."""
        self.page.locator("label").filter(has_text=re.compile(f"^{re.escape(label)}$")).click()

    def choose(self, label: str, option: str | re.Pattern[str]) -> None:
        """Choose an option of a list. A page that is being drawn may close the list."""
        until(lambda: self._pick(label, option), f"{label} {option}")

    def _pick(self, label: str, option: str | re.Pattern[str]) -> bool:
        self.choice(label).hover()  # scrolls; the scroll event would close an open list
        self.page.evaluate("() => new Promise(requestAnimationFrame)")
        self.choice(label).click()
        try:
            self.page.get_by_role("option", name=option, exact=True).click(timeout=LIST_TIMEOUT)
        except TimeoutError:
            self.page.keyboard.press("Escape")
            return False
        return True

    def set(self, numbers: dict[str, int]) -> None:
        """Type numbers and wait until each is stored."""
        for label, value in numbers.items():
            until(lambda label=label, value=value: self._type(label, value), f"{label} {value}")

    def _type(self, label: str, value: int) -> bool:
        """Type a number unless it is shown; return whether it is stored. A page that is being drawn may drop it."""
        if self.number(label).input_value() != str(value):
            self.number(label).fill(str(value))
            self.number(label).press("Enter")
        return self.kept().get(NAMES[label]) == value

    def kept(self) -> dict[str, Any]:
        """Return the tab's controls on disk; empty before the first change."""
        file = self.home / "tabs" / f"{self.tab}.json"
        return json.loads(file.read_text(encoding="utf-8"))["controls"] if file.is_file() else {}

    def drop(self, *, path: Path | None = None, name: str = "", data: bytes = b"", kind: str = "") -> None:
        """Upload a file from disk, or one made of `name`, `data` and `kind`, to Input."""
        given: Path | FilePayload = path or {"name": name, "mimeType": kind, "buffer": data}
        zone = self.page.locator("[data-testid=stFileUploader] input[type=file]")
        expect(zone).to_have_count(1)  # each upload replaces the uploader
        zone.set_input_files(given)

    def ready_with(self, numbers: dict[str, int]) -> "Visitor":
        """Select svd_tiny, add a photo and set numbers; only pressing Sample is left."""
        if self.choice("Model Version").input_value() != "svd_tiny":  # a new tab starts as a copy of the last one
            self.choose("Model Version", "svd_tiny")
        self.drop(path=PHOTO)
        expect(self.button("Sample")).to_be_enabled()
        self.set(numbers)
        return self

    # Screenshots

    def picture(self, name: str) -> None:
        """Save a screenshot of the whole page."""
        self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)

    def _arrived(self) -> "Visitor":
        expect(self.button("Sample")).to_be_visible()
        self.page.wait_for_url(re.compile(r"\?tab=[0-9a-f]{12}$"))
        return self

    def _on_console(self, message: ConsoleMessage) -> None:
        # Media files may be gone when a rerun has replaced them, and Streamlit first looks for its own files below the
        # page's URL.
        address = message.location.get("url", "")
        gone = "404" in message.text and ("/media/" in address or "/_stcore/" in address)
        gone |= any(kind in message.text for kind in ("Image source", "Video source")) and "/media/" in message.text
        gone |= "Download Button source error - 404" in message.text  # a test whose file does not arrive fails anyway
        if message.type == "error" and not gone:
            self._add_error(message.text)

    def _add_error(self, text: str) -> None:
        # Streamlit starts a video that is being replaced; that is harmless.
        replaced = "interrupted because the media was removed" in text
        if not self.expects_to_lose_the_server and not replaced:
            self.console_errors.append(text)

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname not in HERE:
            self.foreign_hosts.add(url)


Visit = Callable[[], Visitor]
"""Function that opens a new tab."""
