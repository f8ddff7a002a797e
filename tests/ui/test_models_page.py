"""The Models page: installed models, background downloads, and each button."""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from driving import bars, caption, markdown, press, said
from fake_service import FakeService
from fake_tasks import FakeTasks, Task
from streamlit.testing.v1 import AppTest

from img2vid import paths
from img2vid.background import TaskResult
from img2vid.checkpoints.download import part_of
from img2vid.checkpoints.progress import Progress
from img2vid.checkpoints.tasks import CheckpointTasks
from img2vid.errors import BadInput, Cancelled
from img2vid.ui import resources
from img2vid.versions import ModelVersion, find_version

DATA = b"a checkpoint"


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> FakeTasks:
    tasks = FakeTasks()
    monkeypatch.setattr(resources, "open_checkpoint_tasks", lambda: tasks)
    return tasks


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: FakeService) -> Path:
    """Checkpoint folder that contains only svd_tiny."""
    place = tmp_path / "project" / "checkpoints"
    place.mkdir(parents=True)
    (place / "svd_tiny.safetensors").write_bytes(DATA)
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "project")
    return place


def page_of_models() -> None:
    """Draw the Models page of streamlit_app.py."""
    from img2vid.ui.models.page import models

    models()


@pytest.fixture
def open_models(folder: Path, background: FakeTasks) -> Callable[[], AppTest]:
    def open_one() -> AppTest:
        page = AppTest.from_function(page_of_models, default_timeout=120).run()
        assert not page.exception
        return page

    return open_one


Open = Callable[[], AppTest]


def keys(page: AppTest, name: str) -> list[str]:
    """Return the buttons of a version."""
    return [str(button.key).removesuffix(f"_{name}") for button in page.button if str(button.key).endswith(f"_{name}")]


def test_every_version_is_shown_with_its_state_licence_and_source(open_models: Open) -> None:
    page = open_models()
    text, small = markdown(page), caption(page)
    for part in ("svd_tiny", "Installed, 1 MB", "svd_xt_1_1", "Not installed, 4.8 GB"):
        assert part in text
    for part in (
        "14 frames of 160 \u00d7 96 · MIT · comes with img2vid",
        "25 frames of 1024 \u00d7 576 · Stable Video Diffusion Community License",
        "(https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt)",
        "tuned at 6 frames per second",
    ):
        assert part in small.replace("Tuned", "tuned")
    assert keys(page, "svd_tiny") == ["verify"]
    assert keys(page, "svd_xt") == ["download"]


def test_what_is_entered_goes_along_with_a_download(open_models: Open, background: FakeTasks) -> None:
    page = open_models()
    press(page, "download_svd_xt")
    page.text_input(key="models_token").set_value("hf_x").run()
    page.text_input(key="models_mirror").set_value("https://mirror.example").run()
    press(page, "download_svd_xt_1_1")
    assert background.calls == [
        ("download", "svd_xt", None, None),
        ("download", "svd_xt_1_1", "https://mirror.example", "hf_x"),
    ]


def test_a_folder_is_downloaded_if_it_is_chosen_and_published(open_models: Open, background: FakeTasks) -> None:
    page = open_models()
    page.segmented_control(key="models_form").set_value("Diffusers folder").run()
    for name in ("svd", "svd_xt_image_decoder"):
        press(page, f"download_{name}")
    assert background.calls == [
        ("download", "svd", None, None, "folder"),
        ("download", "svd_xt_image_decoder", None, None),
    ]


def test_a_download_is_counted_in_every_tab(open_models: Open, background: FakeTasks) -> None:
    progress = Progress("download", 2_400_000_000, 9_600_000_000, 24e6)
    background.put("svd_xt", Task(progress=progress))
    for page in (open_models(), open_models()):
        assert bars(page) == [(25, "Downloading, 2.4 GB of 9.6 GB · 24.0 MB/s · about 5 min left")]
        assert keys(page, "svd_xt") == ["cancel"]
    background.put("svd_xt", Task(progress=Progress("wait", 5, 10, note="x asks to wait; retrying in 7 s")))
    assert bars(open_models())[0][1].replace("\\", "") == "X asks to wait; retrying in 7 s."


