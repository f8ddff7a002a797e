"""scripts/test.py: the four checks in order, and the exit code of the first failure."""

import json
from pathlib import Path

import pytest
from small_project import Project

TOOL = """
import json, pathlib, sys
name = pathlib.Path(__file__).stem
with open("calls.txt", "a", encoding="utf-8") as calls:
    calls.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
sys.exit(int(pathlib.Path(name + ".code").read_text()) if pathlib.Path(name + ".code").is_file() else 0)
"""


@pytest.fixture
def tools(project: Project) -> Project:
    for name in ("ruff", "pyright", "pytest"):
        (project.folder / f"{name}.py").write_text(TOOL, encoding="utf-8")
    return project


def calls(project: Project) -> list[list[str]]:
    return [json.loads(line) for line in (project.folder / "calls.txt").read_text(encoding="utf-8").splitlines()]


def test_all_four_run_in_order_and_arguments_go_to_pytest(tools: Project, tmp_path: Path):
    done = tools.start("tests/media", "-k", "two words", script="test.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert calls(tools) == [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["pyright"],
        ["pytest", "tests/media", "-k", "two words"],
    ]
    shown = [line for line in done.stdout.splitlines() if line.startswith("== ")]
    assert shown == ["== ruff check", "== ruff format", "== pyright", "== pytest"]


def test_without_arguments_all_cores_are_used_and_a_quick_run_leaves_slow_tests_out(tools: Project):
    assert tools.start(script="test.py").returncode == 0
    everything = [
        "--ignore",
        "tests/browser",
        "-n",
        "auto",
        "--maxprocesses",
        "8",
        "--dist",
        "loadfile",
        "--durations",
        "10",
    ]
    in_a_browser = ["pytest", "-p", "no:randomly", "--durations", "10", "tests/browser"]
    assert calls(tools)[-2:] == [["pytest", *everything], in_a_browser]
    assert tools.start("--quick", script="test.py").returncode == 0
    assert calls(tools)[-1] == ["pytest", "-m", "not slow", *everything]
    assert tools.start("--quick", "tests/media", script="test.py").returncode == 0
    assert calls(tools)[-1] == ["pytest", "-m", "not slow", "tests/media"]


def test_the_first_failure_ends_it_with_its_exit_code(tools: Project):
    (tools.folder / "pyright.code").write_text("3", encoding="utf-8")
    done = tools.start(script="test.py")
    assert done.returncode == 3
    assert calls(tools)[-1] == ["pyright"]
    assert "pyright failed" in done.stdout


def test_tools_for_development_are_installed(project: Project):
    project.require("cable", file="dev.txt")
    done = project.start(script="test.py")
    assert "Installing cable and dependencies." in done.stderr
    assert project.version_of("cable") == "1.0"


def test_dependencies_of_the_watermark_package_do_not_count(tools: Project):
    tools.require("picky", file="watermark.txt")
    done = tools.start(script="test.py")
    assert done.returncode == 0, done.stderr
    assert tools.version_of("picky") == "1.0"
    assert tools.start(script="test.py").stderr == ""
