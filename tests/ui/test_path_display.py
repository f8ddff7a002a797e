r"""Windows paths on the pages: in `C:\_a\.b\#c\(d)`, Markdown takes the backslashes for escapes and drops them."""

import time
from pathlib import Path

import pytest
from driving import PHOTO, Open, drop, unescaped
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid import paths
from img2vid.background import BackgroundTasks, Count, TaskResult
from img2vid.ui import resources
from img2vid.ui.gallery import page as gallery_page

ODD = r"C:\_a\.b\#c\(d)\*e*\[f](g)\`h`"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / ODD))
    try:
        (tmp_path / ODD).mkdir(parents=True)
    except OSError:
        pytest.skip("Windows does not allow a folder with this name")
    return paths.home()


def shown(page: AppTest) -> list[str]:
    """Return the odd paths on a page as the browser shows them. Each is whole, so its Markdown is escaped."""
    assert not page.exception
    blocks = [page.markdown, page.caption, page.error, page.warning, page.info, page.success]
    found: list[str] = []
    for text in (element.value for kind in blocks for element in kind):
        rendered = unescaped(text)
        if "#c" in rendered:
            assert ODD in rendered, text
            found.append(rendered)
    return found


def page_of(name: str) -> AppTest:
    script = f"from img2vid.ui.{name}.page import {name}\n{name}()\n"
    return AppTest.from_string(script, default_timeout=120).run()


def test_sample_shows_results_missing_files_and_errors(service: FakeService, open_page: Open) -> None:
    page = drop(open_page(), PHOTO)
    page.button(key="sample").click().run()
    job = service.finishes(service.store.jobs()[0])
    assert any(str(job.results[0].video) in text for text in shown(page.run()))
    job.results[0].video.unlink()
    assert any("no longer exists" in text for text in shown(page.run()))
    page.number_input(key="seed").set_value(5).run()
    page.button(key="sample").click().run()
    service.fails(service.store.jobs()[0], f"nothing can be written to {service.store.home} (the disk is full)")
    assert any("disk is full" in text for text in shown(page.run()))


def test_models_shows_its_folder(service: FakeService, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "checkpoints").mkdir()
    monkeypatch.setattr(paths, "PROJECT", home)
    assert shown(page_of("models"))


def test_gallery_shows_the_result_of_a_task(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: BackgroundTasks[Count] = BackgroundTasks()
    monkeypatch.setattr(resources, "open_gallery_tasks", lambda: tasks)
    monkeypatch.setattr(gallery_page, "tidy", lambda: None)
    tasks.start("export", lambda _: TaskResult(f"2 videos in {service.store.home}"))
    while (task := tasks.get("export")) is not None and task.active:
        time.sleep(0.01)
    assert shown(page_of("gallery"))


def test_an_error_while_drawing_shows_its_path(service: FakeService, home: Path) -> None:
    script = f"""
from img2vid.errors import StoreError
from img2vid.ui.state import report_drawing_errors
with report_drawing_errors("Gallery"):
    raise StoreError({f"the folder {home} cannot be created"!r})
"""
    assert shown(AppTest.from_string(script).run())