def test_cancel_asks_the_download_to_stop(open_models: Open, background: FakeTasks, folder: Path) -> None:
    background.put("svd_xt", Task())
    page = press(open_models(), "cancel_svd_xt")
    assert bars(page) == [(0, "Stopping...")]
    assert page.button(key="cancel_svd_xt").disabled
    part_of(folder / "svd_xt.safetensors").write_bytes(DATA)
    background.put("svd_xt", Task("cancelled"))
    page.run()
    assert "Paused." in caption(page)
    assert "Downloaded 1 MB of 9.6 GB" in markdown(page)
    assert page.button(key="download_svd_xt").label == "Resume"


def test_what_went_wrong_is_one_sentence_with_its_address(open_models: Open, background: FakeTasks) -> None:
    background.put("svd_xt_1_1", Task("failed", outcome=TaskResult("open https://huggingface.co/a/b and agree")))
    page = open_models()
    assert said(page.error) == "Open <https://huggingface.co/a/b> and agree."
    assert keys(page, "svd_xt_1_1") == ["download"]


def test_verify_reads_the_file_and_reports_the_result(open_models: Open, background: FakeTasks) -> None:
    page = press(open_models(), "verify_svd_tiny")
    assert background.calls == [("verify", "svd_tiny")]
    background.put("svd_tiny", Task("done", outcome=TaskResult("it is right")))
    page.run()
    assert "It is right." in caption(page)


def test_remove_deletes_the_file_once_that_is_confirmed(open_models: Open, folder: Path) -> None:
    file = folder / "svd_xt.safetensors"
    file.write_bytes(DATA)
    page = open_models()
    assert keys(page, "svd_xt") == ["verify", "remove"]
    assert f"Deletes {file} (0.00 GB)." in markdown(page)
    press(page, "remove_svd_xt")
    assert not file.exists()
    assert "Deleted the checkpoint of svd_xt." in caption(page)
    assert keys(page, "svd_xt") == ["download"]


def test_a_task_that_cannot_start_is_reported_at_the_top(
    open_models: Open, background: FakeTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise BadInput("the mirror must be a URL")

    monkeypatch.setattr(background, "download", refuse)
    page = press(open_models(), "download_svd", refused=True)
    assert said(page.error) == "The mirror must be a URL."


def test_a_version_of_ones_own_without_a_source_cannot_be_downloaded(
    open_models: Open, configs: Callable[..., Path]
) -> None:
    row = find_version("svd_xt").model_dump(exclude={"name"}) | {"source": "a friend"}
    configs(yaml.safe_dump({"svd_tiny": find_version("svd_tiny").model_dump(exclude={"name"}), "mine": row}))
    assert keys(open_models(), "mine") == []


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckpointTasks]:
    tasks = CheckpointTasks()
    monkeypatch.setattr(resources, "open_checkpoint_tasks", lambda: tasks)
    yield tasks


def test_a_real_download_goes_on_without_the_page(
    open_models: Open, real: CheckpointTasks, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download finishes although the page that started it is gone."""
    went: list[str] = []

    def slow(version: ModelVersion, source: Any, on_progress: Any, patience: Any) -> Path:
        file = folder / "svd_xt.safetensors"
        for done in range(1_000_000):
            if went:
                file.write_bytes(DATA)
                return file
            on_progress(Progress("download", done, 9_000_000_000))
            time.sleep(0.005)
        raise Cancelled("the test forgot it")

    monkeypatch.setattr("img2vid.checkpoints.tasks.download", slow)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    press(open_models(), "download_svd_xt")
    again = open_models()
    assert bars(again)[0][1].startswith("Downloading") or bars(again)[0][1] == "Starting"
    went.append("the first page")
    deadline = time.monotonic() + 60
    while real.active():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    again.run()
    assert "Downloaded and verified; svd_xt.safetensors is ready to use." in caption(again)
    assert hashlib.sha256((folder / "svd_xt.safetensors").read_bytes()).digest() == hashlib.sha256(DATA).digest()
