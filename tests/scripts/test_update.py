"""`img2vid update`: a checkout follows its upstream, and everything is undone if that does not do it good."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from small_project import SCRIPTS, Project

from img2vid.file_lock import FILE_NAME

sys.path.insert(0, str(SCRIPTS))
import environment

DOCTOR = """
import importlib.util, json, pathlib, sys
if sys.argv[1] != "doctor":
    sys.exit(7)
found = pathlib.Path(__file__).with_name("found.json")
checks = json.loads(found.read_text()) if found.is_file() else []
rows = [{"check": name, "state": state, "found": f"{name} is broken."} for name, state in checks]
print(json.dumps({"checks": rows}))
"""


def git(folder: Path, *arguments: str) -> str:
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    person = ["-c", "user.name=A", "-c", "user.email=a@a.example", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", str(folder), *person, *arguments]
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def upstream(project: Project, tmp_path: Path) -> Project:
    """Make the project a clone, and return a second clone whose commits are its newer version."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (project.folder / ".gitignore").write_text(".venv\n__pycache__\noutputs\n", encoding="utf-8")
    (project.folder / "img2vid" / "__main__.py").write_text(DOCTOR, encoding="utf-8")
    note_problems(project, '[["port", "problem"], ["memory", "note"]]')
    git(project.folder, "init", "--quiet")
    commit(project)
    git(tmp_path, "clone", "--quiet", "--bare", str(project.folder), "origin")
    git(project.folder, "remote", "add", "origin", str(tmp_path / "origin"))
    git(project.folder, "fetch", "--quiet", "origin")
    git(project.folder, "branch", "--quiet", "--set-upstream-to", "origin/main")
    git(tmp_path, "clone", "--quiet", str(tmp_path / "origin"), "newer")
    return Project(tmp_path / "newer", project.wheels)


def note_problems(project: Project, rows: str) -> None:
    """Set what the doctor of this version finds."""
    (project.folder / "img2vid" / "found.json").write_text(rows, encoding="utf-8")


def commit(project: Project) -> None:
    git(project.folder, "add", "--all")
    git(project.folder, "commit", "--quiet", "-m", "A version")


def publish(newer: Project) -> str:
    commit(newer)
    git(newer.folder, "push", "--quiet")
    return head(newer)


def head(project: Project) -> str:
    return git(project.folder, "rev-parse", "HEAD")


def installed(project: Project) -> list[str]:
    return sorted(path.name for path in project.packages.iterdir() if path.name != "__pycache__")


def test_an_update_brings_the_new_files_and_their_packages(project: Project, upstream: Project):
    upstream.require("lamp>=1.2", "cable", lock=("lamp==1.2", "bulb==1.1"))
    newest = publish(upstream)
    done = project.start("update")
    assert done.returncode == 0, done.stderr
    assert "Updating by 1 commit." in done.stderr and done.stderr.endswith("img2vid is up to date.\n")
    assert head(project) == newest
    assert (project.version_of("lamp"), project.version_of("cable")) == ("1.2", "1.0")
    assert not list(project.venv.glob("*update*"))
    again = project.start("update")
    assert (again.returncode, again.stderr.splitlines()[-1]) == (0, "img2vid was up to date.")


@pytest.mark.parametrize("fault", ["doctor", "packages"])
def test_an_update_that_does_harm_is_undone(project: Project, upstream: Project, fault: str):
    project.start("--setup-only")
    before, packages = head(project), installed(project)
    upstream.require("lamp>=1.2", "cable" if fault == "doctor" else "nowhere_to_be_had", lock=("lamp==1.2",))
    note_problems(upstream, '[["port", "problem"], ["memory", "problem"]]')
    publish(upstream)
    done = project.start("update")
    assert done.returncode == 1
    reason = {"doctor": "new problem. memory: memory is broken.", "packages": "cannot be installed"}[fault]
    assert reason in done.stderr.splitlines()[-1] and "port is" not in done.stderr
    assert "Restoring the previous version." in done.stderr
    assert (head(project), installed(project)) == (before, packages)
    assert project.version_of("lamp") == "1.1"
    assert not list(project.venv.glob("*update*"))
    started = project.start("sample")
    assert (started.returncode, started.stderr) == (7, "")


def dirty(project: Project) -> None:
    project.require("lamp>=1", "# mine")


def detach(project: Project) -> None:
    git(project.folder, "switch", "--quiet", "--detach")


def leave_upstream(project: Project) -> None:
    git(project.folder, "branch", "--unset-upstream")


def diverge(project: Project) -> None:
    project.require("lamp>=1", "# mine")
    commit(project)


def cut_network(project: Project) -> None:
    git(project.folder, "remote", "set-url", "origin", "http://127.0.0.1:9/origin")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (dirty, "unsaved changes in requirements/runtime.txt; run `git stash`"),
        (detach, "run `git switch main`"),
        (leave_upstream, "git branch --set-upstream-to origin/main"),
        (diverge, "1 commits of its own; run `git pull --rebase`"),
        (cut_network, "check the network"),
    ],
)
def test_what_git_cannot_simply_do_is_refused_before_anything_is_touched(
    project: Project, upstream: Project, prepare, words: str
):
    upstream.require("lamp>=1.2", lock=("lamp==1.2",))
    publish(upstream)
    prepare(project)
    before, packages = head(project), installed(project)
    done = project.start("update")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert words in done.stderr
    assert (head(project), installed(project)) == (before, packages)


def test_an_update_while_img2vid_runs_is_refused(project: Project, upstream: Project, tmp_path: Path):
    publish_anything(upstream)
    before = head(project)
    for home in (project.folder / "outputs", tmp_path / "home"):
        home.mkdir()
        project.environment["IMG2VID_HOME"] = str(home)
        with FileLock(home / FILE_NAME):
            done = project.start("update")
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert f"img2vid is running with the home {home}; close the dashboard" in done.stderr
        assert head(project) == before
    assert project.start("update").returncode == 0
    assert head(project) != before


def publish_anything(newer: Project) -> None:
    newer.require("lamp>=1", "# new")
    publish(newer)


def test_a_folder_without_git_gets_the_packages_of_its_new_files(project: Project):
    (project.folder / "img2vid" / "__main__.py").write_text(DOCTOR, encoding="utf-8")
    project.require("lamp>=1", "cable")
    done = project.start("update")
    assert done.returncode == 0, done.stderr
    assert "has no git history" in done.stderr
    assert project.version_of("cable") == "1.0"
    note_problems(project, '[["torch", "problem"]]')
    assert project.start("update").returncode == 0, "the problem was there before"


def test_the_name_of_the_lock_is_that_of_the_program():
    assert environment.HOME_LOCK_NAME == FILE_NAME
