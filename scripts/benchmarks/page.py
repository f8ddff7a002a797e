"""Speed of the dashboard in a browser: first paint, a changed number, and changes of the page.

Starts the dashboard on a new home with some videos, and Chromium through Playwright. Times are medians in milliseconds
from the click to the settled page: the script has ended, no element is out of date, and the page's last part is there.
The last column is the machine's load average, divided by its cores; above 1, the times say little.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.gallery import filled
from benchmarks.results import Row

COLUMNS = {"measurement": "", "target": "", "median": ".0f", "fastest": ".0f", "slowest": ".0f", "load": ".1f"}
PROGRAMS = ("chromium", "google-chrome", "chromium-browser")
PAGES = {
    "Compare": ("compare_columns", 700),
    "Sweeps": ("sweep_run", 700),
    "Gallery": ("shelf", 700),
    "Models": ("model_svd", 700),
    "System": ("system_places", 2000),
    "Sample": ("outcome", 700),
}
"""Pages in the order of the visits, each with the key of its last part and the target."""
PATIENCE = 180_000
"""Timeout in milliseconds; the first visit loads the code of the page."""
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
SETTLED = """
([click, part]) => new Promise((resolve) => {
    const runs = () => document.querySelector('.stApp')?.dataset.testScriptState !== 'notRunning'
    let began = !document.querySelector(part) // another page, which appears only once its script runs
    const observer = new MutationObserver(() => { began = true })
    observer.observe(document, { attributes: true, subtree: true, attributeFilter: ['data-test-script-state'] })
    const look = () => {
        if (!began || runs() || document.querySelector('[data-stale=true]') || !document.querySelector(part)) {
            return requestAnimationFrame(look)
        }
        observer.disconnect()
        resolve(performance.now() - start)
    }
    const start = performance.now()
    document.querySelector(click).click()
    look()
})
"""
"""JavaScript: clicks on an element and returns the milliseconds until the page with that part has settled."""


@contextmanager
def dashboard() -> Generator[str, None, None]:
    """Run the dashboard and yield its URL once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "img2vid", "dashboard", "--port", url.rpartition(":")[2]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "STREAMLIT_SERVER_HEADLESS": "1"})
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                    break
            except OSError:
                time.sleep(0.25)
        yield url
    finally:
        process.terminate()
        process.wait()


def opened(browser: Browser, url: str) -> tuple[Page, float]:
    """Open the dashboard in a browser without a cache; return the page, settled, and the time of its first paint."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(url)
    page.wait_for_selector(".stApp[data-test-script-state=notRunning] .st-key-outcome", timeout=PATIENCE)
    page.wait_for_load_state("networkidle")
    return page, page.evaluate(PAINT)


def row(name: str, target: int, times: int, measured: Callable[[], float]) -> Row:
    """Measure repeatedly, after one run to warm up."""
    measured()
    found = [measured() for _ in range(times)]
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    spread = {"median": statistics.median(found), "fastest": min(found), "slowest": max(found)}
    return {"measurement": name, "target": f"< {target}", **spread, "load": load}


def measure_page(browser: Browser, url: str, times: int) -> Iterator[Row]:
    def paint() -> float:
        page, painted = opened(browser, url)
        page.context.close()
        return painted

    yield row("first contentful paint", 1500, times, paint)
    page, _ = opened(browser, url)
    up = ".st-key-fps [data-testid=stNumberInputStepUp]"
    yield row("changed number", 300, times, lambda: page.evaluate(SETTLED, [up, ".st-key-outcome"]))
    visits: dict[str, list[float]] = {name: [] for name in PAGES}

    def visit(name: str) -> float:
        """Visit all pages when the first is asked for, as each needs another one before it."""
        if not visits[name]:
            for other, (part, _) in PAGES.items():
                link = f"[data-testid=stSidebarNavLink]:has-text({other!r})"
                page.locator(link).evaluate("(link) => link.setAttribute('data-visit', '')")
                visits[other].append(page.evaluate(SETTLED, ["[data-visit]", f".st-key-{part}"]))
                page.evaluate("() => document.querySelector('[data-visit]')?.removeAttribute('data-visit')")
        return visits[name].pop(0)

    rounds = [{name: visit(name) for name in PAGES} for _ in range(times + 1)]
    for name, (_, target) in PAGES.items():
        found = iter([one[name] for one in rounds])
        yield row(f"page {name}", target, times, lambda found=found: next(found))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--times", type=int, default=9, help="repetitions")


def measure(given: argparse.Namespace) -> Iterator[Row]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.environ["IMG2VID_HOME"] = folder
        filled(Path(folder), given.videos)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--no-proxy-server"])
        with dashboard() as url:
            yield from measure_page(browser, url, given.times)
        browser.close()
