"""Detection of the computer's properties."""

import site
import sys
from pathlib import Path

import pytest
from environment import home_in_use
from windows.machine import (
    LONGEST_INSIDE,
    LONGEST_ROOT,
    existing,
    from_store,
    read_machine,
    torch_version,
    venv_state,
)

from img2vid.file_lock import HomeLock


def test_this_computer_is_read_without_changing_it(tmp_path: Path) -> None:
    machine = read_machine(tmp_path / "not" / "there")
    assert machine.python_version == sys.version_info[:3]
    assert machine.bits == 64
    assert machine.python.is_file()  # type: ignore[attr-defined]
    assert all(space > 0 for space in machine.free.values())
    assert machine.venv == "none"
    assert list(tmp_path.iterdir()) == []


def test_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert existing(tmp_path) == tmp_path


def test_an_environment_is_missing_broken_or_has_a_version(tmp_path: Path) -> None:
    assert venv_state(tmp_path / "missing") == "none"
    (tmp_path / "setup.lock").touch()
    assert venv_state(tmp_path) == "none"
    (tmp_path / "pyvenv.cfg").touch()
    assert venv_state(tmp_path) == "broken"
    assert venv_state(Path(sys.prefix)) == ".".join(map(str, sys.version_info[:2]))


@pytest.mark.parametrize("folder", ["Lib/site-packages", "lib/python3.12/site-packages"])
def test_a_torch_counts_only_as_a_whole(tmp_path: Path, folder: str) -> None:
    assert torch_version(tmp_path) == ""
    info = tmp_path / folder / "torch-2.7.1+cu118.dist-info"
    info.mkdir(parents=True)
    assert torch_version(tmp_path) == ""
    (info / "RECORD").touch()
    assert torch_version(tmp_path) == "2.7.1+cu118"


@pytest.mark.parametrize(
    ("prefix", "store"),
    [
        (r"C:\Program Files\WindowsApps\PythonSoftwareFoundation.Python.3.12_3.12.2800.0_x64__qbz5n2kfra8p0", True),
        (r"C:\Users\Ada\AppData\Local\Microsoft\WindowsApps", True),
        (r"C:\Users\Ada\AppData\Local\Python\pythoncore-3.12-64", False),
        (r"C:\Users\Ada\AppData\Local\Programs\Python\Python312", False),
    ],
)
def test_only_a_python_that_lives_in_the_store_is_refused(prefix: str, store: bool) -> None:
    assert from_store(prefix) is store


def test_a_dashboard_that_runs_is_noticed_by_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("IMG2VID_HOME", str(elsewhere))
    for home in (tmp_path / "img2vid" / "outputs", elsewhere):
        assert not home_in_use(tmp_path / "img2vid")
        lock = HomeLock(home)
        assert lock.acquire()
        assert home_in_use(tmp_path / "img2vid")
        lock.release()
        assert not home_in_use(tmp_path / "img2vid")


def test_the_longest_path_leaves_room_for_a_folder() -> None:
    assert LONGEST_ROOT + len("\\.venv\\Lib\\site-packages\\") + LONGEST_INSIDE == 259


def test_no_installed_file_has_a_longer_path_than_is_reckoned_with() -> None:
    """The packages of nvidia and triton are only for Linux."""
    for folder in map(Path, site.getsitepackages()):
        packages = [entry for entry in folder.iterdir() if not entry.name.startswith(("nvidia", "triton", "cuda"))]
        lengths = [len(str(path.relative_to(folder))) for entry in packages for path in entry.rglob("*")]
        if not lengths:
            pytest.skip("nothing is installed here")
        assert max(lengths) <= LONGEST_INSIDE
