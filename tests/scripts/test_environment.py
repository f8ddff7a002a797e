"""Setup of `.venv`: installing, keeping and repairing packages after interruption or damage."""

import contextlib
import json
import os
import shutil
import subprocess
import sys

import psutil
import pytest
from processes import IN_OWN_GROUP, interrupt
from small_project import SCRIPTS, Project, write_wheel

STAMP = "img2vid-runtime"


def test_the_first_start_installs_the_locked_versions(first_start: tuple[Project, list[str]]):
    project, both = first_start
    (said,) = [text for text in both if "Installing" in text]
    assert (project.version_of("lamp"), project.version_of("bulb")) == ("1.1", "1.1")
    assert "This happens once" in said
    assert "Installing lamp>=1 and dependencies." in said


def test_two_first_starts_at_once_set_up_once(first_start: tuple[Project, list[str]]):
    _, both = first_start
    assert sum("Installing lamp" in text for text in both) == 1
    assert sum("waiting for it to finish" in text for text in both) == 1


def test_a_moved_project_finds_itself_and_installs_nothing(project: Project, first_start: tuple[Project, list[str]]):
    project.environment["PIP_FIND_LINKS"] = os.devnull
    before = first_start[0].venv
    done = project.start("sample")
    assert done.returncode == 7
    assert done.stderr == f"The environment was moved here from {before}; its files get the new path.\n"
    assert project.start("sample").stderr == ""
    texts = [path.read_bytes() for path in project.python.parent.iterdir() if not path.is_symlink()]
    assert not [text for text in texts if str(before).encode() in text and b"\0" not in text]
    program = project.python.with_name("pip")
    if os.name != "nt":
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        assert str(project.packages) in done.stdout
    command = [str(project.python), "-c", "import img2vid; print(img2vid.__file__)"]
    found = subprocess.run(command, cwd=project.venv, capture_output=True, text=True, check=True).stdout.strip()
    assert found == str(project.folder / "img2vid" / "__init__.py")


def test_a_new_requirement_is_installed_and_what_fits_is_left_alone(project: Project):
    install(project, "lamp==1.2", "bulb==1.2")
    project.require("lamp>=1", "cable")
    done = project.start("--setup-only")
    assert "Installing cable and dependencies." in done.stderr
    assert (project.version_of("lamp"), project.version_of("bulb")) == ("1.2", "1.2")


def test_a_version_out_of_range_is_replaced(project: Project):
    project.require("lamp>=1.2", lock=("lamp==1.2", "bulb==1.1"))
    done = project.start("--setup-only")
    assert done.returncode == 0
    assert project.version_of("lamp") == "1.2"


def test_a_removed_package_is_reinstalled(project: Project):
    project.start("--setup-only")
    pip(project, "uninstall", "--yes", "bulb")
    assert project.start("--setup-only").returncode == 0
    assert project.version_of("bulb") == "1.1"


def test_a_labeled_build_is_never_replaced(project: Project, tmp_path_factory: pytest.TempPathFactory):
    own = tmp_path_factory.mktemp("own")
    write_wheel(own, "bulb", "1.1+cu118")
    pip(project, "install", "--find-links", str(own), "bulb==1.1+cu118")
    write_wheel(own, "fussy", "1.0", requires="bulb>=1.2")
    project.environment["PIP_FIND_LINKS"] = f"{project.wheels} {own}"
    project.require("lamp>=1", "fussy")
    done = project.start("--setup-only")
    assert done.returncode == 1
    assert project.version_of("bulb") == "1.1+cu118"


