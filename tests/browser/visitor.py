"""Somebody in front of the page: sees what the browser shows, and has a mouse and a keyboard."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dashboard import Dashboard, until
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Locator, Page, expect

from img2vid import paths
from img2vid.settings import SampleSettings, label_of

PHOTO = paths.PROJECT / "assets" / "dogs.jpg"
PATIENCE = 60_000
"""Milliseconds after which a test gives up waiting; none of them measures time."""
HERE = ("localhost", "127.0.0.1")
SMALL = {"H": 64, "W": 64, "T": 3, "steps": 2}
"""A video that is made in about a second."""
NAMES = {label_of(name): name for name in SampleSettings.model_fields}
"""The controls' names by their labels."""

expect.set_options(timeout=PATIENCE)

OVERHANG = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
"""Pixels by which the page is wider than its window."""
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
    """One tab of the browser. Pictures of it go to `folder`."""

    def __init__(self, browser: Browser, dashboard: Dashboard, folder: Path) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 800})
        self.page.set_default_timeout(PATIENCE)
        self.url, self.home, self.folder = dashboard.url, dashboard.home, folder
        self.complaints: list[str] = []
        """Errors that the browser's console has told of."""
        self.strangers: set[str] = set()
        """Machines other than this one that the page has turned to."""
        self.expects_to_lose_the_server = False
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self._complain(str(error)))
        self.page.on("request", lambda request: self._watch(request.url))

    def open(self) -> "Visitor":
        """Goes to the page's plain address, as in a new tab."""
        self.page.goto(self.url)
        return self._arrived()

    def reload(self) -> "Visitor":
        self.page.reload()
        return self._arrived()

    @property
    def tab(self) -> str:
        """The name of the tab, from its address."""
        return parse_qs(urlsplit(self.page.url).query)["tab"][0]

    # What there is on the page

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def number(self, label: str) -> Locator:
        return self.page.get_by_role("spinbutton", name=label, exact=True)

    def box(self, label: str) -> Locator:
        # While the page is drawn anew, a box under its old key may stand before the new one.
        return self.page.get_by_role("checkbox", name=label, exact=True).last

    def choice(self, label: str) -> Locator:
        return self.page.get_by_role("combobox", name=label, exact=True)

    def text(self, words: str | re.Pattern[str]) -> Locator:
        return self.page.get_by_text(words)

    @property
    def input(self) -> Locator:
        """The input, as the model gets it."""
        return self.page.get_by_role("img", name=re.compile("^The input, .+, as the model gets it$"))

    @property
    def video(self) -> Locator:
        return self.page.locator("video")

    @property
    def preview(self) -> Locator:
        """The moving picture of what the video looks like so far."""
        return self.page.get_by_role("img", name="What the video looks like so far")

    def wait_for(self, words: str | re.Pattern[str]) -> None:
        """Until it can be read on the page."""
        expect(self.text(words).first).to_be_visible()

    def wait_for_step(self, step: int, total: int) -> None:
        """Until the sampling has come to a step, or further."""
        later = "|".join(map(str, range(step, total + 1)))
        self.wait_for(re.compile(rf"Sampling, step ({later}) of {total}\b"))

    def wait_for_result(self, seed: int) -> None:
        """Until the page shows the video of that seed."""
        expect(self.page.locator(".st-key-result").get_by_text(f"seed {seed} ·")).to_be_visible()
        expect(self.video).to_be_visible()

    def played(self) -> dict[str, float]:
        """What the browser knows of the video, after it has played it to its end and begun anew by itself."""
        self.page.wait_for_function(PLAYED)
        self.page.wait_for_function(GOES_ON)
        return self.page.evaluate(FACTS)

    # What a user does

    def press(self, name: str) -> None:
        self.button(name).click()

    def tick(self, label: str) -> None:
        """Clicks the words beside a box, as people do."""
        self.page.locator("label").filter(has_text=re.compile(f"^{re.escape(label)}$")).click()

    def choose(self, label: str, option: str) -> None:
        self.choice(label).click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def set(self, numbers: dict[str, int]) -> None:
        """Types numbers, and waits until each is taken over and kept."""
        for label, value in numbers.items():
            self.number(label).fill(str(value))
            self.number(label).press("Enter")
            until(lambda label=label, value=value: self.kept().get(NAMES[label]) == value, f"{label} {value}")

    def kept(self) -> dict[str, Any]:
        """The tab's controls as the program has them on disk; nothing before the first of them was touched."""
        file = self.home / "tabs" / f"{self.tab}.json"
        return json.loads(file.read_text(encoding="utf-8"))["controls"] if file.is_file() else {}

    def drop(self, *, path: Path | None = None, name: str = "", data: bytes = b"", kind: str = "") -> None:
        """Gives Input a file of the disk, or one that is made up."""
        given: Path | FilePayload = path or {"name": name, "mimeType": kind, "buffer": data}
        zone = self.page.locator("[data-testid=stFileUploader] input[type=file]")
        expect(zone).to_have_count(1)  # after each file a new one takes the place of the old one
        zone.set_input_files(given)

    def ready_with(self, numbers: dict[str, int]) -> "Visitor":
        """Chooses svd_tiny, drops a photo and sets numbers, until only Sample is left to be pressed."""
        if self.choice("Model Version").input_value() != "svd_tiny":  # a new tab begins as the last one was left
            self.choose("Model Version", "svd_tiny")
        self.drop(path=PHOTO)
        expect(self.button("Sample")).to_be_enabled()
        self.set(numbers)
        return self

    # Pictures

    def picture(self, name: str) -> None:
        """Keeps what the whole page looks like now."""
        self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)

    def _arrived(self) -> "Visitor":
        expect(self.button("Sample")).to_be_visible()
        self.page.wait_for_url(re.compile(r"\?tab=[0-9a-f]{12}$"))
        return self

    def _hear(self, message: ConsoleMessage) -> None:
        # A picture that the browser still asks for when the page is drawn anew may be gone by then, and Streamlit looks
        # for itself below the address of a page first.
        address = message.location.get("url", "")
        gone = "404" in message.text and ("/media/" in address or "/_stcore/" in address)
        if message.type == "error" and not gone:
            self._complain(message.text)

    def _complain(self, text: str) -> None:
        # Streamlit's own video begins to play when the next one takes its place; nobody sees that.
        replaced = "interrupted because the media was removed" in text
        if not self.expects_to_lose_the_server and not replaced:
            self.complaints.append(text)

    def _watch(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname not in HERE:
            self.strangers.add(url)


Visit = Callable[[], Visitor]
"""Opens a new tab."""
