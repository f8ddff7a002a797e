"""The dashboard launcher and the commands around it."""

from pathlib import Path, PureWindowsPath

from windows import work


def test_the_starter_is_written_for_cmd(tmp_path: Path) -> None:
    path = tmp_path / "run_dashboard.cmd"
    assert work.write_starter(path) == 0
    raw = path.read_bytes()
    assert raw.isascii()
    assert raw.count(b"\n") == raw.count(b"\r\n")
    text = raw.decode()
    assert '".venv\\Scripts\\python.exe" "scripts\\run.py" %*' in text
    assert 'pushd "%~dp0"' in text, "it starts in its own folder, wherever it is called from"
    assert "goto missing" in text
    assert text.count("exit /b") == 2


def test_shortcuts_are_made_and_removed_by_one_script() -> None:
    root = PureWindowsPath(r"C:\Ada's programs\img2vid")
    make, remove = work.shortcut_command(root), work.shortcut_command(root, remove=True)
    assert make[-2:] == ["-Target", r"C:\Ada's programs\img2vid\run_dashboard.cmd"]
    assert remove == [*make, "-Remove"]
