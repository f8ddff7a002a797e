"""Starting the program with scripts/run.py: arguments, messages, and unsupported Python versions."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import IN_OWN_GROUP, interrupt
from small_project import SCRIPTS, Project

from img2vid import SUPPORTED

SLEEPER = """
import signal, sys, time
def stop(*_):
    print("stopped by Ctrl-C", flush=True)
    sys.exit(42)
signal.signal(getattr(signal, "SIGBREAK", signal.SIGINT), stop)
if hasattr(signal, "pthread_sigmask"):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
print("running", flush=True)
for _ in range(600):  # on Windows, SIGBREAK does not end a sleep
    time.sleep(0.1)
"""


def test_arguments_folder_and_exit_code_are_those_of_the_caller(project: Project, tmp_path: Path):
    done = project.start("sample", "my picture.png", "--steps", "3", cwd=tmp_path)
    assert done.returncode == 7
    report = json.loads(done.stdout)
    assert report["arguments"] == ["sample", "my picture.png", "--steps", "3"]
    assert Path(report["folder"]) == tmp_path
    assert Path(report["prefix"]) == project.venv


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 always looks into the caller's folder first")
def test_files_in_the_folder_of_the_caller_are_not_imported(project: Project, tmp_path: Path):
    (tmp_path / "json.py").write_text("raise ImportError('the wrong json')", encoding="utf-8")
    assert project.start("sample", cwd=tmp_path).returncode == 7


def test_set_up_only_does_not_start_the_program(project: Project):
    done = project.start("--setup-only")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_second_start_installs_nothing_and_is_quick(project: Project):
    project.start("--setup-only")
    project.environment["PIP_FIND_LINKS"] = os.devnull
    begin = time.perf_counter()
    done = project.start("--setup-only")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.perf_counter() - begin < 2


def test_without_arguments_the_dashboard_is_started(project: Project, tmp_path: Path):
    assert json.loads(project.start(cwd=tmp_path).stdout)["arguments"] == ["dashboard"]


def test_an_extra_is_installed_on_request_and_kept_from_then_on(project: Project, tmp_path: Path):
    project.require("cable", file="text.txt", lock=("lamp==1.1", "bulb==1.1", "cable==1.0"))
    assert not list(project.packages.glob("cable*"))
    done = project.start("--with", "text", "imagine", "a dog", cwd=tmp_path)
    assert json.loads(done.stdout)["arguments"] == ["imagine", "a dog"]
    assert project.version_of("cable") == "1.0"
    shutil.rmtree(next(project.packages.glob("cable-*.dist-info")))
    assert project.start("--setup-only").returncode == 0
    assert list(project.packages.glob("cable-*.dist-info"))


def test_an_unknown_extra_is_refused(project: Project):
    done = project.start("--setup-only", "--with=sound")
    assert (done.returncode, done.stderr) == (1, "--with takes text, api, got 'sound'.\n")


def test_help_is_shown_without_a_set_up(new_project: Project):
    done = new_project.start("--help")
    assert done.returncode == 0
    assert "--setup-only" in done.stdout
    assert not new_project.venv.exists()


def test_ctrl_c_reaches_the_program(project: Project):
    (project.folder / "img2vid" / "__main__.py").write_text(SLEEPER, encoding="utf-8")
    pipes = {"stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(project.command("sample"), **pipes, **IN_OWN_GROUP) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        interrupt(process)
        assert process.stdout.read() == "stopped by Ctrl-C\n"
    assert process.returncode == 42


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 15, 0)])
@pytest.mark.parametrize("script", ["run.py", "test.py"])
def test_an_unsupported_python_is_refused(new_project: Project, script: str, version: tuple[int, ...]):
    path = new_project.folder / "scripts" / script
    program = f"import runpy, sys; sys.version_info = {version}; sys.path.insert(0, {str(path.parent)!r}); " + (
        f"sys.argv = [{str(path)!r}]; runpy.run_path({str(path)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert f"Python {SUPPORTED}" in done.stderr
    assert ".".join(map(str, version)) in done.stderr
    assert not new_project.venv.exists()


@pytest.mark.parametrize("script", ["run.py", "test.py", "environment.py"])
def test_an_old_python_can_read_the_scripts_up_to_its_message(script: str):
    ast.parse((SCRIPTS / script).read_text(encoding="utf-8"), feature_version=(3, 8))
