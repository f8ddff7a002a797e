"""Fixtures for tests of the whole program in Chromium; each module starts its own server.

Tests that need an unfinished run hold it at a step, see `hold_runs`.

Without Chromium these tests are skipped, or fail if IMG2VID_BROWSER_TESTS is "required". Screenshots, also one for each
failed test, go to the folder IMG2VID_SCREENSHOTS or else to a temporary folder of pytest.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard import Dashboard
from playwright.sync_api import Browser, sync_playwright
from visitor import Visit, Visitor

from img2vid import paths

PROGRAMS = (
    "chromium",
    "google-chrome",
    "chromium-browser",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
"""Names and usual paths, in order of preference. Ubuntu's chromium-browser is a snap, which sees no temporary files."""
ARGUMENTS = [
    "--no-sandbox",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


# Module scope, not session: an open browser keeps an event loop in the main thread, which breaks other tests.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        message = f"no browser: none of {', '.join(PROGRAMS)} is installed"
        if os.environ.get("IMG2VID_BROWSER_TESTS") == "required":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("IMG2VID_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Further checkpoints of the module's server; none."""
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def dashboard(browser: Browser, checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Server of the module."""
    dashboard = Dashboard(tmp_path_factory.mktemp("outputs"), checkpoints)
    try:
        dashboard.start()
        yield dashboard
    finally:
        dashboard.stop()
    # Only this program's tracebacks: the web server logs its own if a tab is closed while it connects.
    assert f'File "{paths.PROJECT / "img2vid"}' not in dashboard.messages()


@pytest.fixture
def visit(browser: Browser, dashboard: Dashboard, screenshots: Path, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Return a function that opens tabs; console errors and requests to other hosts fail the test."""
    visitors: list[Visitor] = []

    def open_one() -> Visitor:
        visitors.append(Visitor(browser, dashboard, screenshots))
        return visitors[-1].open()

    yield open_one
    dashboard.release()
    for number, visitor in enumerate(visitors):
        if request.node.stash.get(FAILED, False):
            visitor.picture(f"failed_{request.node.name}_{number}")
        visitor.page.close()
    assert [visitor.foreign_hosts for visitor in visitors if visitor.foreign_hosts] == []
    assert [visitor.console_errors for visitor in visitors if visitor.console_errors] == []
