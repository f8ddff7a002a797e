"""The plugin that enforces Windows' rules for files on Linux."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from img2vid.paths import PROJECT

RULES = '''
import os, shutil, subprocess, sys
import pytest

@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    (tmp_path / "b.txt").touch()
    return path

def refused(path):
    """The calls that fail while a program has the file open."""
    other = path.with_name("b.txt")
    for call in (path.unlink, lambda: path.rename(path.with_name("c.txt")), lambda: other.replace(path)):
        with pytest.raises(PermissionError, match="Windows rule"):
            call()
    with pytest.raises(PermissionError):
        path.parent.rename(path.parent.with_name("other"))

def test_open_here(file):
    with file.open():
        refused(file)
    file.unlink()

def test_open_under_another_name(file):
    os.link(file, file.with_name("second.txt"))
    with file.with_name("second.txt").open(), pytest.raises(PermissionError):
        file.unlink()

def test_open_in_another_process(file):
    program = "import sys; file = open(sys.argv[1]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program, file], stdin=-1, stdout=-1) as process:
        process.stdout.readline()
        refused(file)
        process.communicate(b"\\n")
    shutil.rmtree(file.parent)

def test_subprocesses_obey(file):
    program = "import os, sys; file = open(sys.argv[1]); os.unlink(sys.argv[1])"
    assert b"Windows rule" in subprocess.run([sys.executable, "-c", program, file], stderr=-1).stderr

def test_read_only(file):
    file.chmod(0o444)
    with pytest.raises(PermissionError):
        file.unlink()

def test_rename_onto_a_name(file):
    with pytest.raises(FileExistsError):
        file.with_name("b.txt").rename(file)
    file.with_name("b.txt").replace(file)

@pytest.mark.parametrize("name", ["a:b", "NUL", "com1.txt", "a ", "a.", "a?", "A.TXT"])
def test_names(file, name):
    for make in (lambda path: path.touch(), lambda path: path.mkdir(), lambda path: file.rename(path)):
        if name != "A.TXT" or "rename" not in make.__code__.co_names:
            with pytest.raises(OSError, match="Windows rule"):
                make(file.with_name(name))
'''


@pytest.mark.skipif(sys.platform != "linux", reason="the plugin reads Linux's lists of open files")
def test_what_windows_refuses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_rules.py").write_text(RULES, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "windows_rules", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "tests" / "windows_rules")}
    environment.pop("WINDOWS_RULES", None)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "13 passed" in done.stdout
