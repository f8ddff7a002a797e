"""The executed commands equal those shown in the plan."""

import subprocess
import sys
from pathlib import Path

import environment
import pytest
from machines import machine, plan
from packages import Failed, Installer
from windows import work
from windows.builds import BUILDS
from windows.install_options import Options
from windows.plan import install_command

MISSING = {"missing": ["something"], "kept": {}, "broken": []}


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the commands for an environment in a folder with a space, in which everything is missing."""
    commands: list[str] = []

    def install(installer: Installer, *arguments: str) -> None:
        commands.append(subprocess.list2cmdline(install_command(installer.python, *arguments)))

    venv = tmp_path / "with space" / ".venv"
    venv.mkdir(parents=True)
    monkeypatch.setattr(environment, "VENV", venv)
    monkeypatch.setattr(Installer, "install", install)
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


@pytest.mark.parametrize(("code", "left_out"), [(0, False), (1, True)])
def test_triton_stays_only_if_torch_compile_works_with_it(
    code: int, left_out: bool, called: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []

    def run(argv: list[str], folder: Path) -> int:
        ran.append(argv)
        return code if "--compile" in argv else 0

    monkeypatch.setattr(work, "run", run)
    monkeypatch.setattr(environment, "ensure", lambda *files: called.append(" ".join(files)))
    assert work.add_triton("triton-windows==3.3.1.post21", ["kernel.py", "--compile"]) == 0
    step = plan(machine("rtx-4090", root=environment.VENV.parent), Options(cuda="cu118")).steps[5]
    assert called == [step.actions[1].shown, "runtime.txt"]
    assert ("uninstall" in ran[-1] and ran[-1][-1] == "triton-windows") is left_out
    assert ("left out, so that --compile has no effect" in capsys.readouterr().out) is left_out


def test_triton_that_cannot_be_installed_is_left_out(
    called: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(installer: Installer, *arguments: str) -> None:
        raise Failed("the network connection failed")

    monkeypatch.setattr(Installer, "install", fail)
    monkeypatch.setattr(work, "run", lambda argv, folder: 0)
    monkeypatch.setattr(environment, "ensure", lambda *files: None)
    assert work.add_triton("triton-windows==3.3.1.post21", ["kernel.py", "--compile"]) == 0
    assert "the network connection failed" in capsys.readouterr().out


@pytest.mark.parametrize(("found", "works"), [((14, 44), True), ((14, 29), False), (None, False)])
def test_the_runtime_counts_as_installed_once_it_loads(
    found: tuple[int, int] | None, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """winget also ends with an error if the newest version is there already."""
    monkeypatch.setattr(work, "runtime_version", lambda: found)
    program = [sys.executable, "-c", "import sys; sys.exit(5)"]
    if works:
        assert work.install_runtime(program, (14, 42)) == 0
    else:
        with pytest.raises(environment.SetupError, match="winget ended with exit code 5"):
            work.install_runtime(program, (14, 42))


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
