"""Projects for the setup script tests: new, or set up once and then copied."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from small_project import Project, make_project, write_wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.1", "1.2"):
        write_wheel(folder, "lamp", version, requires="bulb>=1")
        write_wheel(folder, "bulb", version)
    write_wheel(folder, "cable", "1.0")
    write_wheel(folder, "picky", "1.0", requires="nowhere_to_be_had")
    return folder


@pytest.fixture
def new_project(tmp_path: Path, wheels: Path) -> Project:
    """Return a project that was never started, in a folder with a space in its name."""
    return make_project(tmp_path / "with space" / "img2vid", wheels)


@pytest.fixture(scope="session")
def first_start(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> tuple[Project, list[str]]:
    """Return a project after two concurrent first starts, and the stderr of each."""
    project = make_project(tmp_path_factory.mktemp("first start") / "img2vid", wheels)
    pipes = {"env": project.environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(project.command("--setup-only"), **pipes) for _ in range(2)]
    said = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [out for out, _ in said] == ["", ""]
    return project, [err for _, err in said]


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Project], Project]:
    def copy(project: Project) -> Project:
        folder = tmp_path / "moved here" / "img2vid"
        shutil.copytree(project.folder, folder, symlinks=True)
        return Project(folder, project.wheels)

    return copy


@pytest.fixture
def project(first_start: tuple[Project, list[str]], copy_of: Callable[[Project], Project]) -> Project:
    """Return a project that was set up and then moved to another folder."""
    return copy_of(first_start[0])
