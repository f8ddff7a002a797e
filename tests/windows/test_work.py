"""The executed commands equal those shown in the plan."""

import subprocess
import sys
from pathlib import Path

import environment
import pytest
from machines import machine, plan
from windows import work
from windows.builds import BUILDS
from windows.install_options import Options

MISSING = {"missing": ["something"], "kept": {}, "broken": []}


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the commands for an environment in a folder with a space, in which everything is missing."""
    commands: list[str] = []

    def call(command: list[str]) -> int:
        commands.append(subprocess.list2cmdline(command))
        return 0

    venv = tmp_path / "with space" / ".venv"
    venv.mkdir(parents=True)
    monkeypatch.setattr(environment, "VENV", venv)
    monkeypatch.setattr(environment, "call", call)
    monkeypatch.setattr(environment, "compare", lambda *_: MISSING)
    return commands


def shown(step: int) -> str:
    here = machine("rtx-4090", root=environment.VENV.parent, free={"C:": 99.0, "": 99.0})
    return plan(here, Options(cuda="cu118", sgm=True)).steps[step - 1].actions[-1].shown


def test_torch(called: list[str]) -> None:
    work.install_torch(BUILDS["cu118"])
    assert called == [shown(3)]


@pytest.mark.parametrize(("step", "name"), [(4, "pt2.txt"), (5, "sgm.txt")])
def test_packages(called: list[str], step: int, name: str) -> None:
    target = environment.VENV / "windows" / name
    work.strip(name, target)
    environment.install((str(target),), {})
    assert called == [shown(step)]
    text = target.read_text(encoding="utf-8")
    assert "triton" not in text
    assert "git+" not in text


def test_the_lock_says_nothing_about_torch_that_is_held(called: list[str]) -> None:
    work.install_torch(BUILDS["cu118"])
    kept = {"torch": "2.7.1+cu118", "torchvision": "0.22.1+cu118"}
    lines = environment.constraint_lines(kept)
    assert [line for line in lines if line.startswith("torch")] == ["torch==2.7.1+cu118", "torchvision==0.22.1+cu118"]
    assert called


def test_a_command_gets_its_folder_and_gives_its_exit_code(tmp_path: Path) -> None:
    program = "import pathlib, sys; pathlib.Path('here').touch(); sys.exit(7)"
    assert work.run([sys.executable, "-c", program], tmp_path) == 7
    assert (tmp_path / "here").is_file()