@pytest.fixture
def held(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project that pins `bulb` to a labeled build from an index of its own."""
    folder = tmp_path_factory.mktemp("an index") / "bulb"
    write_wheel(folder, "bulb", "1.1+cu118")
    (folder / "index.html").write_text('<a href="bulb-1.1+cu118-py3-none-any.whl">bulb</a>', encoding="utf-8")
    text = json.dumps({"index": folder.parent.as_uri(), "packages": ["bulb==1.1+cu118"]})
    (project.venv / "held.json").write_text(text, encoding="utf-8")
    own = {name: folder.parent.as_uri() for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")}
    project.environment.update(own)
    for name in ("PIP_NO_INDEX", "PIP_CONFIG_FILE"):  # both would hide the settings that pip has to read here
        del project.environment[name]
    (project.venv / STAMP).unlink()
    return project


def test_what_is_held_comes_from_its_index_and_comes_back_with_a_new_environment(held: Project):
    held.start("--setup-only")
    assert held.version_of("bulb") == "1.1+cu118"
    leave_half_made(held)
    done = held.start("sample")
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout)["prefix"] == str(held.venv)
    assert (held.version_of("lamp"), held.version_of("bulb")) == ("1.1", "1.1+cu118")


def test_no_pip_of_the_environment_replaces_what_is_held(held: Project):
    held.start("--setup-only")
    assert " " in str(held.venv)
    with pytest.raises(subprocess.CalledProcessError):
        install(held, "bulb==1.2")
    install(held, "lamp==1.2")
    assert (held.version_of("lamp"), held.version_of("bulb")) == ("1.2", "1.1+cu118")


def test_without_the_network_one_sentence_says_what_to_do_and_the_next_start_goes_on(project: Project):
    project.require("lamp>=1", "cable")
    wheels = project.environment["PIP_FIND_LINKS"]
    project.environment["PIP_FIND_LINKS"] = os.devnull
    done = project.start("sample")
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert "check the network" in last and last.endswith(f"The log is {project.venv / 'setup.log'}.")
    assert "Traceback" not in done.stderr
    project.environment["PIP_FIND_LINKS"] = wheels
    assert project.start("sample").returncode == 7


def cut_off_python(project: Project) -> None:
    project.python.unlink()
    project.python.symlink_to(project.folder / "gone" / "python")


def leave_half_made(project: Project) -> None:
    """Leave an interrupted creation behind: pip is incomplete, and no setup ever finished."""
    shutil.rmtree(project.packages / "pip" / "_internal")
    (project.packages / next(project.packages.glob("pip-*.dist-info")) / "RECORD").unlink()
    (project.venv / STAMP).unlink()


def test_a_broken_environment_is_recreated(project: Project):
    """The interrupted creation is tested with pinned packages, above."""
    project.start("--setup-only")
    cut_off_python(project)
    done = project.start("sample")
    assert done.returncode == 7, done.stderr
    assert "does not run: it is incomplete, or its Python was moved or removed." in done.stderr
    assert json.loads(done.stdout)["prefix"] == str(project.venv)
    assert project.version_of("lamp") == "1.1"


def test_the_python_of_the_machine_is_never_taken_for_the_environment():
    """Without pyvenv.cfg, the environment's Python is the system Python, and pip would install into that."""
    base = getattr(sys, "_base_executable", "") or sys.executable
    command = [base, "-I", str(SCRIPTS / "installed.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the system Python" in done.stderr


@pytest.mark.parametrize("lost", ["RECORD", "INSTALLER"])
def test_a_half_installed_package_is_installed_again(project: Project, lost: str):
    (project.packages / "bulb-1.1.dist-info" / lost).unlink()
    (project.packages / "bulb.py").unlink()
    (project.venv / STAMP).unlink()
    assert project.start("--setup-only").returncode == 0
    assert project.version_of("bulb") == "1.1"


@pytest.mark.parametrize("blow", ["interrupted", "killed"])
def test_a_set_up_that_was_stopped_goes_on_at_the_next_start(project: Project, blow: str):
    project.require("lamp>=1", "cable")
    process = subprocess.Popen(
        project.command("sample"), env=project.environment, stderr=subprocess.PIPE, text=True, **IN_OWN_GROUP
    )
    assert process.stderr is not None
    while not process.stderr.readline().startswith("Installing"):
        assert process.poll() is None
    if blow == "interrupted":
        interrupt(process)
    else:
        for each in [process, *psutil.Process(process.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # on Windows, the launcher's child ends with it
                each.kill()
    rest = process.stderr.read()
    process.wait(timeout=60)
    if blow == "interrupted":
        assert process.returncode == 130
        assert rest.endswith("Stopped. Run the same command again to resume.\n")
    done = project.start("sample")
    assert done.returncode == 7, done.stderr
    assert project.version_of("cable") == "1.0"


def test_pip_that_outlives_its_start_is_waited_for(project: Project):
    """A killed start leaves its pip running; the next start must not run a second pip on the same folder."""
    holder = project.venv / "setup.lock"
    program = "import sys, time; sys.path.append(sys.argv[1]); import environment; file = open(sys.argv[2], 'a'); "
    program += "assert environment.locked(file); print(flush=True); time.sleep(1)"
    command = [sys.executable, "-c", program, str(SCRIPTS), str(holder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as pip:
        assert pip.stdout is not None
        pip.stdout.readline()
        done = project.start("sample")
    assert done.returncode == 7
    assert "waiting for it to finish" in done.stderr


def pip(project: Project, *arguments: str) -> None:
    command = [str(project.python), "-m", "pip", "-q", *arguments]
    subprocess.run(command, env=project.environment, check=True)


def install(project: Project, *packages: str) -> None:
    pip(project, "install", *packages)
