"""Queries of scripts/check_wheels.py to pip; the real index is only used when the script is run by hand."""

from pathlib import Path

import check_wheels
import pytest
from small_wheels import write_platform_wheel


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Restrict pip to the files in a folder."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    write_platform_wheel(tmp_path, "lamp", "1.0", "cp312-cp312-win_amd64", requires='bulb ; sys_platform == "win32"')
    write_platform_wheel(tmp_path, "lamp", "2.0", "cp312-cp312-manylinux_2_17_x86_64")
    write_platform_wheel(tmp_path, "bulb", "1.0", "py3-none-any", python=">=3.12")
    return tmp_path


def test_windows_gets_its_own_wheels_and_what_its_markers_ask_for() -> None:
    assert check_wheels.ask("3.12", ["lamp"]) == (["bulb 1.0", "lamp 1.0"], "")


def test_what_has_no_wheel_for_a_python_is_a_failure_in_pips_words() -> None:
    found, problem = check_wheels.ask("3.11", ["lamp"])
    assert found == []
    assert "lamp" in problem


def test_a_version_without_a_wheel_for_windows_is_a_failure() -> None:
    assert check_wheels.ask("3.12", ["lamp==2.0"], "--no-deps")[0] == []
    assert check_wheels.ask("3.12", ["lamp"], constraints=["lamp==2.0"])[0] == []


def test_the_python_that_is_asked_about_counts_not_the_one_that_asks() -> None:
    assert check_wheels.ask("3.13", ["bulb"]) == (["bulb 1.0"], "")
    assert check_wheels.ask("3.10", ["bulb"])[0] == []


def test_pins_are_those_that_are_meant_for_windows() -> None:
    for python in check_wheels.PYTHONS:
        names = [line.partition("==")[0] for line in check_wheels.pins(python)]
        assert "colorama" in names
        assert not [name for name in names if name.startswith("nvidia") or name == "triton"]
        assert len(names) == len(set(names))


def test_the_held_torch_stands_in_without_its_label() -> None:
    newer = ["torch==2.11.0", "torchvision==0.26.0"]
    assert check_wheels.held("3.13") == [["torch==2.7.1", "torchvision==0.22.1"], newer]
    assert check_wheels.held("3.14") == [newer]
