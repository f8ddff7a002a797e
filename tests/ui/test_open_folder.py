"""Buttons for the folder and the path of a video, on the computer itself only."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from driving import PHOTO, Open, drop, said
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid.ui import resources
from img2vid.ui.shared import open_folder

COMMANDS = {"win32": ["explorer", "/select,", "{}"], "darwin": ["open", "-R", "{}"]}


@pytest.fixture
def page(open_page: Open, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("DISPLAY", ":0")
    page = drop(open_page(), PHOTO)
    page.button(key="sample").click().run()
    service.finishes(service.store.jobs()[0])
    return page.run()


def test_the_folder_is_opened(page: AppTest, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    video = service.store.jobs()[0].results[0].video
    page.button(key="sample_folder").click().run()
    assert started == [open_folder.opener(video)]
    assert str(video) in started[0] or str(video.parent) in started[0]


def test_a_missing_file_manager_is_reported(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(subprocess, "Popen", fail)
    page.button(key="sample_folder").click().run()
    assert "cannot be opened (No such file or directory); open it yourself" in said(page.error)


def test_a_shared_page_has_no_such_buttons(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "is_shared", lambda: True)
    page.run()
    assert "sample_folder" not in [button.key for button in page.button]


@pytest.mark.parametrize("platform", COMMANDS)
def test_each_system_has_its_command(platform: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    path = tmp_path / "a.mp4"
    assert open_folder.opener(path) == [part.format(path) for part in COMMANDS[platform]]


def test_linux_needs_a_desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert open_folder.opener(tmp_path / "a.mp4") is None
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert open_folder.opener(tmp_path / "a.mp4") == ["xdg-open", str(tmp_path)]
