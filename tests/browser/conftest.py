"""The whole program in a real browser: Chromium in front of a server of each module's own.

Runs are held at a step where a test needs one that is not over yet, see `hold_runs`.

Without Chromium these tests are skipped, or, where IMG2VID_BROWSER_TESTS is "required", fail. Screenshots go to the
folder IMG2VID_SCREENSHOTS, else to one of pytest's temporary folders; each test that fails leaves one more.
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

NAMES = ("chromium", "chromium-browser", "google-chrome")
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


# Not longer than a module: while it is open, an event loop runs in the main thread, which other tests cannot do with.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        lacking = f"no browser: none of {', '.join(NAMES)} is installed"
        if os.environ.get("IMG2VID_BROWSER_TESTS") == "required":
            pytest.fail(lacking)
        pytest.skip(lacking)
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
def dashboard(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """The module's server."""
    dashboard = Dashboard(tmp_path_factory.mktemp("outputs"), tmp_path_factory.mktemp("checkpoints"))
    try:
        dashboard.start()
        yield dashboard
    finally:
        dashboard.stop()
    # Only of this program: the web server logs one of its own if a tab is closed while it connects.
    assert f'File "{paths.PROJECT / "img2vid"}' not in dashboard.messages()


@pytest.fixture
def visit(browser: Browser, dashboard: Dashboard, screenshots: Path, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Opens tabs; none of them may have anything to complain of, or talk to another machine."""
    visitors: list[Visitor] = []

    def open_one() -> Visitor:
        visitors.append(Visitor(browser, dashboard, screenshots))
        return visitors[-1].open()

    yield open_one
    dashboard.go_on()
    for number, visitor in enumerate(visitors):
        if request.node.stash.get(FAILED, False):
            visitor.picture(f"failed_{request.node.name}_{number}")
        visitor.page.close()
    assert [visitor.strangers for visitor in visitors if visitor.strangers] == []
    assert [visitor.complaints for visitor in visitors if visitor.complaints] == []
