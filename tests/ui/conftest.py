"""Fixtures for page tests with AppTest: a temporary home and a fake job service."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from driving import Open
from fake_service import FakeService
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from img2vid import paths
from img2vid.jobs.store import Store
from img2vid.ui import resources


@pytest.fixture(scope="session", autouse=True)
def components_found_once() -> Iterator[None]:
    """Search the installed packages for components once; each AppTest would spend 0.4 s on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("IMG2VID_HOME", str(folder))
    monkeypatch.delenv("IMG2VID_ENGINE", raising=False)
    monkeypatch.delenv("IMG2VID_CHECKPOINTS", raising=False)
    return paths.home()


@pytest.fixture
def service(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    fake = FakeService(Store())
    monkeypatch.setattr(resources, "open_service", lambda: fake)
    yield fake
    fake.store.close()


@pytest.fixture
def open_page(service: FakeService) -> Open:
    """Return a function that opens a new tab, or an earlier one by its name."""

    def open_one(tab: str | None = None) -> AppTest:
        page = AppTest.from_file(str(paths.PROJECT / "streamlit_app.py"), default_timeout=120)
        if tab is not None:
            page.query_params["tab"] = tab
        page.run()
        assert not page.exception
        return page

    return open_one
