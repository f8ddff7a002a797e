"""Options of `img2vid dashboard`; tests/ui/test_server.py has the server."""

import os
from pathlib import Path

import pytest

from img2vid import paths
from img2vid.cli import main
from img2vid.errors import BadInput
from img2vid.ui import server


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Return the calls of the server, which does not start; the folders `a` and `b` exist."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(server, "serve", lambda _, *arguments: calls.append(arguments))
    monkeypatch.setattr(paths, "_confines", None)
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return calls


def allowed(folder: Path) -> bool:
    try:
        return paths.chosen_folder(str(folder)) == folder.resolve()
    except BadInput:
        return False


@pytest.mark.usefixtures("served")
def test_folders_come_from_the_options_or_else_from_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    monkeypatch.setenv("IMG2VID_ALLOW_FOLDERS", os.pathsep.join([str(a), "", str(b)]))
    assert main.run(["dashboard"]) == 0
    assert [allowed(folder) for folder in (tmp_path, a, b)] == [True, True, True], "not shared"
    assert main.run(["dashboard", "--share"]) == 0
    assert [allowed(folder) for folder in (tmp_path, a, b)] == [False, True, True]
    assert main.run(["dashboard", "--share", "--allow-folder", str(a)]) == 0
    assert [allowed(folder) for folder in (tmp_path, a, b, paths.home())] == [False, True, False, True]


def test_address_and_port_reach_the_server(served: list[tuple[object, ...]]) -> None:
    assert main.run(["dashboard"]) == 0
    assert main.run(["dashboard", "--share", "--port", "8600"]) == 0
    assert main.run(["dashboard", "--share", "192.168.1.5"]) == 0
    assert served == [(None, None), ("", 8600), ("192.168.1.5", None)]


@pytest.mark.parametrize(
    "port", ["0", "65536", "x", "-1", "9" * 5000], ids=["zero", "large", "text", "negative", "long"]
)
def test_a_wrong_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["dashboard", f"--port={port}"]) == 2
    said = capsys.readouterr().err
    assert "must be a number from 1 to 65535, got '" in said and len(said) < 500
